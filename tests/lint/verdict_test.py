#!/usr/bin/env python3
"""The line that tests/run.sh ends with, and the list of what was skipped."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

VERDICT = Path(__file__).resolve().parents[1] / "verdict.py"
JUNIT = {"passed": '<testcase name="{}" status="run"/>',
         "failed": '<testcase name="{}" status="fail"><failure message=""/></testcase>',
         "skipped": '<testcase name="{}" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'}
GTEST = """\
[ RUN      ] Gpu.{0}
/a/b.cpp:3: Skipped
no GPU

[  SKIPPED ] Gpu.{0} (0 ms)
"""


def verdict(tests):
    """What is printed last, and the list, of [(name, how it ended, output)]."""
    with tempfile.TemporaryDirectory() as folder:
        results, log, skipped = (Path(folder) / name for name in ("r.xml", "log", "skipped.txt"))
        results.write_text("<testsuite>" + "".join(JUNIT[end].format(name) for name, end, _ in tests) + "</testsuite>")
        log.write_text("".join(f"{n}/9 Testing: {name}\n{n}/9 Test: {name}\nCommand: x\nOutput:\n-----\n{output}"
                               "<end of output>\nTest time = 1 sec\n" for n, (name, _, output) in enumerate(tests)))
        run = subprocess.run([sys.executable, VERDICT, results, log, skipped], capture_output=True, text=True, check=True)
        return run.stdout.splitlines()[-1].replace(folder, "F"), skipped.read_text() if skipped.exists() else ""


class Verdict(unittest.TestCase):
    def test_all_is_well(self):
        self.assertEqual(verdict([("io", "passed", "")])[0], "Tests: 1 passed, 0 failed, 0 skipped")

    def test_what_failed_is_named(self):
        line, _ = verdict([("io", "failed", ""), ("data", "passed", ""), ("plan", "failed", "")])
        self.assertEqual(line, "Tests: 1 passed, 2 failed (io, plan), 0 skipped")

    def test_what_is_skipped_is_counted_by_reason_and_listed(self):
        line, listed = verdict([
            ("gpu", "skipped", GTEST.format("A") + GTEST.format("B")),
            ("slurm", "skipped", "no slurmctld here\n"),
            ("faults", "passed", "test_full (__main__.Disk.test_full) ... skipped 'needs root'\n"),
            ("mpi", "passed", GTEST.format("C") + GTEST.format("C")),
        ])
        self.assertEqual(line, "Tests: 2 passed, 0 failed, 2 skipped (no GPU: 1; no slurmctld here: 1), 4 cases within them "
                               "skipped (no GPU: 3; needs root: 1), listed in F/skipped.txt")
        self.assertEqual(listed.splitlines(), [
            "test gpu: no GPU", "test slurm: no slurmctld here", "case faults: test_full: needs root",
            "case gpu: Gpu.A: no GPU", "case gpu: Gpu.B: no GPU", "case mpi: Gpu.C: no GPU"])

    def test_a_run_that_ended_early_has_no_verdict(self):
        run = subprocess.run([sys.executable, VERDICT, "none.xml", "none", "none"], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (0, "Tests: none ran\n"))


if __name__ == "__main__":
    unittest.main()
