#!/usr/bin/env python3
"""What check.py promises of its steps, without any program of ours."""

import argparse
import json
import sys
import tempfile
import time
import unittest
from pathlib import Path

import check


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="micrec-check-test-")
        folder = Path(self.temporary.name)
        (folder / "CMakeCache.txt").touch()
        self.check = check.Check(argparse.Namespace(bundle=folder, out=folder / "out", gowalla=None, seconds=100, rehearse=False))

    def tearDown(self):
        self.check.close()
        self.temporary.cleanup()

    def outcomes(self):
        return [(name, outcome) for name, outcome, _, _ in self.check.rows]

    def test_a_step_that_fails_hides_no_other(self):
        def fail():
            raise check.Failed("two is not three")

        self.check.step("wrong", 10, fail, needs_gpu=False)
        self.check.step("broken", 10, lambda: {}["missing"], needs_gpu=False)
        self.check.step("needs a GPU", 10, lambda: "seen")
        self.check.step("right", 10, lambda: "seen", needs_gpu=False)
        self.assertEqual(self.outcomes(), [("wrong", "FAILED"), ("broken", "FAILED"), ("needs a GPU", "skipped"), ("right", "ok")])
        table = (self.check.out / "table.txt").read_text(encoding="utf-8")
        self.assertIn("two is not three", table)
        self.assertRegex(table, r"\n1 ok, 2 failed, 1 skipped, in \d+ s\n$")

    def test_a_command_ends_with_its_step_and_so_does_what_it_started(self):
        start = time.monotonic()
        self.check.step("slow", 1, lambda: self.check.run("sh", "-c", "setsid sleep 60 & echo began; sleep 60"), needs_gpu=False)
        self.assertLess(time.monotonic() - start, 30)
        self.assertEqual(self.outcomes(), [("slow", "FAILED")])
        self.assertIn("out of time in sh; it printed last: began", self.check.rows[0][3])
        self.assertEqual(check.processes({check.MARK: str(check.os.getpid())}), [])

    def test_no_step_begins_when_the_time_is_over(self):
        self.check.options.seconds = 0
        self.check.step("late", 10, lambda: "seen", needs_gpu=False)
        self.assertEqual(self.outcomes(), [("late", "skipped")])

    def test_a_command_that_fails_is_told_by_its_code_and_last_words(self):
        self.check.step("exits", 10, lambda: self.check.run("sh", "-c", "echo 'micrec: no room'; exit 4"), needs_gpu=False)
        self.assertEqual(self.check.rows[0][1::2], ("FAILED", "exit code 4: micrec: no room"))

    def test_what_googletest_says_is_counted(self):
        passed = "[       OK ] A.b (1 ms)\n[  SKIPPED ] A.c (0 ms)\n"
        self.assertEqual(check.told_by_gtest(0, passed), "1 cases held, 1 were skipped")
        for code, text in ((0, "[  SKIPPED ] A.c (0 ms)\n"), (1, passed), (0, passed + "[  FAILED  ] A.d (2 ms)\n")):
            with self.assertRaises(check.Failed):
                check.told_by_gtest(code, text)

    def test_a_profile_is_told_part_by_part(self):
        line = {"kind": "profile", "step": 60, "steps": 50, "launches_per_step": 31.5,
                "uploads_per_step": 1.0, "downloads_per_step": 0.06, "waits_per_step": 0.06,
                "ms_per_step": {"planning": 1.2, "forward": 3.4, "backward": 5.6, "optimizer": 0.7, "exchange": 0.0, "total": 10.9},
                "device_ms_per_step": {"planning": 0.1, "forward": 2.0, "backward": 3.0, "optimizer": 0.2, "exchange": 0.0,
                                       "idle": 4.1, "total": 9.4}}
        self.check.train = lambda name, *flags: self.check.work
        metrics = self.check.work / "metrics.jsonl"
        metrics.write_text(json.dumps(line) + "\n", encoding="utf-8")
        self.assertEqual(self.check.profile("inmo", "dataset", []),
                         "host: planning 1.20, forward 3.40, exchange 0.00, backward 5.60, optimizer 0.70, total 10.90; "
                         "GPU: planning 0.10, forward 2.00, exchange 0.00, backward 3.00, optimizer 0.20, idle 4.10, total 9.40 "
                         "ms; 31.50 launches, 1.00 uploads, 0.06 downloads, 0.06 waits a step")
        metrics.write_text(json.dumps({**line, "waits_per_step": 1.02}) + "\n", encoding="utf-8")
        with self.assertRaisesRegex(check.Failed, r"waits for the GPU in every step: .* 1\.02 waits"):
            self.check.profile("inmo", "dataset", [])
        metrics.write_text(json.dumps({**line, "device_ms_per_step": None, "device_note": "no CUPTI"}) + "\n", encoding="utf-8")
        self.assertRegex(self.check.profile("inmo", "dataset", []), r"^host: .* 10\.90; no times of the GPU: no CUPTI$")

    def test_made_up_interactions_divide_every_users_items(self):
        check.make_up_interactions(self.check.work, 50, 200, 1000)
        lists = {name: [list(map(int, line.split())) for line in (self.check.work / name).read_text().splitlines()]
                 for name in ("train.txt", "test.txt")}
        self.assertEqual([line[0] for line in lists["train.txt"]], list(range(50)))
        train = {user: items for user, *items in lists["train.txt"]}
        for user, *items in lists["test.txt"]:
            self.assertFalse(set(items) & set(train[user]))
            self.assertLess(max(items), 200)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
