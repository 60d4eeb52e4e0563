#!/usr/bin/env python3
"""Kills a run at random instants until it has finished, and compares its result with an uninterrupted run's.

    kill_test.py PROGRAM "MPIEXEC [FLAG ...]" [--kills=25] [--ranks=3] [--steps=24] [--seed=N] [--minutes=M] [--all]

A run of 3 ranks saves after every step. SIGKILL hits one of its ranks, or all of its processes with mpirun, at an
instant between its start and the time it would need, every third time at the first sight of a save after that; then the
run goes on from what it has left, until it finishes.
This is repeated with new runs until enough kills have hit. Besides, a run dies at each named instant of a save (see
README.md), on one of the ranks that reach it. Each run must end with the SHA-256 of the exported embeddings
of the run that nobody killed; no checkpoint that was once published may be missing afterwards (but for those that
newer ones have replaced), and no attempt to go on may be refused.
"""

import argparse
import random
import shutil
import sys
import time

from runs import Runs, kill_all
from programs import add_seed_options


# Named instants of a save, and whether all ranks reach them or only rank 0.
INSTANTS = {"begun": True, "shard_written": True, "shard_synced": True, "manifest_written": False, "renamed": False,
            "parent_synced": False, "best_named": False, "old_removed": False}


class Killer:
    def __init__(self, runs, options):
        self.runs = runs
        self.options = options
        self.random = random.Random(options.seed)
        self.words = [f"--max_steps={options.steps}", "--save_every_steps=1", "--validate_every_steps=2", "--keep_last=3"]
        self.kills = {"before the first step": 0, "between saves": 0, "in a save": 0}
        self.targets = {"one rank": 0, "all processes": 0}
        self.span = 10.0  # seconds that a run takes
        self.finished = 0
        self.lost = []
        self.unreadable = []

    def attempt(self, run_dir, kill=True):
        """Starts the run, or goes on with it, and kills it at some instant; True if it finished before."""
        newest = self.runs.newest_step(run_dir)
        process = self.runs.start(self.runs.train_words(run_dir, *self.words), self.options.ranks)
        try:
            if kill:
                code = self.wait(process, self.random.uniform(0, self.span),
                                 self.random.random() < 1 / 3 and run_dir / "checkpoints")
            else:
                code = process.wait(timeout=600)
            if code is None:
                self.kill(process, run_dir, newest)
            elif kill:
                self.span *= 0.9  # The machine has become faster: most instants must be within the run.
        finally:
            self.runs.end_all(process)
        now = self.runs.newest_step(run_dir)
        if now < newest:
            self.lost.append(f"step {newest} was published, and then the newest was {now}")
        if code not in (None, 0):
            self.unreadable.append(f"from step {newest}: exit code {code}\n{self.runs.output()}")
        return code == 0

    @staticmethod
    def wait(process, seconds, in_save_of=None):
        """The exit code, or None where the process is still running after so many seconds, and in a save if asked."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and (time.monotonic() < deadline or
                                          (in_save_of and not list(in_save_of.glob(".step-*.writing")))):
            time.sleep(0.001)
        return process.poll()

    def kill(self, process, run_dir, newest):
        ranks = self.runs.processes(process.mark, self.runs.command)
        one = ranks and self.random.random() < 0.5
        kill_all([self.random.choice(ranks)] if one else self.runs.processes(process.mark))
        self.targets["one rank" if one else "all processes"] += 1
        process.wait(timeout=300)  # mpirun ends by itself when a rank has died.
        if list((run_dir / "checkpoints").glob(".step-*")):
            self.kills["in a save"] += 1
        elif self.runs.newest_step(run_dir) == newest:
            self.kills["before the first step"] += 1
            self.span *= 1.03
        else:
            self.kills["between saves"] += 1

    def die_at_each_instant(self, rounds, expected):
        """A run that dies at every named instant of a save, in an order at random, and goes on each time."""
        run_dir = self.runs.folder / "dying"
        instants = list(INSTANTS) * rounds
        self.random.shuffle(instants)
        for number, instant in enumerate(instants):
            if self.runs.newest_step(run_dir) > self.options.steps - 6:  # Too few saves are left to die in.
                shutil.rmtree(run_dir)
            newest = self.runs.newest_step(run_dir)
            rank = self.random.randrange(self.options.ranks) if INSTANTS[instant] else 0
            where = f"{instant}:{self.random.randint(1, 2)}@{rank}"
            process = self.runs.start(self.runs.train_words(run_dir, *self.words), self.options.ranks,
                                      MICREC_TEST_DIE_AT=where)
            try:
                code = process.wait(timeout=600)
            finally:
                self.runs.end_all(process)
            now = self.runs.newest_step(run_dir)
            if now < newest:
                self.lost.append(f"{where}: step {newest} was published, and then the newest was {now}")
            if code not in (5, 128 + 9):  # As the job's guardian says, or mpirun where it ended before that.
                self.unreadable.append(f"{where} from step {newest}: exit code {code}, expected 5 or 137\n"
                                       + self.runs.output())
                return [], number
        self.attempt(run_dir, kill=False)
        digest = self.runs.digest(run_dir)
        shutil.rmtree(run_dir)
        return [] if digest == expected else [f"the run that died in saves has {digest}"], len(instants)

    def stop_after_the_last_step(self):
        """A run that is asked to stop when its steps are over tests its result once it is resumed."""
        run_dir = self.runs.folder / "stopped"
        words = ["--max_steps=4", "--validate_every_steps=2"]
        stopped = self.runs.run(*self.runs.train_words(run_dir, *words), ranks=self.options.ranks, expect=(75,),
                                env={"MICREC_TEST_STOP_AT": "old_removed:2@0"})
        resumed = self.runs.run(*self.runs.train_words(run_dir), ranks=self.options.ranks)
        shutil.rmtree(run_dir)
        wrong = []
        if "stopped after step 4 and saved, in the evaluation of the result; go on with" not in stopped.stderr:
            wrong.append(f"stopped after the last step it said\n{stopped.stderr}")
        if "test of " in stopped.stderr or "test of step-" not in resumed.stderr:
            wrong.append(f"resumed after the last step it said\n{resumed.stderr}")
        return wrong

    def count(self):
        return sum(self.kills.values())

    def run_until_killed_enough(self, expected):
        """Runs, one after the other, each killed until it has finished. A message for each that went wrong."""
        wrong = []
        start = time.monotonic()
        while self.count() < self.options.kills:
            run_dir = self.runs.folder / f"killed{self.finished}"
            done = False
            while not done and not self.unreadable:
                if self.options.minutes and time.monotonic() - start > 60 * self.options.minutes:
                    return wrong
                # The last kill has hit: what is left of the run may finish.
                done = self.attempt(run_dir, kill=self.count() < self.options.kills)
            if self.unreadable:
                return wrong
            digest = self.runs.digest(run_dir)
            if digest != expected:
                wrong.append(f"the run in {run_dir} has {digest}, expected {expected}")
            self.finished += 1
            shutil.rmtree(run_dir)
            print(f"{self.count()} kills, {self.finished} runs finished, {time.monotonic() - start:.0f} s", flush=True)
        return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("mpiexec")
    parser.add_argument("--kills", type=int, help="default: 25, with --all 150")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="times that a run dies at each named instant of a save")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=0, help="end after the attempt that exceeds it; 0: never")
    add_seed_options(parser)
    options = parser.parse_args()
    if options.kills is None:
        options.kills = 150 if options.all else 25
    print(f"--seed={options.seed}", flush=True)
    with Runs(options.program, options.mpiexec) as runs:
        killer = Killer(runs, options)
        whole = runs.folder / "whole"
        start = time.monotonic()
        runs.run(*runs.train_words(whole, *killer.words), ranks=options.ranks)
        killer.span = time.monotonic() - start
        expected = runs.digest(whole)
        print(f"uninterrupted: {killer.span:.1f} s, embeddings {expected}", flush=True)
        wrong = killer.stop_after_the_last_step()
        start = time.monotonic()
        of_instants, died = killer.die_at_each_instant(options.rounds, expected)
        wrong += of_instants
        print(f"{died} deaths at named instants of a save in {time.monotonic() - start:.0f} s", flush=True)
        start = time.monotonic()
        wrong += killer.run_until_killed_enough(expected)
        seconds = time.monotonic() - start

    print(f"{killer.count()} kills in {seconds:.0f} s: "
          + ", ".join(f"{count} {what}" for what, count in {**killer.kills, **killer.targets}.items()))
    print(f"{killer.finished - len(wrong)} runs finished with the uninterrupted run's SHA-256, {len(wrong)} with another; "
          f"{len(killer.lost)} lost, {len(killer.unreadable)} unreadable")
    for fault in wrong + killer.lost + killer.unreadable:
        print(fault)
    return 1 if wrong or killer.lost or killer.unreadable or not killer.finished else 0


if __name__ == "__main__":
    sys.exit(main())
