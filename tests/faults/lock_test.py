#!/usr/bin/env python3
"""Lets two runs want one folder.

    lock_test.py PROGRAM "MPIEXEC [FLAG ...]" SHIM [TEST ...]

SHIM is the library of failing_calls.c: it takes locks, and hard links, from a file system, as NFS and Lustre may lack
them. Another machine is a namespace with a name, a network and process numbers of its own (`unshare`, which needs root
and is skipped without): as on another machine, the system cannot be asked for the first's process.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import h5py

from runs import Runs, kill_all
from programs import SECONDS, call, environment, lines_of, run

PROGRAM = ""
MPIEXEC = ""
SHIM = ""
LONG = ["--epochs=1000000", "--save_every_steps=20"]
TIMES = {"MICREC_TEST_LOCK_SECONDS": "0.3:4"}  # signs of life, and when they are missed


def holder(run_dir):
    """What run.lock says; nothing where there is none."""
    try:
        text = (run_dir / "run.lock").read_text()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


class LockTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.runs = Runs(PROGRAM, MPIEXEC)
        cls.runs.__enter__()
        cls.addClassCleanup(cls.runs.__exit__)
        cls.serial = 0

    def new_folder(self):
        type(self).serial += 1
        return self.runs.folder / f"run{self.serial}"

    def first(self, run_dir, ranks=1, under=(), **env):
        """A run that goes on until it is killed, once it has saved something."""
        words = self.runs.train_words(run_dir, *LONG)
        mark = f"{os.getpid()}-{run_dir.name}"
        process = subprocess.Popen([*under, *self.runs.command_line(words, ranks)],
                                   env=environment(MICREC_FAULT_RUN=mark, **env), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.mark = mark
        self.addCleanup(self.runs.end_all, process)
        self.wait_until(lambda: self.runs.newest_step(run_dir) > 0, process)
        return process

    def wait_until(self, is_so, process=None):
        deadline = time.monotonic() + SECONDS
        while not is_so():
            if process is not None:
                self.assertIsNone(process.poll(), "the run ended")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def second(self, run_dir, *words, under=(), expect=0, ranks=1, **env):
        line = [*under, *self.runs.command_line(["train", f"--run_dir={run_dir}", *words], ranks)]
        return run(*line, expect=expect, env=environment(**env)).stderr

    def goes_on(self, process, run_dir):
        """The first is unharmed: it saves more, and its log has no line of another."""
        reached = self.runs.newest_step(run_dir)
        self.wait_until(lambda: self.runs.newest_step(run_dir) > reached, process)
        steps = [line["step"] for line in lines_of(run_dir, "step")]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))

    def resume_a_little(self, run_dir, **options):
        """After the first's death another goes on by itself, from what the first has saved."""
        reached = self.runs.newest_step(run_dir)
        said = self.second(run_dir, "--resume", f"--max_steps={reached + 5}", **options)
        self.assertIn(f"resumed   from step-{reached:012}", said)
        self.assertEqual(holder(run_dir), {}, "the lock was not given back")
        return said

    def kill(self, process):
        kill_all(self.runs.processes(process.mark))
        self.runs.end_all(process)

    # --- On one machine ---

    def test_the_second_is_refused_and_goes_on_once_the_first_is_killed(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                run_dir = self.new_folder()
                first = self.first(run_dir, ranks)
                for words in (["--resume"], [f"--dataset={self.runs.dataset}"]):
                    said = self.second(run_dir, *words, expect=4, ranks=ranks)
                    self.assertEqual(said.count("micrec train: "), 1, said)
                    self.assertRegex(said, rf"{run_dir} is in use by another run \(process {holder(run_dir)['process']} "
                                           rf"on {os.uname().nodename}, started 20")
                self.goes_on(first, run_dir)
                self.kill(first)
                self.assertNotEqual(holder(run_dir), {})
                self.resume_a_little(run_dir, ranks=ranks)

    def test_of_two_that_start_at_once_one_has_the_folder(self):
        run_dir = self.new_folder()
        words = self.runs.command_line(self.runs.train_words(run_dir, "--max_steps=200"), 1)
        both = [subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
        said = [process.communicate(timeout=SECONDS)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        self.assertEqual(codes[0], 0, said)
        # The other came meanwhile, or when all was done.
        self.assertIn(codes[1], (2, 4), said)
        self.assertTrue(any("is in use by another run" in text or "holds a run already" in text for text in said), said)
        steps = [line["step"] for line in lines_of(run_dir, "step")]
        self.assertEqual(steps, list(range(1, 201)))

    def test_a_process_number_that_is_used_again_is_no_holder(self):
        run_dir = self.new_folder()
        first = self.first(run_dir)
        self.kill(first)
        lock = run_dir / "run.lock"
        said = holder(run_dir)
        lock.write_text(lock.read_text().replace(f"process={said['process']}\n", f"process={os.getpid()}\n"))
        self.resume_a_little(run_dir)

    def test_a_run_that_ends_gives_the_folder_back(self):
        for words, code in ((["--max_steps=3"], 0), (["--lr=1e30", "--max_steps=50"], 7)):
            run_dir = self.new_folder()
            self.runs.run(*self.runs.train_words(run_dir, *words), expect=(code,))
            self.assertEqual(holder(run_dir), {})

    # --- On two machines ---

    def elsewhere(self):
        """Words that start a program on another machine, as far as it can tell: other process numbers, another name,
        another network; or a skipped test."""
        if os.geteuid() != 0:
            self.skipTest("another network and process namespace need root")
        name = f"node{self.serial}"
        words = ["unshare", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                 f'hostname {name} && exec "$@"', "sh"]
        tried = call(*words, "true")
        if tried.returncode != 0:
            self.skipTest(f"unshare: {tried.stderr.strip()}")
        return name, words

    def on_two_machines(self, **env):
        run_dir = self.new_folder()
        name, words = self.elsewhere()
        env = {**TIMES, **env}
        if "LD_PRELOAD" in env:
            env["FAULT_UNDER"] = str(run_dir)
        first = self.first(run_dir, under=words, **env)
        self.assertEqual(holder(run_dir)["host"], name)
        said = self.second(run_dir, "--resume", expect=4, **env)
        self.assertIn(f"waiting   for {run_dir}, which another run has", said)
        self.assertRegex(said, rf"in use by another run \(process \d+ on {name}, started")
        self.goes_on(first, run_dir)
        self.kill(first)
        said = self.resume_a_little(run_dir, **env)
        self.assertIn("if it gives no sign of life for 4", said)

    def test_in_two_namespaces_the_second_is_refused_and_goes_on_once_the_first_is_killed(self):
        self.on_two_machines()

    def test_in_two_namespaces_on_a_file_system_without_locks(self):
        for error in (errno.ENOLCK, errno.EOPNOTSUPP):
            with self.subTest(error=errno.errorcode[error]):
                self.on_two_machines(LD_PRELOAD=SHIM, FAULT_LOCKS=str(error))

    def test_in_two_namespaces_on_a_file_system_without_hard_links(self):
        self.on_two_machines(LD_PRELOAD=SHIM, FAULT_LINKS=str(errno.EPERM))

    def test_two_names_of_one_machine_see_each_other_at_once(self):
        if os.geteuid() != 0:
            self.skipTest("another name and network need root")
        run_dir = self.new_folder()
        words = ["unshare", "--uts", "--net", "sh", "-c", 'hostname other && exec "$@"', "sh"]
        first = self.first(run_dir, under=words)
        said = self.second(run_dir, "--resume", expect=4)
        self.assertNotIn("waiting", said)
        self.assertIn(" on other, started", said)
        self.kill(first)
        self.assertNotIn("waiting", self.resume_a_little(run_dir))

    def test_a_run_that_was_stopped_for_long_ends_when_another_has_its_folder(self):
        run_dir = self.new_folder()
        _, words = self.elsewhere()
        first = self.first(run_dir, under=words, **TIMES)
        ranks = self.runs.processes(first.mark, self.runs.command)
        # Between two saves: one that has looked at the lock and is stopped before it publishes looks no more.
        while True:
            for process in ranks:
                os.kill(process, signal.SIGSTOP)
            if not any((run_dir / "checkpoints").glob(".*")):
                break
            for process in ranks:
                os.kill(process, signal.SIGCONT)
            time.sleep(0.005)
        self.resume_a_little(run_dir, **TIMES)
        checkpoints = [path.name for path in self.runs.checkpoints(run_dir)]
        for process in ranks:
            os.kill(process, signal.SIGCONT)
        self.assertEqual(first.wait(timeout=SECONDS), 4)
        self.assertEqual([path.name for path in self.runs.checkpoints(run_dir)], checkpoints)

    def test_a_signal_ends_the_wait(self):
        run_dir = self.new_folder()
        _, words = self.elsewhere()
        self.kill(self.first(run_dir, under=words))
        line = self.runs.command_line(["train", f"--run_dir={run_dir}", "--resume"], 1)
        with subprocess.Popen(line, env=environment(MICREC_TEST_LOCK_SECONDS="5:60"), stderr=subprocess.PIPE,
                              text=True) as process:
            for text in process.stderr:
                if text.startswith("waiting"):
                    break
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=SECONDS)[1]
        self.assertEqual(process.returncode, 75, said)
        self.assertIn("nothing was trained", said)

    # --- File systems without locks, and files that others write ---

    def test_all_commands_work_where_nothing_can_be_locked(self):
        folder = self.new_folder()
        folder.mkdir()
        for error in (errno.ENOLCK, errno.EOPNOTSUPP):
            env = {"LD_PRELOAD": SHIM, "FAULT_UNDER": str(folder), "FAULT_LOCKS": str(error)}
            dataset = folder / "sample.h5"
            run_dir = folder / f"run{error}"
            run = lambda *words, env=env: self.runs.run(*words, env=env)
            run("synth", f"--out={dataset}", "--users=60", "--items=40", "--interactions=900", "--modalities=text:6")
            shutil.copy(dataset, self.runs.folder / "copy.h5")
            words = self.runs.train_words(run_dir, "--max_steps=3")
            words[1] = f"--dataset={dataset}"
            run(*words)
            run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=6")
            run("export", f"--run_dir={run_dir}", f"--out={folder / 'e.h5'}")
            run("evaluate", f"--run_dir={run_dir}")
            run("verify", run_dir)
            run("inspect", dataset)

    def test_says_what_to_do_where_hdf5_is_told_to_lock_what_cannot_be_locked(self):
        env = {"LD_PRELOAD": SHIM, "FAULT_UNDER": str(self.runs.folder), "FAULT_LOCKS": str(errno.ENOLCK)}
        self.runs.run("inspect", self.runs.dataset, env=env)
        result = self.runs.run("inspect", self.runs.dataset, expect=(0, 4), env={**env, "HDF5_USE_FILE_LOCKING": "TRUE"})
        if result.returncode != 0:
            self.assertIn("unset HDF5_USE_FILE_LOCKING", result.stderr)

    def test_a_file_that_another_program_writes_is_named_with_the_program(self):
        dataset = self.new_folder().with_suffix(".h5")
        shutil.copy(self.runs.dataset, dataset)
        with h5py.File(dataset, "a"):
            result = self.runs.run("inspect", dataset, expect=(4,), env={"HDF5_USE_FILE_LOCKING": ""})
            self.assertRegex(result.stderr, rf"cannot read {dataset}: (process {os.getpid()} \(|another process).* has it open "
                                            r"for writing")
        with h5py.File(dataset, "r"):
            self.runs.run("inspect", dataset)


if __name__ == "__main__":
    PROGRAM, MPIEXEC, SHIM = sys.argv[1:4]
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
