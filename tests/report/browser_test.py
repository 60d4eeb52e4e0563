#!/usr/bin/env python3
"""Reports as Chromium shows them: nothing overlaps, nothing is cut off, nothing is asked of a network.

    browser_test.py PROGRAM PICTURES

Writes the folders of made-up runs, has `micrec report` make their pages, and opens these in a headless Chromium, narrow
and wide. The pictures stay in the folder PICTURES. Exit code 77: there is no Chromium here.
"""

import json
import math
import os
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, folder_for, run  # noqa: E402

PROGRAM = ""
PICTURES = Path()
DEGREES = ["0", "1_3", "4_7", "8_15", "16_31", "32_up"]

# Runs in a copy of a page, after it is laid out: what a reader would see is wrong with it.
LOOK = """
<pre id="found"></pre><script>
const found = [];
const inside = (box, of) => box.left >= of.left - 1 && box.right <= of.right + 1 && box.top >= of.top - 1 && box.bottom <= of.bottom + 1;
if (document.documentElement.scrollWidth > window.innerWidth + 1)
  found.push("the page is wider than its window: " + document.documentElement.scrollWidth + " > " + window.innerWidth);
for (const svg of document.querySelectorAll(".charts svg")) {
  const name = svg.getAttribute("aria-label");
  const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent);
  const boxes = texts.map(text => text.getBoundingClientRect());
  texts.forEach((text, n) => {
    if (!inside(boxes[n], svg.getBoundingClientRect())) found.push(name + ": '" + text.textContent + "' is cut off");
    for (let other = 0; other < n; ++other)
      if (boxes[n].left < boxes[other].right && boxes[other].left < boxes[n].right &&
          boxes[n].top + 2 < boxes[other].bottom && boxes[other].top + 2 < boxes[n].bottom)
        found.push(name + ": '" + text.textContent + "' is over '" + texts[other].textContent + "'");
  });
}
document.getElementById("found").textContent = JSON.stringify(
  {found, charts: document.querySelectorAll(".charts svg").length, text: getComputedStyle(document.body).color,
   page: getComputedStyle(document.body).backgroundColor});
</script>
"""


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    return None


def evaluation(kind, step, domains, lift):
    """A line of metrics.jsonl; the larger the lift, the better the run."""
    line = {"kind": kind, "step": step, "split": "test", "domains": {}}
    for number, domain in enumerate(domains):
        value = (0.05 + 0.01 * number) * (1 + lift) * (1 - math.exp(-step / 60))
        slices = {"all": 1.0, **{f"items_degree_{degree}": 0.2 + 0.3 * n for n, degree in enumerate(DEGREES)},
                  "items_with_text": 1.1, "items_without_text": 0.05, "items_with_image": 0.9,
                  "items_without_image": 0.3, "overlapping_users": 1.2, "other_users": 0.8}
        line["domains"][domain] = {
            "candidates": 11837,
            "slices": {name: {"users": 7144 - 10 * n, "positives": 8689, "recall@20": 2 * value * share,
                              "ndcg@20": value * share} for n, (name, share) in enumerate(slices.items())}}
    mean = sum(told["slices"]["all"]["ndcg@20"] for told in line["domains"].values()) / len(domains)
    line["mean"] = {"recall@20": 2 * mean, "ndcg@20": mean}
    if kind == "validation":
        line |= {"metric": mean, "improved": True, "item_regression": {
            domain: [{"weight": weight, "factor": 157.1 * weight, "ndcg@20": mean * (1 - (weight - 0.9) ** 2 / 20)}
                     for weight in (0.0, 0.3, 0.6, 0.9, 1.3, 3.0)] for domain in domains}}
    return line


def write_run(folder, domains, steps, lift=0.0, ranks=2):
    folder.mkdir()
    lines = [{"kind": "start", "step": 0, "ranks": ranks, "threads": 1, "device": "cpu", "grid": f"{ranks}x1",
              "dataset": {"path": "fk.h5", "fingerprint": "cb0b50289e74ac6ccfa2deec6f2760b0", "domains": {
                  domain: {"users": 7144, "items": 11837, "train": 66285, "valid": 8689, "test": 8689,
                           "modalities": {"text": 7601}} for domain in domains}},
              "versions": {"micrec": "0.1.0", "LibTorch": "2.11.0"},
              "phases": [{"phase": "reading", "seconds": 4.1, "memory_bytes": 3.1e8},
                         {"phase": "item regression", "seconds": 50.8, "memory_bytes": 7.7e8}]}]
    for step in range(steps // 8, steps + 1, steps // 8):
        decay = math.exp(-4 * step / steps)
        lines.append({"kind": "step", "step": step, "epoch": 0, "loss": 0.08 + 0.6 * decay, "ranking": 0.02 + 0.5 * decay,
                      "l2": 0.0, "self": 0.0005 + 0.1 * decay, "contrastive": 0.05, "learning_rate": 0.01 * decay,
                      "seconds": 8.1, "triples_per_second": 50428.5 - step})
        lines.append({"kind": "ledger", "step": step, "steps": steps // 8, "collectives": {
            name: {"phase": "halo", "calls_per_step": 1, "bytes_per_step": sent, "bound_bytes_per_step": 0.9 * sent,
                   "over_bound": 1.1, "waited_seconds_per_step": 0.0021, "hidden_seconds_per_step": 0.0004}
            for name, sent in (("halo.propagate", 560000.0), ("batch.items", 254064.0), ("halo.template.backward", 1200.0))}})
        lines.append(evaluation("validation", step, domains, lift))
    lines.append(evaluation("test", steps, domains, lift))
    lines.append({"kind": "end", "step": steps, "reason": "finished", "seconds": 122.3, "phases": [
        {"phase": "training, with validation and saving", "seconds": 61.0, "memory_bytes": 8.2e8},
        {"phase": "test", "seconds": 6.4, "memory_bytes": 8.6e8}]})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "config.txt").write_text("--model=micrec\n--lr=0.01\n--lr_decay=true\n--batch=8192\n", encoding="utf-8")


def browse(page, *flags):
    with tempfile.TemporaryDirectory() as profile:
        result = call(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                      f"--user-data-dir={profile}", *flags, page.as_uri(), timeout=120)
    if result.returncode != 0:
        raise AssertionError(f"Chromium ended with {result.returncode} on {page}\n{result.stderr[-2000:]}")
    return result.stdout


def look(page, width, *flags):
    """What is wrong with a page in a window of that width, and what it is made of."""
    html = page.read_text(encoding="utf-8")
    copy = page.with_name("copy.html")
    copy.write_text(re.sub(r"<meta http-equiv[^>]*>", "", html).replace("</body>", LOOK + "</body>"), encoding="utf-8")
    dom = browse(copy, f"--window-size={width},2000", "--dump-dom", *flags)
    told = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL).group(1)
    return json.loads(told.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


class Browser(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = folder_for(self, "browser")

    def report(self, name, *words):
        page = self.folder / f"{name}.html"
        run(PROGRAM, "report", *words, f"--out={page}")
        return page

    def check(self, page, least_charts):
        for width in (1280, 800, 500):
            told = look(page, width)
            self.assertEqual(told["found"], [], f"{page.name} in a window of {width}")
            self.assertGreaterEqual(told["charts"], least_charts)
        picture = PICTURES / f"{page.stem}.png"
        picture.unlink(missing_ok=True)
        browse(page, "--window-size=1280,3600", f"--screenshot={picture}")
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        # A page without pictures in it takes a tenth of that.
        self.assertGreater(picture.stat().st_size, 60_000)

    def test_a_run_against_another(self):
        write_run(self.folder / "ours", ["food", "kitchen"], 360, lift=0.2)
        write_run(self.folder / "theirs", ["food", "kitchen"], 240, lift=0.0)
        self.check(self.report("report_against", self.folder / "ours", f"--against={self.folder / 'theirs'}"), 16)

    def test_a_run_of_one_domain(self):
        write_run(self.folder / "run", ["gowalla"], 1_000_000)
        self.check(self.report("report_one_domain", self.folder / "run"), 9)

    def test_many_runs_of_eight_domains(self):
        domains = ["food", "kitchen", "beauty", "toys", "a domain with quite a long name of its own"] + list("xyz")
        for n in range(5):
            write_run(self.folder / f"run{n}", domains, 360, lift=0.1 * n)
        self.check(self.report("report_many", *(self.folder / f"run{n}" for n in range(5))), 40)

    def test_is_dark_where_the_reader_is(self):
        write_run(self.folder / "run", ["food"], 80)
        page = self.report("report", self.folder / "run")
        light = look(page, 1280)
        dark = look(page, 1280, "--blink-settings=preferredColorScheme=0")
        self.assertEqual(light["page"], "rgb(255, 255, 255)")
        self.assertEqual(light["text"], "rgb(27, 31, 36)")
        self.assertEqual(dark["page"], "rgb(20, 23, 27)")
        self.assertEqual(dark["text"], "rgb(228, 232, 238)")
        browse(page, "--window-size=1280,3600", "--blink-settings=preferredColorScheme=0",
               f"--screenshot={PICTURES / 'report_dark.png'}")

    def test_prints(self):
        write_run(self.folder / "run", ["food", "kitchen"], 80)
        printed = self.folder / "printed.pdf"
        browse(self.report("report", self.folder / "run"), f"--print-to-pdf={printed}", "--no-pdf-header-footer")
        data = printed.read_bytes()
        self.assertTrue(data.startswith(b"%PDF"))
        pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", data))
        self.assertIn(pages, range(1, 9))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if chromium() is None:
        print("there is no Chromium here: no report was looked at")
        sys.exit(77)
    PROGRAM, PICTURES = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).absolute()
    PICTURES.mkdir(parents=True, exist_ok=True)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
