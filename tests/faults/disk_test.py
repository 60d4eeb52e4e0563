#!/usr/bin/env python3
"""Lets the file system fail under a run, and goes on with it afterwards.

    disk_test.py PROGRAM "MPIEXEC [FLAG ...]" SHIM [--all] [TEST ...]

SHIM is the library of failing_calls.c. A run that has a checkpoint goes on for a step and saves, and one call that it
makes on files of its folder fails: a call of each function on each file, or with --all every single one, with four
errors. Whatever fails, the run ends with exit code 4 and a sentence that names a file of its folder, or it survives;
every checkpoint that was there is there afterwards and whole; and the run, gone on with, ends with the bytes of a run to
which nothing happened. Then the same with a limit on the size of a file, and on a file system that is small or
read-only, which needs root and is skipped without.
"""

import errno
import hashlib
import os
import re
import resource
import shutil
import sys
import unittest
from pathlib import Path

from runs import Runs, step_of
from programs import call, run

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]
STEPS_BEFORE = 2
STEPS = 3
ALL = False
SHIM = ""
PROGRAM = ""
MPIEXEC = ""


def contents_of(checkpoint):
    """SHA-256 of what a checkpoint holds: all of its tensors' files."""
    digest = hashlib.sha256()
    for shard in sorted(checkpoint.glob("shard-*.h5")):
        digest.update(shard.read_bytes())
    return digest.hexdigest()


class DiskTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.runs = Runs(PROGRAM, MPIEXEC)
        cls.runs.__enter__()
        cls.addClassCleanup(cls.runs.__exit__)
        cls.words = ["--save_every_steps=1", "--keep_last=2"]
        cls.begun = {}  # by ranks: a run with a checkpoint
        cls.expected = {}  # by ranks: what its last checkpoint holds where nothing fails
        cls.serial = 0

    def begin(self, ranks):
        """A copy of a run that has taken some steps."""
        runs = self.runs
        if ranks not in self.begun:
            begun = runs.folder / f"begun{ranks}"
            runs.run(*runs.train_words(begun, f"--max_steps={STEPS_BEFORE}", *self.words), ranks=ranks)
            whole = runs.folder / f"whole{ranks}"
            shutil.copytree(begun, whole)
            self.go_on(whole, ranks)
            self.begun[ranks] = begun
            self.expected[ranks] = contents_of(runs.checkpoints(whole)[-1])
        type(self).serial += 1
        return self.copy(self.begun[ranks], runs.folder / f"failing{self.serial}")

    @staticmethod
    def copy(begun, run_dir):
        shutil.copytree(begun, run_dir, dirs_exist_ok=True)
        return run_dir

    def go_on(self, run_dir, ranks, expect=(0,), **options):
        return self.runs.run("train", f"--run_dir={run_dir}", "--resume", f"--max_steps={STEPS}", *self.words,
                             ranks=ranks, expect=expect, **options)

    def check_after(self, run_dir, ranks, before, result):
        """The run ended as it should, has lost nothing, and comes to the right end."""
        output = result.stdout + result.stderr
        if result.returncode != 0:
            self.assertEqual(result.returncode, 4, output)
            message = [line for line in output.splitlines() if "micrec train:" in line]
            self.assertTrue(message, output)
            self.assertTrue(any(str(run_dir) in line for line in message), output)
        after = {path.name: contents_of(path) for path in self.runs.checkpoints(run_dir)}
        if max(after) == max(before):  # Nothing newer was published, so nothing older may be missing.
            self.assertEqual(after, before, output)
        else:
            self.assertEqual(after[max(before)], before[max(before)], output)
        self.go_on(run_dir, ranks)
        last = self.runs.checkpoints(run_dir)[-1]
        self.assertEqual(step_of(last), STEPS)
        self.assertEqual(contents_of(last), self.expected[ranks], output)
        self.assertFalse(list((run_dir / "checkpoints").glob(".step-*")), "something half written is left")

    def before(self, run_dir):
        return {path.name: contents_of(path) for path in self.runs.checkpoints(run_dir)}

    # --- Calls that fail ---

    def with_shim(self, run_dir, ranks, **fault):
        env = {"LD_PRELOAD": SHIM, "FAULT_UNDER": str(run_dir), **{name: str(value) for name, value in fault.items()}}
        return self.go_on(run_dir, ranks, expect=range(-64, 256), env=env)

    def calls_of(self, ranks, rank):
        """[(number, function, file)] of a run to which nothing happens."""
        run_dir = self.begin(ranks)
        log = self.runs.folder / "calls.txt"
        log.unlink(missing_ok=True)
        result = self.with_shim(run_dir, ranks, FAULT_AT=0, FAULT_RANK=rank, FAULT_LOG=log)
        self.assertEqual(result.returncode, 0, result.stderr)
        shutil.rmtree(run_dir)
        calls = []
        for line in log.read_text().splitlines():
            number, function, path = line.split(" ", 2)
            calls.append((int(number), function, Path(path).relative_to(run_dir)))
        return calls

    def chosen(self, calls):
        """The calls to let fail: all, or the first and the last of each function on each file."""
        if ALL:
            return calls
        kinds = {}
        for call in calls:
            kind = call[1], re.sub(r"\d+", "N", str(call[2]))
            kinds.setdefault(kind, []).append(call)
        return sorted({call for of_kind in kinds.values() for call in (of_kind[0], of_kind[-1])})

    def fail_calls(self, ranks, rank, errors, on):
        calls = self.calls_of(ranks, rank)
        saving = [call for call in calls if call[2].parts[0] == "checkpoints"]
        self.assertGreater(len(saving), 5, calls)
        chosen = self.chosen(calls)
        survived = 0
        for at, (number, function, path) in enumerate(chosen):
            for error in errors if ALL else [errors[at % len(errors)]]:
                with self.subTest(ranks=ranks, rank=rank, call=number, function=function, file=str(path),
                                  error=errno.errorcode[error], on=on):
                    run_dir = self.begin(ranks)
                    before = self.before(run_dir)
                    result = self.with_shim(run_dir, ranks, FAULT_AT=number, FAULT_RANK=rank, FAULT_ERRNO=error,
                                            FAULT_ON=int(on))
                    survived += result.returncode == 0
                    self.check_after(run_dir, ranks, before, result)
                    shutil.rmtree(run_dir)
        print(f"{ranks} ranks, rank {rank}: {len(chosen)} of {len(calls)} calls failed "
              f"{'from there on' if on else 'once'}; the run survived {survived}", flush=True)

    def test_a_call_that_fails_once(self):
        self.fail_calls(1, 0, ERRORS, on=False)

    def test_a_disk_that_stays_full(self):
        self.fail_calls(1, 0, [errno.ENOSPC, errno.EDQUOT], on=True)

    def test_a_disk_of_one_rank_of_three(self):
        self.fail_calls(3, 1, ERRORS, on=False)

    # --- Limits of the system ---

    def test_a_limit_on_the_size_of_files(self):
        for limit in (0, 1000, 6000):
            with self.subTest(bytes=limit):
                run_dir = self.begin(1)
                before = self.before(run_dir)
                result = self.go_on(run_dir, 1, expect=range(-64, 256), preexec_fn=lambda size=limit: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)))
                self.assertNotEqual(result.returncode, 0, "no file of the run was larger than the limit")
                self.check_after(run_dir, 1, before, result)

    def mounted(self, name, options):
        """An empty file system of its own, or a skipped test where that is not allowed."""
        place = self.runs.folder / name
        place.mkdir()
        made = call("mount", "-t", "tmpfs", "-o", options, "tmpfs", place) if os.geteuid() == 0 else None
        if made is None or made.returncode != 0:
            self.skipTest("mounting a tmpfs needs root" + (f": {made.stderr.strip()}" if made else ""))
        self.addCleanup(call, "umount", "-l", place)
        return place

    def test_a_small_file_system(self):
        for free in (4096, 20480):
            with self.subTest(bytes=free):
                place = self.mounted(f"small{free}", "size=80m")
                run_dir = self.copy(self.begin(1), place / "run")
                ballast = place / "ballast"
                room = os.statvfs(place)
                ballast.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - free)))
                before = self.before(run_dir)
                result = self.go_on(run_dir, 1, expect=range(-64, 256))
                self.assertNotEqual(result.returncode, 0, "the file system was not small enough")
                ballast.unlink()
                self.check_after(run_dir, 1, before, result)

    def test_a_read_only_file_system(self):
        place = self.mounted("readonly", "size=80m")
        run_dir = self.copy(self.begin(1), place / "run")
        before = self.before(run_dir)
        run("mount", "-o", "remount,ro", place)
        result = self.go_on(run_dir, 1, expect=range(-64, 256))
        self.assertEqual(result.returncode, 4, result.stderr)
        run("mount", "-o", "remount,rw", place)
        self.check_after(run_dir, 1, before, result)


if __name__ == "__main__":
    PROGRAM, MPIEXEC, SHIM = sys.argv[1:4]
    rest = sys.argv[4:]
    ALL = "--all" in rest
    unittest.main(argv=[sys.argv[0], *(word for word in rest if word != "--all")], verbosity=2)
