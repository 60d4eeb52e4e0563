#!/usr/bin/env python3
"""micrec compare, evaluate --per_user and launcher/plot_comparison.py, held against numpy.

    compare_test.py PROGRAM [TEST ...]

Plot needs matplotlib and is skipped without; the others need numpy and h5py.
"""

import contextlib
import importlib.util
import io
import json
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import folder_for, load, run  # noqa: E402

PROGRAM = ""
METRICS = ["ndcg@20", "recall@20"]


def micrec(*words, expect=0):
    return run(PROGRAM, *words, expect=expect)


class Run:
    """Metrics of made-up users, most of them zero, as those of people without a hit are."""

    def __init__(self, keys, seed, lift):
        draw = np.random.default_rng(seed)
        self.keys = list(keys)
        hit = draw.random(len(self.keys)) < 0.3 + lift
        self.values = {metric: np.where(hit, draw.random(len(self.keys)) * scale, 0)
                       for metric, scale in (("ndcg@20", 0.6), ("recall@20", 1.0))}
        self.low = [key for key in self.keys if key.endswith("7")]  # the users of a slice

    def write(self, group, order):
        keys = [self.keys[n] for n in order]
        group["user"] = np.array(keys, dtype=object)
        group["positives"] = np.ones(len(keys), np.int32)
        group.attrs["candidates"] = np.int64(100)
        group.attrs["slices"] = "items_degree_4_7"
        rows = np.array([row for row, key in enumerate(keys) if key in set(self.low)], np.int32)
        low = group.create_group("slices/items_degree_4_7")
        low["row"], low["positives"] = rows, np.ones(len(rows), np.int32)
        for metric, values in self.values.items():
            group[metric] = values[order]
            low[metric] = values[order][rows]


def write_file(path, domains, order_seed, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "micrec metrics by user", "format_version": np.int64(1), "model": "made up",
                           "checkpoint": "", "dataset_fingerprint": "0123", "split": "test", "split_rule": "ratio:8:1:1",
                           "hold_out": "", "k": "20", **attributes})
        for name, run in domains.items():
            order = np.random.default_rng(order_seed).permutation(len(run.keys))
            run.write(file.create_group(f"domains/{name}"), order)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = folder_for(self, "compare")

    def made_up(self):
        """Two files of the same users, in another order each, and what is in them."""
        keys = {"food": [f"p{n}" for n in range(700)], "kitchen": [f"p{n}" for n in range(300, 800)]}
        runs = [{name: Run(own, seed + number, lift) for number, (name, own) in enumerate(keys.items())}
                for seed, lift in ((1, 0.0), (5, 0.1))]
        for number, run in enumerate(runs):
            write_file(self.folder / f"{number}.h5", run, order_seed=number + 10)
        return runs

    def compare(self, *words):
        told = micrec("compare", *words, f"--json={self.folder / 'comparison.json'}").stdout
        return told, json.loads((self.folder / "comparison.json").read_text())


def spread(values):
    return values.std() / np.sqrt(len(values))


class Compare(Case):
    def expect_figures(self, got, first, second):
        """Everything that is told of one slice and metric; first and second are values of the same users."""
        difference = second - first
        self.assertAlmostEqual(got[0]["value"], first.mean(), places=12)
        self.assertAlmostEqual(got[1]["value"], second.mean(), places=12)
        self.assertAlmostEqual(got[1]["difference"], difference.mean(), places=12)
        self.assertAlmostEqual(got[1]["better"], (difference > 0).mean(), places=12)
        self.assertAlmostEqual(got[1]["worse"], (difference < 0).mean(), places=12)
        draw = np.random.default_rng(7)
        samples = difference[draw.integers(len(difference), size=(10_000, len(difference)))].mean(1)
        error = spread(difference)
        for end, quantile, normal in zip(got[1]["difference_interval"], np.quantile(samples, [0.025, 0.975]), (-1, 1)):
            # A quantile of 10,000 samples is known to 3% of a standard error.
            self.assertAlmostEqual(end, quantile, delta=0.15 * error)
            self.assertAlmostEqual(end, difference.mean() + normal * 1.96 * error, delta=0.25 * error)
        self.assertEqual(got[1]["differs"], got[1]["difference_interval"][0] > 0 or got[1]["difference_interval"][1] < 0)
        for figures, values in zip(got, (first, second)):
            for end, normal in zip(figures["interval"], (-1, 1)):
                self.assertAlmostEqual(end, values.mean() + normal * 1.96 * spread(values), delta=0.25 * spread(values))

    def test_figures_are_those_of_users_paired_by_key(self):
        runs = self.made_up()
        told, comparison = self.compare(self.folder / "0.h5", self.folder / "1.h5")
        self.assertEqual(comparison["warnings"], [])
        self.assertEqual(comparison["metrics"], METRICS)
        for domain in ("food", "kitchen"):
            first, second = runs[0][domain], runs[1][domain]
            low = np.array([key in set(first.low) for key in first.keys])
            for name, chosen in (("all", np.ones(len(low), bool)), ("items_degree_4_7", low)):
                contents = comparison["domains"][domain]["slices"][name]
                self.assertEqual(contents["users"], chosen.sum())
                for metric in METRICS:
                    self.expect_figures(contents["metrics"][metric], first.values[metric][chosen],
                                        second.values[metric][chosen])
            self.assertIn(f"| {domain} | all | {len(low)} | ndcg@20 | {first.values['ndcg@20'].mean():.4f} | "
                          f"{second.values['ndcg@20'].mean():.4f} |", told)

    def test_the_mean_over_domains_has_an_interval_of_both(self):
        runs = self.made_up()
        _, comparison = self.compare(self.folder / "0.h5", self.folder / "1.h5")
        for metric in METRICS:
            differences = [runs[1][name].values[metric] - runs[0][name].values[metric] for name in ("food", "kitchen")]
            got = comparison["mean"][metric][1]
            expected = np.mean([difference.mean() for difference in differences])
            error = np.sqrt(sum(spread(difference) ** 2 for difference in differences)) / 2
            self.assertAlmostEqual(got["difference"], expected, places=12)
            for end, normal in zip(got["difference_interval"], (-1, 1)):
                self.assertAlmostEqual(end, expected + normal * 1.96 * error, delta=0.25 * error)

    def test_the_same_seed_gives_the_same_bytes_at_any_number_of_threads(self):
        self.made_up()
        files = self.folder / "0.h5", self.folder / "1.h5"
        told, comparison = self.compare(*files, "--threads=1")
        self.assertEqual((told, comparison), self.compare(*files, "--threads=3"))
        self.assertNotEqual(comparison, self.compare(*files, "--seed=1")[1])

    def test_what_cannot_be_compared_is_refused(self):
        runs = self.made_up()
        good = self.folder / "0.h5"
        write_file(self.folder / "valid.h5", runs[0], 1, split="valid")
        write_file(self.folder / "newer.h5", runs[0], 1, format_version=np.int64(2))
        write_file(self.folder / "strangers.h5", {"food": Run(["a7", "b7", "c"], 1, 0)}, 1)
        write_file(self.folder / "twice.h5", {"food": Run(["a7", "b7", "a7"], 1, 0)}, 1)
        with h5py.File(self.folder / "other.h5", "w") as file:
            file["key"] = [1, 2]
        (self.folder / "text.h5").write_text("text")
        for name, code, part in (("valid.h5", 3, "was evaluated on 'valid'"), ("newer.h5", 3, "has version 2"),
                                 ("strangers.h5", 3, "nothing can be paired"), ("twice.h5", 3, "'a7' twice"),
                                 ("other.h5", 3, "is no file of metrics by user"), ("text.h5", 3, "text.h5"),
                                 ("none.h5", 4, "No such file")):
            result = micrec("compare", good, self.folder / name, expect=code)
            self.assertEqual(result.stdout, "", name)
            self.assertIn(part, result.stderr)
        for words, code, part in ((["--k=7"], 3, "has no ndcg@7 of domain food; it has ndcg@20, recall@20"),
                                  (["--metrics=ndgc"], 2, "recall, ndcg"),
                                  ([f"--json={good}"], 2, "same file")):
            self.assertIn(part, micrec("compare", good, self.folder / "1.h5", *words, expect=code).stderr)
        micrec("compare", good, expect=2)


class Whole(Case):
    """From made-up data to a comparison."""

    @classmethod
    def setUpClass(cls):
        cls.world = folder_for(cls, "compare")
        cls.dataset = cls.world / "sample.h5"
        micrec("synth", f"--out={cls.dataset}", "--users=160", "--items=90", "--interactions=2400", "--modalities=text:12",
               "--seed=5", "--threads=1")
        for model in ("mf", "lightgcn"):
            micrec("train", f"--dataset={cls.dataset}", f"--run_dir={cls.world / model}", f"--model={model}", "--dim=8",
                   "--max_steps=20", "--batch=512", "--lr=0.01", "--threads=1", "--validate_every=0")
            micrec("evaluate", f"--run_dir={cls.world / model}", f"--per_user={cls.world / model}.h5",
                   f"--out={cls.world / model}.json")

    def test_means_of_users_are_what_evaluate_reports(self):
        report = json.loads((self.world / "mf.json").read_text())
        with h5py.File(self.world / "mf.h5") as file:
            for name, domain in report["domains"].items():
                group = file["domains"][name]
                self.assertEqual(group.attrs["slices"].split(","), [key for key in domain["slices"] if key != "all"])
                for slice_name, expected in domain["slices"].items():
                    place = group if slice_name == "all" else group["slices/" + slice_name]
                    self.assertEqual(len(place["positives"]), expected["users"])
                    self.assertEqual(place["positives"][:].sum(), expected["positives"])
                    for metric in expected:
                        if "@" in metric:
                            self.assertAlmostEqual(place[metric][:].mean(), expected[metric], places=9)

    def test_folders_are_compared_as_their_files_are(self):
        files = self.compare(self.world / "mf.h5", self.world / "lightgcn.h5")
        folders = self.compare(self.world / "mf", self.world / "lightgcn")
        self.assertEqual([run["model"] for run in folders[1]["runs"]], ["mf", "lightgcn"])
        for part in ("mean", "domains", "metrics", "warnings"):
            self.assertEqual(files[1][part], folders[1][part])
        both = self.compare(self.world / "mf", self.world / "mf.h5")[1]
        for figures in both["mean"].values():
            self.assertEqual(figures[1]["difference"], 0)
            self.assertEqual(figures[1]["differs"], False)

    def test_numpy_ranks_exported_embeddings_alike(self):
        ranking = load("tests/benchmarks/quality_ranking.py")
        micrec("export", f"--run_dir={self.world / 'mf'}", f"--out={self.folder / 'embeddings.h5'}")
        domains, attributes = ranking.open_domains(self.dataset)
        with h5py.File(self.folder / "embeddings.h5") as file:
            rows = {domain.name: [file[f"domains/{domain.name}/{kind}/embedding"][:] for kind in ("users", "items")]
                    for domain in domains}
        ranking.write(self.folder / "numpy.h5", domains, attributes, "embeddings", "test", [10, 20, 50],
                      lambda domain: ranking.dot_products(*rows[domain.name]))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            ranking.same(argparse_of(a=self.folder / "numpy.h5", b=self.world / "mf.h5"))
        self.assertRegex(out.getvalue(), r"^\d+ columns agree")
        with h5py.File(self.folder / "numpy.h5", "a") as file:
            name = next(iter(file["domains"]))
            file[f"domains/{name}/ndcg@20"][0] += 0.01
        with self.assertRaises(SystemExit):
            ranking.same(argparse_of(a=self.folder / "numpy.h5", b=self.world / "mf.h5"))

    def test_inspect_says_what_is_in_the_file(self):
        told = micrec("inspect", self.world / "mf.h5").stdout
        for part in ("metrics by user", "mf", "test of ratio:8:1:1", "10,20,50", "items_degree_4_7"):
            self.assertIn(part, told)


def argparse_of(**values):
    return type("Arguments", (), values)()


class PlotMessages(Case):
    def run_plot(self, *arguments):
        plot = load("launcher/plot_comparison.py")
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            code = plot.main([str(argument) for argument in arguments])
        return code, err.getvalue()

    def comparison(self):
        self.made_up()
        self.compare(self.folder / "0.h5", self.folder / "1.h5")
        return self.folder / "comparison.json"

    def test_what_it_cannot_read_is_refused(self):
        path = self.comparison()
        out = self.folder / "out.svg"
        comparison = json.loads(path.read_text())
        (self.folder / "list.json").write_text("[]")
        (self.folder / "text.json").write_text("no JSON")
        for domain in comparison["domains"].values():
            del domain["slices"]["items_degree_4_7"]
        (self.folder / "whole.json").write_text(json.dumps(comparison))
        for name, code, part in (("list.json", 3, "is not what micrec compare"), ("text.json", 3, "is not what"),
                                 ("whole.json", 3, "no slice of item degrees"), ("none.json", 4, "No such file")):
            got, err = self.run_plot(self.folder / name, out)
            self.assertEqual(got, code, err)
            self.assertIn(part, err)
        self.assertEqual(self.run_plot(path)[0], 2)
        self.assertFalse(out.exists())

    def test_a_missing_matplotlib_names_its_pinned_pip_line(self):
        path = self.comparison()
        before = sys.modules.get("matplotlib")
        sys.modules["matplotlib"] = None
        self.addCleanup(lambda: sys.modules.update(matplotlib=before) if before else sys.modules.pop("matplotlib"))
        code, err = self.run_plot(path, self.folder / "out.svg")
        self.assertEqual(code, 2)
        self.assertRegex(err, r"pip install matplotlib==\d")


@unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
class Plot(PlotMessages):
    def test_same_input_gives_the_same_picture(self):
        path = self.comparison()
        pictures = []
        for name in ("a.svg", "b.svg"):
            code, err = self.run_plot(path, self.folder / name)
            self.assertEqual(code, 0, err)
            pictures.append((self.folder / name).read_text())
        self.assertEqual(*pictures)
        for part in ("<svg", "food", "kitchen", "ndcg@20", "recall@20", "4-7", "0.h5", "1.h5"):
            self.assertIn(part, pictures[0])
        self.assertEqual(sorted(p.name for p in self.folder.glob("*unfinished*")), [])

    def test_a_folder_that_is_not_there_is_told(self):
        code, err = self.run_plot(self.comparison(), self.folder / "none" / "out.svg")
        self.assertEqual(code, 4)
        self.assertIn("No such file", err)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
