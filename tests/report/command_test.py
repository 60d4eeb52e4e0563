#!/usr/bin/env python3
"""report.html as `micrec train` leaves it, however it ends, and `micrec report`.

    command_test.py PROGRAM
"""

import os
import re
import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import folder_for, lines_of, run  # noqa: E402

PROGRAM = ""
TRAIN = ["--dim=8", "--layers=1", "--batch=64", "--threads=1", "--log_every=2"]


def micrec(*words, expect=0):
    return run(PROGRAM, *words, expect=expect)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = folder_for(cls, "report")
        cls.dataset = cls.world / "made_up.h5"
        micrec("synth", f"--out={cls.dataset}", "--users=80", "--items=60", "--interactions=900", "--seed=3")
        cls.run_dir = cls.world / "run"
        cls.train(cls.run_dir, "--max_steps=8", "--validate_every=0", "--validate_every_steps=4")

    @classmethod
    def train(cls, run_dir, *words, expect=0):
        return micrec("train", f"--dataset={cls.dataset}", f"--run_dir={run_dir}", *TRAIN, *words, expect=expect).stderr

    def test_a_run_leaves_one(self):
        page = (self.run_dir / "report.html").read_text(encoding="utf-8")
        lines = lines_of(self.run_dir)
        self.assertIn("finished after step 8", page)
        test = next(line for line in lines if line["kind"] == "test")
        for domain, told in test["domains"].items():
            self.assertIn(f"<h3>{domain}</h3>", page)
            for name, values in told["slices"].items():
                row = re.search(rf'<td class="left">{re.escape(name)}</td>(.*)</tr>', page[page.index(f"<h3>{domain}</h3>"):])
                self.assertIn(f"<td>{values['ndcg@20']:.4f}</td>", row[1])
                self.assertIn(f"<td>{values['recall@20']:.4f}</td>", row[1])
        for line in lines:
            if line["kind"] == "step":
                self.assertIn(f"step {line['step']}: {line['loss']:.6g}</title>", page)
            if line["kind"] == "validation":
                self.assertIn(f"step {line['step']}: {line['metric']:.6g}</title>", page)
        for words in ("<code>--max_steps</code>", "<code>--batch</code>", "item regression", "test", "λ", "LibTorch"):
            self.assertIn(words, page)

    def test_the_log_tells_where_a_run_starts_and_what_took_how_long(self):
        lines = lines_of(self.run_dir)
        start, end = lines[0], lines[-1]
        self.assertEqual((start["kind"], start["step"], start["ranks"], start["device"]), ("start", 0, 1, "cpu"))
        self.assertEqual(start["dataset"]["path"], str(self.dataset))
        for told in start["dataset"]["domains"].values():
            self.assertGreater(told["users"] * told["items"] * told["train"] * told["test"], 0)
        self.assertIn("micrec", start["versions"])
        phases = start["phases"] + end["phases"]
        self.assertEqual([phase["phase"] for phase in phases], [
            "reading and sharing out", "item regression", "training, with validation and saving", "test"])
        self.assertLessEqual(sum(phase["seconds"] for phase in phases), end["seconds"] + 1e-3)
        memory = [phase["memory_bytes"] for phase in phases]
        self.assertEqual(memory, sorted(memory))
        self.assertGreater(memory[0], 1e6)

    def test_is_made_again_by_hand(self):
        page = (self.run_dir / "report.html").read_text(encoding="utf-8")
        (self.run_dir / "report.html").unlink()
        result = micrec("report", self.run_dir)
        self.assertEqual((result.stdout, result.stderr), ("", f"wrote {self.run_dir}/report.html\n"))
        self.assertEqual((self.run_dir / "report.html").read_text(encoding="utf-8"), page)

    def test_a_run_that_goes_on_shows_all_of_it(self):
        run_dir = self.world / "resumed"
        shutil.copytree(self.run_dir, run_dir)
        log = run_dir / "metrics.jsonl"
        log.write_text(log.read_text(encoding="utf-8") + '{"kind":"step","st', encoding="utf-8")
        page = self.world / "cut.html"
        micrec("report", run_dir, f"--out={page}")
        self.assertIn("1 line of metrics.jsonl", page.read_text(encoding="utf-8"))
        micrec("train", f"--run_dir={run_dir}", "--resume", "--max_steps=12", "--lr=0.002")
        page = (run_dir / "report.html").read_text(encoding="utf-8")
        self.assertIn("finished after step 12", page)
        self.assertIn("resumed after step 8", page)
        self.assertIn("<code>--lr=0.002</code>", page)
        for step in (2, 8, 12):
            self.assertIn(f"step {step}: ", page)

    def test_a_run_that_diverges_leaves_one(self):
        run_dir = self.world / "diverged"
        said = self.train(run_dir, "--model=mf", "--lr=1e30", "--max_steps=40", expect=7)
        self.assertNotIn("no report.html", said)
        self.assertEqual(lines_of(run_dir)[-1]["reason"], "diverged")
        self.assertIn("diverged after step", (run_dir / "report.html").read_text(encoding="utf-8"))

    def test_that_none_can_be_written_fails_no_run(self):
        run_dir = self.world / "in_the_way"
        (run_dir / "report.html" / "a folder").mkdir(parents=True)
        said = self.train(run_dir, "--max_steps=2")
        self.assertIn("no report.html was written", said)
        self.assertEqual(lines_of(run_dir)[-1]["reason"], "finished")

    def test_several_runs_need_a_name(self):
        self.assertIn("--out=report.html", micrec("report", self.run_dir, self.run_dir, expect=2).stderr)

    def test_a_folder_without_a_run_is_refused(self):
        empty = self.world / "empty"
        empty.mkdir()
        self.assertIn("metrics.jsonl", micrec("report", empty, expect=3).stderr)
        self.assertFalse(list(empty.iterdir()))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
