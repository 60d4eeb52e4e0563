#!/usr/bin/env python3
"""Runs the program from made-up data to recommendations, under mpirun, and checks what it leaves with numpy.

    program_test.py PROGRAM PROGRAM_WITH_FAULTS "MPIEXEC [FLAG ...]" [TEST ...]
"""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

import h5py
import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "evaluate")]
import programs  # noqa: E402
from check_metrics import linear_term  # noqa: E402
from programs import SECONDS, environment, folder_for, lines_of  # noqa: E402

PROGRAM = ""
WITH_FAULTS = ""  # the same, but that its environment may kill it (tests/faults)
MPIEXEC = []
CHECK_METRICS = TESTS / "evaluate" / "check_metrics.py"

SYNTH = ["--users=160", "--items=90", "--interactions=2400", "--modalities=text:12,image:9", "--seed=5",
         "--threads=1", "--hold_out=interactions:0.1,users:0.1,items:0.1,cold_items:0.05"]
TRAIN = ["--dim=16", "--batch=512", "--lr=0.01", "--log_every=1", "--validate_every=0", "--validate_every_steps=5",
         "--save_every_minutes=0", "--keep_last=20", "--threads=1", "--seed=2", "--dropout=0.1",
         "--share_templates=0.5", "--cold_simulation=0.2", "--l2=1e-4", "--regression_weight=0.6"]


def command_line(words, ranks, program=None):
    under_mpi = [*MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
    return [*under_mpi, program or PROGRAM, *map(str, words)]


def run(*words, ranks=1, expect=0, **options):
    """What the program printed; its exit code must be as expected."""
    return programs.run(*command_line(words, ranks), expect=expect, **options)


def losses(run_dir):
    return {line["step"]: line["loss"] for line in lines_of(run_dir, "step")}


def embeddings_of(path):
    with h5py.File(path) as file:
        return {f"{domain}/{side}": file[f"domains/{domain}/{side}/embedding"][:]
                for domain in file["domains"] for side in ("users", "items")}


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for(cls, "end-to-end")
        cls.dataset = cls.folder / "sample.h5"
        run("synth", f"--out={cls.dataset}", *SYNTH)
        # The run that most tests look at, at two ranks.
        cls.run_dir = cls.folder / "run"
        cls.train(cls.run_dir, 2, "--max_steps=20")

    @classmethod
    def train(cls, run_dir, ranks, *words, expect=0):
        return run("train", f"--dataset={cls.dataset}", f"--run_dir={run_dir}", *TRAIN, *words, ranks=ranks,
                   expect=expect)

    def export(self, run_dir, name, ranks=1):
        path = self.folder / name
        run("export", f"--run_dir={run_dir}", "--checkpoint=newest", f"--out={path}", ranks=ranks)
        return path

    def refused(self, exit_code, *words, say=(), ranks=1):
        """The program ends with this code and one message that has these words; nothing on stdout."""
        result = run(*words, ranks=ranks, expect=exit_code)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(re.findall(r"micrec(?: \w+)?: ", result.stderr)), 1, result.stderr)
        for word in say:
            self.assertIn(word, result.stderr)

    # --- Training ---

    def test_losses_are_the_same_at_any_number_of_ranks(self):
        expected = losses(self.run_dir)
        self.assertEqual(list(expected), list(range(1, 21)))
        self.assertLess(np.mean([expected[step] for step in range(16, 21)]),
                        0.98 * np.mean([expected[step] for step in range(1, 6)]))
        for ranks in (1, 3):
            run_dir = self.folder / f"ranks{ranks}"
            self.train(run_dir, ranks, "--max_steps=20")
            got = losses(run_dir)
            self.assertEqual(list(got), list(expected))
            for step, loss in expected.items():
                self.assertAlmostEqual(got[step] / loss, 1, delta=1e-4)

    def test_a_step_sends_what_the_plan_says_and_nothing_else(self):
        for grid in ("2x1", "1x2"):
            run_dir = self.folder / f"ledger{grid}"
            self.train(run_dir, 2, f"--grid={grid}", "--max_steps=20")
            steps = lines_of(run_dir, "ledger")
            self.assertEqual(sum(line["steps"] for line in steps), 20)
            self.assertTrue(any(name.startswith("halo.weighted") for name in steps[0]["collectives"]) == (grid == "2x1"))
            self.assertLessEqual(sum(line["over_bound"] * line["steps"] for line in steps), 1.2 * 20)
            for line in steps:
                self.assertGreater(line["bytes_per_step"], 0)
                for name, entry in line["collectives"].items():
                    self.assertTrue(entry["bytes_per_step"] == 0 or entry["bound_bytes_per_step"] > 0, name)
            [fit] = lines_of(run_dir, "fit")
            self.assertGreater(fit["planned_seconds"], 0)
            self.assertGreater(fit["bytes"], 0)
            for name, entry in fit["collectives"].items():
                if not name.startswith("neighbours.") and name != "item_regression.stop":
                    self.assertIn("planned_bytes", entry, f"{name} of grid {grid}: {entry}")
                    self.assertLessEqual(entry["bytes"], entry["planned_bytes"], name)

    def test_a_plan_of_a_small_run_has_the_memory_that_it_takes(self):
        path = self.folder / "plan.json"
        run("plan", f"--dataset={self.dataset}", "--ranks=1", "--dim=16", "--batch=512", f"--out={path}")
        planned = json.loads(path.read_text())["plan"]["memory_bytes_of_fullest_rank"] / 2**20
        told = self.train(self.folder / "small", 1, "--max_steps=5")
        [taken] = re.findall(r"at most ([\d.]+) MiB of memory", told.stdout + told.stderr)
        self.assertGreater(planned, 0.75 * float(taken))
        self.assertLess(planned, 1.5 * float(taken))

    def test_a_profile_says_where_the_time_of_a_step_went(self):
        run_dir = self.folder / "profile"
        self.train(run_dir, 2, "--grid=2x1", "--max_steps=20", "--profile_steps=6")
        [profile] = lines_of(run_dir, "profile")
        self.assertEqual((profile["step"], profile["steps"]), (16, 6))
        parts = dict(profile["ms_per_step"])
        total = parts.pop("total")
        self.assertEqual(set(parts), {"planning", "forward", "backward", "optimizer", "exchange"})
        self.assertTrue(all(ms > 0 for ms in parts.values()), parts)
        self.assertAlmostEqual(sum(parts.values()), total, places=6)
        self.assertIsNone(profile["device_ms_per_step"])

    def test_a_run_leaves_what_it_says(self):
        config = (self.run_dir / "config.txt").read_text()
        for flag in ("--dim=16", "--share_templates=0.5", "--seed=2"):
            self.assertIn(flag, config)
        validations = lines_of(self.run_dir, "validation")
        self.assertEqual([line["step"] for line in validations], [5, 10, 15, 20])
        for line in validations:
            self.assertAlmostEqual(line["metric"], line["mean"]["ndcg@20"])
        self.assertEqual(len(lines_of(self.run_dir, "test")), 1)
        self.assertEqual([line["reason"] for line in lines_of(self.run_dir, "end")], ["finished"])
        self.assertTrue(list(self.run_dir.glob("events.out.tfevents*")))
        self.assertTrue((self.run_dir / "checkpoints").is_dir())
        # The configuration reproduces the run.
        again = self.folder / "again"
        run("train", f"--flagfile={self.run_dir / 'config.txt'}", f"--run_dir={again}", ranks=2)
        self.assertEqual(losses(again), losses(self.run_dir))

    # --- What comes of it ---

    def test_metrics_are_the_same_at_any_number_of_ranks_and_as_numpy_has_them(self):
        for split in ("test", "valid"):
            metrics = self.folder / f"{split}.json"
            printed = run("evaluate", f"--run_dir={self.run_dir}", f"--split={split}", "--k=5,20",
                          f"--out={metrics}").stdout
            self.assertEqual(json.loads(printed), json.loads(metrics.read_text()))
            for ranks in (2, 3):
                other = run("evaluate", f"--run_dir={self.run_dir}", f"--split={split}", "--k=5,20", ranks=ranks)
                self.assertEqual(other.stdout, printed)
            embeddings = self.folder / f"{split}.h5"
            run("export", f"--run_dir={self.run_dir}", f"--out={embeddings}", ranks=2)
            check = programs.run(sys.executable, CHECK_METRICS, self.dataset, embeddings, metrics)
            self.assertIn("metrics agree", check.stdout)
        report = json.loads((self.folder / "test.json").read_text())
        self.assertEqual(report["mean"]["ndcg@20"], lines_of(self.run_dir, "test")[0]["mean"]["ndcg@20"])
        for domain in report["domains"].values():
            self.assertTrue({"all", "old_users.old_items", "new_users.old_items"} <= set(domain["slices"]),
                            list(domain["slices"]))

    def test_exported_embeddings_have_the_same_bits_at_any_number_of_ranks(self):
        one = embeddings_of(self.export(self.run_dir, "one.h5", ranks=1))
        three = embeddings_of(self.export(self.run_dir, "three.h5", ranks=3))
        self.assertEqual(len(one), 4)
        for name, rows in one.items():
            self.assertTrue(np.isfinite(rows).all())
            np.testing.assert_array_equal(rows, three[name], err_msg=name)

    def test_recommends_what_an_export_says(self):
        embeddings = self.folder / "served.h5"
        run("export", f"--run_dir={self.run_dir}", f"--out={embeddings}")
        with h5py.File(self.dataset) as data, h5py.File(embeddings) as served:
            domain = sorted(data["domains"])[0]
            group, rows = data[f"domains/{domain}"], served[f"domains/{domain}"]
            train_users = group["train/user"][:]
            user = int(np.bincount(train_users).argmax())
            key = group["users/key"][user].decode()
            seen = [group[f"{split}/item"][:][group[f"{split}/user"][:] == user] for split in ("train", "later")]
            seen = np.concatenate(seen)
            scores = rows["items/embedding"][:] @ rows["users/embedding"][user]
            weights = rows["item_regression"].attrs
            linear = linear_term(data, served, domain)[:, user]
            self.assertGreater(weights["regression"] * np.abs(linear).max(), 0)
            scores = weights["embeddings"] * scores + weights["regression"] * linear
            scores[seen] = -np.inf
            best = np.argsort(-scores, kind="stable")[:10]
            item_keys = [name.decode() for name in group["items/key"][:]]
            expected = [item_keys[item] for item in best]
            history = [(key, item_keys[item]) for item in seen]

        def lists(*words):
            rows = csv.DictReader(io.StringIO(run("recommend", f"--run_dir={self.run_dir}", f"--domain={domain}",
                                                  "--k=10", *words).stdout))
            return list(rows)

        got = lists(f"--users={key}")
        self.assertEqual([row["item_id"] for row in got], expected)
        self.assertEqual({row["basis"] for row in got}, {"dataset"})
        np.testing.assert_allclose([float(row["score"]) for row in got], scores[best], rtol=1e-4)

        # The same history under a name that the model has never seen.
        new = self.folder / "new.csv"
        new.write_text("user_id,item_id\n" + "".join(f"somebody new,{item}\n" for _, item in history))
        unseen = lists(f"--history={new}")
        self.assertEqual({row["basis"] for row in unseen}, {"history"})
        self.assertEqual({row["user_id"] for row in unseen}, {"somebody new"})
        self.assertFalse({row["item_id"] for row in unseen} & {item for _, item in history})
        # Templates of this person's other domain do not come with the file, so the lists may differ a little.
        self.assertGreaterEqual(len({row["item_id"] for row in unseen} & set(expected)), 7)

        nobody = lists("--users=nobody at all")
        self.assertEqual({row["basis"] for row in nobody}, {"popular"})

    # --- What came later ---

    def what_came(self, name):
        """Flags of a week after training: new people and items, an old person, two items that nobody met; and its files."""
        with h5py.File(self.dataset) as data:
            domain = data.attrs["domains"].split(",")[0]
            items = data[f"domains/{domain}/items/key"].asstr()[:]
            users = data[f"domains/{domain}/users/key"].asstr()[:]
            train = data[f"domains/{domain}/train/user"][:]
            features = {m: (group["value"][:], group["present"][:])
                        for m, group in data[f"domains/{domain}/features"].items()}
        old = users[np.bincount(train).argmax()]
        events = [(f"new person {n}", items[(7 * n + k) % len(items)]) for n in range(5) for k in range(6)]
        events += [(f"new person {n}", "novelty met") for n in range(4)] + [(old, "novelty met")]
        observed = self.folder / f"{name}.csv"
        observed.write_text("user_id,item_id,timestamp\n" + "".join(f"{u},{i},2000000000\n" for u, i in events))
        inputs = []
        for modality, (values, present) in features.items():
            path = self.folder / f"{name}_{modality}.h5"
            with h5py.File(path, "w") as file:
                file["key"] = np.array(["novelty met", "novelty cold 1", "novelty cold 2"], dtype=object)
                file["value"] = values[np.flatnonzero(present)[:3]]
            inputs.append(f"{modality}:{domain}={path}")
        return domain, old, observed, [f"--items={','.join(inputs)}", f"--observed={domain}={observed}"]

    def test_lets_in_what_came_later_without_training(self):
        domain, old, observed, flags = self.what_came("later")
        before = embeddings_of(self.export(self.run_dir, "before.h5"))
        exported = {}
        for ranks in (1, 2):
            path = self.folder / f"later{ranks}.h5"
            run("export", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--out={path}", *flags, ranks=ranks)
            exported[ranks] = embeddings_of(path)
        for name, rows in exported[1].items():
            np.testing.assert_array_equal(rows, exported[2][name])
        self.assertEqual(len(exported[1][f"{domain}/items"]), len(before[f"{domain}/items"]) + 3)
        self.assertEqual(len(exported[1][f"{domain}/users"]), len(before[f"{domain}/users"]) + 5)
        with h5py.File(self.folder / "later1.h5") as file:
            keys = file[f"domains/{domain}/items/key"].asstr()[:]
            regression = file[f"domains/{domain}/item_regression"]
            per_item = np.diff(regression["indptr"][:])
        for key in ("novelty met", "novelty cold 1", "novelty cold 2"):
            item = list(keys).index(key)
            self.assertGreater(per_item[item], 0, f"{key} has coefficients")
            self.assertGreater(np.abs(exported[1][f"{domain}/items"][item]).sum(), 0)

        printed = run("recommend", f"--run_dir={self.run_dir}", f"--domain={domain}", "--k=95", *flags)
        lists = {}
        for row in csv.DictReader(io.StringIO(printed.stdout)):
            lists.setdefault(row["user_id"], []).append(row["item_id"])
        self.assertEqual({f"new person {n}" for n in range(5)} - set(lists), set())
        self.assertIn("novelty cold 1", lists["new person 1"])
        self.assertNotIn("novelty met", lists["new person 1"], "it was seen")
        self.assertNotIn("novelty met", lists[old])
        self.assertIn("novelty met", lists["new person 4"])
        metrics = json.loads(run("evaluate", f"--run_dir={self.run_dir}", *flags, ranks=2).stdout)
        alone = json.loads(run("evaluate", f"--run_dir={self.run_dir}").stdout)
        self.assertEqual(metrics["domains"][domain]["candidates"], alone["domains"][domain]["candidates"] + 3)

        self.refused(2, "evaluate", f"--run_dir={self.run_dir}", f"--observed=nowhere={observed}", say=("nowhere", domain))
        self.refused(2, "evaluate", f"--run_dir={self.run_dir}", "--items=later.h5", say=("--items", "MODALITY:DOMAIN=FILE"))
        self.refused(4, "evaluate", f"--run_dir={self.run_dir}", f"--observed={domain}=no.csv", say=("no.csv",))
        self.refused(2, "export", f"--run_dir={self.run_dir}", f"--out={observed}", *flags, say=("--out",))

    def test_refreshes_a_run_on_a_dataset_that_extends_its_own(self):
        domain, _, observed, _ = self.what_came("week")
        more = self.folder / "more.h5"
        run("prepare", f"--append={self.dataset}", f"--out={more}", f"{domain}={observed}")
        self.assertIn("extends", run("inspect", more).stdout)
        with h5py.File(self.dataset) as old, h5py.File(more) as new:
            for side in ("users", "items"):
                keys = old[f"domains/{domain}/{side}/key"][:]
                np.testing.assert_array_equal(new[f"domains/{domain}/{side}/key"][:len(keys)], keys)
        expected = None
        for ranks in (1, 2):
            run_dir = self.folder / f"refreshed{ranks}"
            words = ("train", f"--dataset={more}", f"--init_from={self.run_dir}", f"--run_dir={run_dir}", "--batch=512",
                     "--lr=0.01", "--log_every=1", "--threads=1", "--validate_every=0", "--validate_every_steps=4")
            told = run(*words, "--max_steps=4", ranks=ranks).stderr
            self.assertIn("extends the data set", told)
            run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=8", ranks=3 - ranks)
            got = losses(run_dir)
            self.assertEqual(list(got), list(range(1, 9)))
            expected = expected or got
            for step, loss in expected.items():
                self.assertAlmostEqual(got[step] / loss, 1, delta=1e-4)
        first = losses(self.run_dir)
        self.assertLess(expected[1], np.mean([first[step] for step in (1, 2, 3)]), "it begins where the run was")
        self.assertIn("--dim=16", (self.folder / "refreshed1/config.txt").read_text(), "of the run it begins with")
        self.refused(6, "evaluate", f"--run_dir={self.run_dir}", f"--dataset={more}", say=("--init_from", "--observed"))
        self.refused(2, "prepare", f"--append={self.dataset}", f"--out={self.folder / 'no.h5'}", "--core=2",
                     f"{domain}={observed}", say=("--core", "--append"))
        published = self.folder / "published.h5"
        run("prepare", f"--out={published}", "--split=files", f"{domain}={observed},{observed}")
        self.refused(2, "prepare", f"--append={published}", f"--out={self.folder / 'no.h5'}", f"{domain}={observed}",
                     say=("names 1 file", "--split=ratio:1:0:0"))
        self.refused(6, "train", f"--dataset={more}", f"--init_from={self.folder}", f"--run_dir={self.folder / 'no'}",
                     say=("--init_from", "no checkpoint"))

    def test_lists_keep_to_filters_and_say_why(self):
        with h5py.File(self.dataset) as data:
            domain, other = sorted(data["domains"])[:2]
            items = [key.decode() for key in data[f"domains/{domain}/items/key"][:]]
            users = [key.decode() for key in data[f"domains/{domain}/users/key"][:40]]
            degree = np.bincount(data[f"domains/{domain}/train/item"][:], minlength=len(items))
        table = self.folder / "items.csv"
        table.write_text("item_id,price,brand\n" + "".join(f"{key},{n % 30},{'abc'[n % 3]}\n" for n, key in enumerate(items)))
        left_out = self.folder / "left_out.txt"
        left_out.write_text("\n".join(items[::5]) + "\nno such item\n")

        def lists(*words, k=1000):
            result = run("recommend", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--domain={domain}", f"--k={k}",
                         f"--users={','.join([*users, 'nobody at all'])}", *words)
            of_user = {}
            for row in csv.DictReader(io.StringIO(result.stdout)):
                of_user.setdefault(row["user_id"], []).append(row)
            return of_user, result.stderr

        every, _ = lists()
        kept, told = lists("--min_degree=3", f"--exclude_items={left_out}", f"--attributes={table}",
                           "--where=price < 20 and not brand in ('b', 'x')", "--at_most=2:price", k=7)
        self.assertIn("1 lines are no items of", told)
        for user in [*users, "nobody at all"]:
            expected, taken = [], {}
            for row in every[user]:
                n = items.index(row["item_id"])
                if degree[n] < 3 or n % 5 == 0 or n % 30 >= 20 or n % 3 == 1 or taken.get(n % 30, 0) == 2:
                    continue
                if len(expected) < 7:
                    taken[n % 30] = taken.get(n % 30, 0) + 1
                    expected.append((row["item_id"], row["score"]))
            self.assertEqual([(row["item_id"], row["score"]) for row in kept[user]], expected, user)

        reasons, _ = lists("--why", "--exclude=none", k=4)
        for rows in reasons.values():
            for row in rows:
                total = sum(float(row[name]) for name in ("share_1", "share_2", "share_3", "other_items", "no_item")
                            if row[name])
                score = float(row["score"])
                self.assertAlmostEqual(total, score, delta=1e-5 * (1 + abs(score)))

        embeddings = embeddings_of(self.export(self.run_dir, "like.h5"))[f"{domain}/items"]
        rows = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        result = run("similar", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--items={domain}:{items[3]}", "--k=5")
        similar = list(csv.DictReader(io.StringIO(result.stdout)))
        here = [row for row in similar if row["domain"] == domain]
        cosines = rows @ rows[3]
        cosines[3] = -2
        self.assertEqual([row["item_id"] for row in here], [items[n] for n in np.argsort(-cosines)[:5]])
        self.assertEqual({row["basis"] for row in here}, {"cosine"})
        self.assertEqual({row["basis"] for row in similar if row["domain"] == other}, {"met_it"})

    def test_exports_arrays_of_the_same_rows(self):
        whole = embeddings_of(self.export(self.run_dir, "whole.h5"))
        prefix = self.folder / "arrays"
        run("export", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--out={prefix}", "--format=npy", ranks=2)
        for name, rows in whole.items():
            path = f"{prefix}.{name.replace('/', '.')}"
            np.testing.assert_array_equal(np.load(path + ".npy"), rows, err_msg=name)
            with h5py.File(self.dataset) as data:
                keys = [key.decode() for key in data[f"domains/{name}/key"][:]]
            self.assertEqual(Path(path + ".keys.txt").read_text(encoding="utf-8").splitlines(), keys)
        if "FAISS            none" in run("--version").stdout:
            self.assertIn("without FAISS", run("export", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--out={prefix}", "--format=faiss",
                                               expect=2).stderr)
            return
        told = run("export", f"--run_dir={self.run_dir}", "--checkpoint=newest", f"--out={prefix}", "--format=faiss", ranks=2).stderr
        self.assertEqual(told.count("read back, gives all"), 2, told)

    def test_inspects_datasets_runs_checkpoints_and_embeddings(self):
        embeddings = self.export(self.run_dir, "inspected.h5")
        checkpoint = max((self.run_dir / "checkpoints").glob("step-*"))
        for what, words in ((self.dataset, ("text", "image")), (self.run_dir, ("step", "ndcg")),
                            (checkpoint, ("embedding", "tokens")), (embeddings, ("16",))):
            printed = run("inspect", what).stdout
            for word in words:
                self.assertIn(word, printed, str(what))

    # --- Going on ---

    def test_a_resumed_run_is_the_same_run(self):
        for ranks in (1, 2):
            run_dir = self.folder / f"parts{ranks}"
            self.train(run_dir, ranks, "--max_steps=10")
            run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=20", ranks=ranks)
            whole = self.run_dir
            if ranks == 1:
                whole = self.folder / "whole1"
                self.train(whole, 1, "--max_steps=20")
            self.assertEqual(losses(run_dir), losses(whole))
            resumed = embeddings_of(self.export(run_dir, f"resumed{ranks}.h5"))
            for name, rows in embeddings_of(self.export(whole, f"whole{ranks}.h5")).items():
                np.testing.assert_array_equal(rows, resumed[name])

    def test_a_run_saved_at_three_ranks_goes_on_at_others(self):
        saved = self.folder / "three"
        self.train(saved, 3, "--max_steps=10")
        expected = losses(self.run_dir)
        for ranks in (1, 2):
            run_dir = self.folder / f"from_three_to_{ranks}"
            shutil.copytree(saved, run_dir)
            run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=20", ranks=ranks)
            got = losses(run_dir)
            self.assertEqual(list(got), list(expected))
            for step, loss in expected.items():
                self.assertAlmostEqual(got[step] / loss, 1, delta=1e-4)

    def stopped_and_resumed(self, name, send):
        """Trains at two ranks, stops it by `send(process)` once it takes steps, resumes, and compares with a run
        that was not stopped."""
        run_dir = self.folder / name
        words = ["train", f"--dataset={self.dataset}", f"--run_dir={run_dir}", *TRAIN, "--max_steps=4000",
                 "--patience=0"]
        with subprocess.Popen(command_line(words, 2), env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + SECONDS
            log = run_dir / "metrics.jsonl"
            while not (log.exists() and '"step"' in log.read_text()):
                self.assertIsNone(process.poll(), "the run ended before it could be stopped")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            send(process)
            try:
                output = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self.assertEqual(process.returncode, 75, output)
        self.assertIn("--resume", output[1])
        end = lines_of(run_dir, "end")[-1]
        self.assertEqual(end["reason"], "interrupted")
        self.assertEqual(max(losses(run_dir)), end["step"])
        last = max(end["step"] + 3, 20)
        run("train", f"--run_dir={run_dir}", "--resume", f"--max_steps={last}", ranks=2)
        whole = self.folder / f"{name}_whole"
        self.train(whole, 2, f"--max_steps={last}", "--patience=0")
        self.assertEqual(losses(run_dir), losses(whole))
        resumed = embeddings_of(self.export(run_dir, f"{name}.h5"))
        for rows, other in zip(embeddings_of(self.export(whole, f"{name}_whole.h5")).values(), resumed.values()):
            np.testing.assert_array_equal(rows, other)

    def test_a_signal_to_mpirun_saves_and_stops(self):
        self.stopped_and_resumed("usr2", lambda process: process.send_signal(signal.SIGUSR2))

    def test_sigterm_to_one_rank_saves_and_stops_all(self):
        def terminate_one_rank(process):
            ranks = self.pids_of_ranks(self.folder / "term")
            self.assertEqual(sorted(ranks), [0, 1])
            os.kill(ranks[1], signal.SIGTERM)

        self.stopped_and_resumed("term", terminate_one_rank)

    def test_the_time_limit_saves_and_stops(self):
        run_dir = self.folder / "limited"
        self.train(run_dir, 2, "--max_steps=1000000", "--patience=0", "--validate_every_steps=0",
                   "--item_regression=off", f"--time_limit={3 / 60}", expect=75)
        self.assertEqual(lines_of(run_dir, "end")[-1]["reason"], "interrupted")
        self.assertTrue(list((run_dir / "checkpoints").glob("step-*")))

    def test_the_end_of_a_slurm_job_saves_and_stops(self):
        run_dir = self.folder / "job_end"
        os.environ["SLURM_JOB_END_TIME"] = str(int(time.time()) + 6)
        try:
            result = self.train(run_dir, 2, "--max_steps=1000000", "--patience=0", "--validate_every_steps=0",
                                "--item_regression=off", expect=75)
        finally:
            del os.environ["SLURM_JOB_END_TIME"]
        self.assertIn("the job ends in", result.stderr)
        self.assertEqual(lines_of(run_dir, "end")[-1]["reason"], "interrupted")
        self.assertTrue(list((run_dir / "checkpoints").glob("step-*")))

    # --- What ends it early ---

    def pids_of_ranks(self, run_dir):
        """The processes of a run's ranks, by rank."""
        ranks = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (str(run_dir).encode() not in (process / "cmdline").read_bytes() or
                        (process / "comm").read_text().strip() != Path(PROGRAM).name):
                    continue
                for word in (process / "environ").read_bytes().split(b"\0"):
                    if word.startswith(b"OMPI_COMM_WORLD_RANK="):
                        ranks[int(word.split(b"=")[1])] = int(process.name)
            except OSError:
                continue
        return ranks

    def ended_by(self, number, run_dir, *words):
        """What a run of three ranks says when its rank 1 gets this signal in the midst of training."""
        command = command_line(["train", f"--dataset={self.dataset}", f"--run_dir={run_dir}", *TRAIN, "--patience=0",
                                "--max_steps=1000000", *words], 3)
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            end = time.monotonic() + SECONDS
            log = run_dir / "metrics.jsonl"
            while not (log.exists() and '"step"' in log.read_text()):
                self.assertIsNone(process.poll(), "the run ended before it could be stopped")
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)
            ranks = self.pids_of_ranks(run_dir)
            self.assertEqual(sorted(ranks), [0, 1, 2])
            os.kill(ranks[1], number)
            output = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 5, output)
        self.assertEqual(output[1].count("micrec train: "), 1, output[1])
        return output[1]

    def test_a_killed_rank_ends_the_run_and_is_named(self):
        self.assertRegex(self.ended_by(signal.SIGKILL, self.folder / "killed"),
                         r"micrec train: rank 1 of 3 was killed by signal 9 \(SIGKILL\) in .*'[a-z_.]+' \(collective \d+\)")

    def test_a_stopped_rank_ends_the_run_and_is_named(self):
        self.assertRegex(self.ended_by(signal.SIGSTOP, self.folder / "halted", "--deadline=3"),
                         r"micrec train: rank 1 of 3 (has not reached|does not go on in) '[a-z_.]+' \(collective \d+\): "
                         r"its process is stopped by a signal")

    # --- What it refuses ---

    def test_refuses_a_run_folder_that_cannot_be_written(self):
        self.refused(4, "train", f"--dataset={self.dataset}", "--run_dir=/proc/runs", say=("/proc/runs",), ranks=2)

    def test_refuses_what_is_wrong_with_the_flags(self):
        there = f"--dataset={self.dataset}"
        new = f"--run_dir={self.folder / 'refused'}"
        self.refused(2, "train", there, new, "--drpout=0.1", say=("--drpout", "--dropout"))
        self.refused(2, "train", there, new, "--dim=0", say=("dim",))
        self.refused(2, "train", there, new, "--model=bert", say=("bert", "inmo"))
        self.refused(2, "train", there, new, "--modalities=sound", say=("sound", "image, text"))
        self.refused(2, "train", there, say=("--run_dir",))
        self.refused(2, "train", new, say=("--dataset",))
        self.refused(2, "train", there, new, "--lr_decay", say=("--max_steps",))
        self.refused(2, "train", there, f"--run_dir={self.run_dir}", say=("holds a run already", "--resume"))
        self.refused(2, "train", f"--run_dir={self.run_dir}", "--resume", "--dim=32", say=("--dim", "16"))
        self.refused(2, "trian", say=("train",))
        self.assertFalse((self.folder / "refused").exists())

    def test_refuses_under_mpirun_with_one_message_and_the_same_code(self):
        new = f"--run_dir={self.folder / 'refused'}"
        self.refused(2, "train", f"--dataset={self.dataset}", new, "--drpout=0.1", say=("--dropout",), ranks=2)
        self.refused(4, "train", f"--dataset={self.folder / 'nowhere.h5'}", new, say=("nowhere.h5",), ranks=2)

    def test_refuses_files_that_are_missing_or_no_datasets(self):
        new = f"--run_dir={self.folder / 'refused'}"
        self.refused(4, "train", f"--dataset={self.folder / 'nowhere.h5'}", new, say=("nowhere.h5",))
        wrong = self.folder / "wrong.h5"
        wrong.write_text("this is no HDF5 file\n" * 100)
        self.refused(3, "train", f"--dataset={wrong}", new, say=("wrong.h5",))
        self.refused(6, "train", f"--run_dir={self.folder / 'nobody'}", "--resume", say=("no checkpoint",))

    def damaged_copy(self, name, damage, steps=None):
        """A copy of the run, after damage(checkpoint) to its newest checkpoint, or to those of these steps."""
        copy = self.folder / name
        shutil.copytree(self.run_dir, copy)
        checkpoints = sorted((copy / "checkpoints").glob("step-*"))
        for checkpoint in checkpoints if steps == "all" else checkpoints[-1:]:
            damage(checkpoint)
        return copy

    @staticmethod
    def truncate(checkpoint):
        shard = checkpoint / "shard-00001.h5"
        with open(shard, "r+b") as file:
            file.truncate(shard.stat().st_size - 7)

    @staticmethod
    def turn_a_bit(checkpoint):
        """In the moments of the embedding, the size as it was."""
        shard = checkpoint / "shard-00000.h5"
        with h5py.File(shard) as file:
            at = file["tensors/embedding/adam_m"].id.get_offset() + 11
        content = bytearray(shard.read_bytes())
        content[at] ^= 1
        shard.write_bytes(content)

    def test_steps_over_a_damaged_checkpoint_and_is_the_same_run(self):
        for name, damage, ranks, say in (("cut", self.truncate, 1, ("shard-00001.h5", "cut off")),
                                         ("turned", self.turn_a_bit, 2,
                                          ("shard-00000.h5", "/tensors/embedding/adam_m", "checksum"))):
            run_dir = self.damaged_copy(name, damage)
            result = run("train", f"--run_dir={run_dir}", "--resume", ranks=ranks)
            for word in ("stepped over", "step-000000000020", *say):
                self.assertIn(word, result.stderr)
            self.assertRegex(result.stderr, r"resumed +from step-0000000000(0[1-9]|1[0-9])")
            if ranks == 2:
                self.assertEqual(losses(run_dir), losses(self.run_dir))
                expected = embeddings_of(self.export(self.run_dir, f"{name}_expected.h5"))
                for key, rows in embeddings_of(self.export(run_dir, f"{name}.h5")).items():
                    np.testing.assert_array_equal(rows, expected[key])

    def test_never_starts_from_scratch_where_it_was_to_resume(self):
        for ranks in (1, 2):
            run_dir = self.damaged_copy(f"all_damaged{ranks}", self.turn_a_bit, steps="all")
            before = sorted((run_dir / "checkpoints").iterdir())
            self.refused(6, "train", f"--run_dir={run_dir}", "--resume", "--max_steps=30", ranks=ranks,
                         say=("none of the", "step-000000000020/shard-00000.h5", "/tensors/embedding/adam_m"))
            self.assertEqual(sorted((run_dir / "checkpoints").iterdir()), before)
        empty = self.folder / "empty"
        shutil.copytree(self.run_dir, empty)
        shutil.rmtree(empty / "checkpoints")
        self.refused(6, "train", f"--run_dir={empty}", "--resume", say=("no checkpoint",))

    def test_refuses_to_resume_on_another_dataset(self):
        other = self.folder / "other.h5"
        run("synth", f"--out={other}", *SYNTH, "--seed=6")
        copy = self.folder / "other_data"
        shutil.copytree(self.run_dir, copy)
        self.refused(6, "train", f"--run_dir={copy}", f"--dataset={other}", "--resume", "--max_steps=30",
                     say=("fingerprint", "other.h5", "sample.h5"))

    def test_says_what_else_to_evaluate_where_the_best_is_damaged(self):
        run_dir = self.folder / "best"
        shutil.copytree(self.run_dir, run_dir)
        best = run_dir / "checkpoints" / "best.json"
        named = json.loads(best.read_text())["checkpoint"]
        others = {path.name for path in (run_dir / "checkpoints").glob("step-*")} - {named}
        self.turn_a_bit(run_dir / "checkpoints" / named)

        def refused(*say):
            result = run("evaluate", f"--run_dir={run_dir}", expect=6)
            for word in ("--checkpoint", max(others), *say):
                self.assertIn(word, result.stderr)

        refused(named, "shard-00000.h5", "/tensors/embedding/adam_m")
        shutil.rmtree(run_dir / "checkpoints" / named)
        refused("best.json", named, "not there")
        best.write_text("{")
        refused("best.json", "damaged")
        run("evaluate", f"--run_dir={run_dir}", f"--checkpoint={max(others)}")

    def test_verifies_every_byte(self):
        report = self.folder / "verify.json"
        printed = run("verify", self.run_dir, f"--out={report}").stdout
        found = json.loads(report.read_text())
        checkpoints = sorted(str(path) for path in (self.run_dir / "checkpoints").glob("step-*"))
        self.assertTrue(found["whole"])
        self.assertEqual([checkpoint["path"] for checkpoint in found["checkpoints"]], checkpoints)
        files = [path for path in (self.run_dir / "checkpoints").rglob("*") if path.is_file()]
        files.append(self.run_dir / "item_regression.h5")
        neighbours = sorted(self.run_dir.glob("semantic_neighbours.*.h5"))
        self.assertEqual([path.name for path in neighbours],
                         [f"semantic_neighbours.{modality}.h5" for modality in ("image", "text")])
        files += neighbours
        self.assertEqual(len(printed.splitlines()), len(files))
        self.assertEqual(printed.count("whole"), len(files))

        run_dir = self.damaged_copy("verified", self.turn_a_bit)
        newest = max((run_dir / "checkpoints").glob("step-*"))
        result = run("verify", run_dir, f"--out={report}", expect=6)
        self.assertEqual(result.stdout.count("DAMAGED"), 1, result.stdout)
        self.assertIn("/tensors/embedding/adam_m", result.stdout)
        self.assertIn("1 of", result.stderr)
        found = json.loads(report.read_text())
        self.assertFalse(found["whole"])
        self.assertEqual([checkpoint["path"] for checkpoint in found["checkpoints"] if not checkpoint["whole"]],
                         [str(newest)])
        run("verify", newest, expect=6)
        run("verify", min((run_dir / "checkpoints").glob("step-*")))
        run("verify", self.folder / "nowhere", expect=4)
        run("verify", self.folder, expect=6)

    # --- Saving ---

    def test_a_run_killed_at_any_instant_of_a_save_goes_on_as_the_same_run(self):
        expected = losses(self.run_dir)
        whole = embeddings_of(self.export(self.run_dir, "killed_expected.h5"))
        instants = {"rename": ["begun", "shard_written", "shard_synced@1", "manifest_written", "renamed",
                               "parent_synced", "best_named:1", "old_removed"],
                    "marker": ["shard_written", "manifest_written", "renamed"]}
        for commit, names in instants.items():
            for name in names:
                words = name.split("@")
                at = words[0] if ":" in words[0] else f"{words[0]}:3"
                run_dir = self.folder / f"killed_{commit}_{words[0].replace(':', '_')}"
                command = command_line(["train", f"--dataset={self.dataset}", f"--run_dir={run_dir}", *TRAIN,
                                        "--save_every_steps=2", "--max_steps=20", "--keep_last=2",
                                        f"--commit={commit}"], 2, WITH_FAULTS)
                killed = programs.call(*command, env=environment(
                    MICREC_TEST_DIE_AT="@".join([at, words[1] if len(words) > 1 else "0"])))
                self.assertNotEqual(killed.returncode, 0, name)
                self.assertLess(max(losses(run_dir), default=0), 20, name)
                left = run("verify", run_dir).stdout  # all that has a name is whole
                self.assertIn("manifest.json: whole", left)
                run("train", f"--run_dir={run_dir}", "--resume", ranks=2)
                self.assertEqual(losses(run_dir), expected, name)
                for key, rows in embeddings_of(self.export(run_dir, f"killed_{commit}_{words[0][:-2]}.h5")).items():
                    np.testing.assert_array_equal(rows, whole[key], err_msg=name)
                self.assertFalse([path.name for path in (run_dir / "checkpoints").iterdir()
                                  if path.name.startswith(".")], name)
                run("verify", run_dir)

    def test_checkpoints_are_the_same_however_they_are_saved(self):
        """In the background or not, by rename or marker: the same bytes of every tensor."""
        def state(run_dir):
            checkpoint = max((run_dir / "checkpoints").glob("step-*"))
            tensors = {}
            for shard in sorted(checkpoint.glob("shard-*.h5")):
                with h5py.File(shard) as file:
                    file.visititems(lambda name, item, at=shard.name: tensors.update({f"{at}/{name}": item[:]})
                                    if isinstance(item, h5py.Dataset) else None)
            return tensors

        expected = state(self.run_dir)
        for name, flags in (("waiting", ["--noasync_save"]), ("marked", ["--commit=marker"])):
            run_dir = self.folder / name
            self.train(run_dir, 2, "--max_steps=20", "--save_every_steps=3", *flags)
            got = state(run_dir)
            self.assertEqual(list(got), list(expected))
            for key, rows in expected.items():
                np.testing.assert_array_equal(got[key], rows, err_msg=key)
            for line in lines_of(run_dir, "save"):
                self.assertGreater(line["bytes"], 0)
                self.assertGreaterEqual(line["blocked_seconds"], line["copy_seconds"])
                self.assertGreater(line["write_seconds"], 0)
            copied = [line for line in lines_of(run_dir, "save") if line["copy_seconds"] > 0]
            self.assertEqual(bool(copied), name != "waiting")
        self.assertTrue((self.folder / "marked" / "checkpoints" / "step-000000000018" / "complete").exists())

    # --- Other settings on the way ---

    def test_a_run_that_diverged_says_what_there_is_to_go_on_from(self):
        run_dir = self.folder / "diverged"
        result = self.train(run_dir, 2, "--max_steps=50", "--lr=1e30", "--validate_every_steps=0", expect=7)
        self.assertIn("nothing was saved before: start again with a smaller --lr", result.stderr)
        self.assertNotIn("kept", result.stderr)

        self.train(run_dir, 2, "--max_steps=10")
        result = run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=50", "--lr=1e30", expect=7, ranks=2)
        self.assertIn("the checkpoint of step 10 is kept: go on from it by --resume with a smaller --lr", result.stderr)
        # And so it is done.
        result = run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=12", "--lr=0.001", ranks=2)
        self.assertIn("changed   --lr=0.001, until here 0.01", result.stderr)

    def test_a_resumed_run_takes_another_setting_where_it_is_named_and_tells_it(self):
        run_dir = self.folder / "changed"
        self.train(run_dir, 1, "--max_steps=10")
        plain = self.folder / "unchanged"
        shutil.copytree(run_dir, plain)
        run("train", f"--run_dir={plain}", "--resume", "--max_steps=14")
        run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=14", "--lr=0.002", "--l2=0.01", "--dropout=0.1")
        rates = {line["step"]: line["learning_rate"] for line in lines_of(run_dir, "step")}
        self.assertEqual((rates[10], rates[11]), (0.01, 0.002))
        before, after = losses(plain), losses(run_dir)
        self.assertEqual({step: before[step] for step in range(1, 11)}, {step: after[step] for step in range(1, 11)})
        self.assertNotEqual(before[11], after[11])
        self.assertGreater(lines_of(run_dir, "step")[-1]["l2"], 50 * lines_of(plain, "step")[-1]["l2"])

        # The run's history: two settings are others now, the third was named and is the same.
        self.assertEqual([line["changed"] for line in lines_of(run_dir, "resume")],
                         [{"l2": {"before": "1e-04", "now": "0.01"}, "lr": {"before": "0.01", "now": "0.002"}}])
        self.assertEqual([(line["step"], line["changed"]) for line in lines_of(plain, "resume")], [(10, {})])
        history = ["# from step 10 on: --l2=0.01, before it 1e-04", "# from step 10 on: --lr=0.002, before it 0.01"]
        newest = max((run_dir / "checkpoints").glob("step-*"))
        for config in ((run_dir / "config.txt").read_text(),
                       json.loads((newest / "manifest.json").read_text())["config"]):
            self.assertEqual([line for line in config.splitlines() if line.startswith("# from step")], history)
            self.assertIn("--lr=0.002\n", config)
        # It stays so where nothing is named, and is told together with the next change.
        run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=16")
        self.assertEqual(lines_of(run_dir, "step")[-1]["learning_rate"], 0.002)
        run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=18", "--lr=0.001")
        history.append("# from step 16 on: --lr=0.001, before it 0.002")
        self.assertEqual([line for line in (run_dir / "config.txt").read_text().splitlines()
                          if line.startswith("# from step")], history)
        self.assertIn("from step 10 on: --lr=0.002, before it 0.01", run("inspect", run_dir).stdout)
        # What it says is enough to repeat it.
        again = self.folder / "changed_again"
        self.train(again, 1, "--max_steps=10")
        run("train", f"--run_dir={again}", "--resume", "--max_steps=16", "--lr=0.002", "--l2=0.01")
        run("train", f"--run_dir={again}", "--resume", "--max_steps=18", "--lr=0.001")
        self.assertEqual(losses(again), losses(run_dir))

    def test_a_setting_that_was_changed_before_nothing_was_saved_stays_changed(self):
        run_dir = self.folder / "wish"
        self.train(run_dir, 1, "--max_steps=10")
        run("train", f"--run_dir={run_dir}", "--resume", "--lr=0.002")  # there is no step left to take
        result = run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=12")
        self.assertIn("changed   --lr=0.002, until here 0.01", result.stderr)
        self.assertEqual(lines_of(run_dir, "step")[-1]["learning_rate"], 0.002)
        self.assertEqual(lines_of(run_dir, "resume")[-1]["changed"], {"lr": {"before": "0.01", "now": "0.002"}})
        run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=14", "--lr=0.01")  # and may be taken back
        self.assertEqual(lines_of(run_dir, "step")[-1]["learning_rate"], 0.01)

    def test_another_end_of_a_decay_is_told(self):
        run_dir = self.folder / "decay"
        self.train(run_dir, 1, "--max_steps=10", "--lr_decay")
        result = run("train", f"--run_dir={run_dir}", "--resume", "--max_steps=14")
        self.assertIn("changed   --max_steps=14, until here 10", result.stderr)
        self.assertEqual(lines_of(run_dir, "resume")[-1]["changed"], {"max_steps": {"before": "10", "now": "14"}})
        self.assertIn("# from step 10 on: --max_steps=14, before it 10\n", (run_dir / "config.txt").read_text())

    def test_the_test_of_a_run_without_validation_is_that_of_its_last_checkpoint(self):
        dataset = self.folder / "no_validation.h5"
        run("synth", f"--out={dataset}", *SYNTH, "--split=ratio:9:0:1")
        run_dir = self.folder / "no_validation"
        result = run("train", f"--dataset={dataset}", f"--run_dir={run_dir}", *TRAIN, "--max_steps=7", "--validate_users=5")
        self.assertIn("--validate_users has no effect without them\n", result.stderr)
        [test] = lines_of(run_dir, "test")
        self.assertEqual((test["step"], test["checkpoint"]), (7, "step-000000000007"))
        self.assertEqual(lines_of(run_dir, "validation_of_all"), [])


class RecencyTest(unittest.TestCase):
    """People who have turned from one kind of items to another, in each of two domains."""
    DOMAINS = ("left", "right")

    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for(cls, "end-to-end")
        random = np.random.default_rng(7)
        kinds, of_a_kind = 8, 24
        cls.events = {domain: [] for domain in cls.DOMAINS}
        for domain in cls.DOMAINS:
            for person in range(240):
                before, now = random.choice(kinds, 2, replace=False)
                items = [*(before * of_a_kind + random.choice(of_a_kind, 8, replace=False)),
                         *(now * of_a_kind + random.choice(of_a_kind, 7, replace=False))]
                time = 1_500_000_000 + int(random.integers(1000))
                for n, item in enumerate(items):
                    time += int(random.integers(2))  # some at the same time
                    cls.events[domain].append((f"p{person}", f"{domain[0]}{item}", time))

    def prepared(self, split, with_times=True):
        files = []
        for domain, events in self.events.items():
            path = self.folder / f"{domain}_{with_times}.csv"
            header = "user_id,item_id,timestamp" if with_times else "user_id,item_id"
            path.write_text("\n".join([header, *(",".join(map(str, event[:3 if with_times else 2])) for event in events)]) + "\n")
            files.append(f"{domain}={path}")
        dataset = self.folder / f"{split.split(':')[0]}_{with_times}.h5"
        run("prepare", f"--out={dataset}", f"--split={split}", *files)
        return dataset

    def trained(self, name, dataset, *words, ranks=1, expect=0):
        run_dir = self.folder / name
        result = run("train", f"--dataset={dataset}", f"--run_dir={run_dir}", "--model=item_regression", "--threads=1",
                     *words, ranks=ranks, expect=expect)
        return run_dir, result.stderr

    @staticmethod
    def coefficients(run_dir):
        with h5py.File(run_dir / "item_regression.h5") as file:
            chosen = json.loads(file.attrs["settings"])["chosen"]
            return (file.attrs["format_version"], {domain: of.get("recency", 0) for domain, of in chosen.items()},
                    [file[name][:] for name in ("offsets", "source", "value")])

    @staticmethod
    def rows_of(printed):
        return list(csv.DictReader(io.StringIO(printed)))

    def test_it_is_chosen_where_the_latest_tells_what_comes_next(self):
        dataset = self.prepared("time:10:2:3")
        run_dir, told = self.trained("chosen", dataset)
        version, half_life, fitted = self.coefficients(run_dir)
        self.assertEqual(version, 2)
        for domain in self.DOMAINS:
            self.assertGreater(half_life[domain], 0)
            self.assertRegex(told, rf"recency of {domain}: half-life of [\d.]+ newer interactions \(0: ")
        self.assertIn("recency=", run("inspect", run_dir / "item_regression.h5").stdout)

        off, _ = self.trained("off", dataset, "--recency=0")
        version, of_off, fitted_off = self.coefficients(off)
        self.assertEqual((version, set(of_off.values())), (1, {0}))
        for with_recency, without in zip(fitted, fitted_off):
            np.testing.assert_array_equal(with_recency, without)
        tested = {name: lines_of(self.folder / name, "test")[0]["mean"]["ndcg@20"] for name in ("chosen", "off")}
        self.assertGreater(tested["chosen"], 1.2 * tested["off"])

        bytes_of_file = (run_dir / "item_regression.h5").read_bytes()
        metrics = run("evaluate", f"--run_dir={run_dir}").stdout
        self.assertEqual(json.loads(metrics)["mean"]["ndcg@20"], tested["chosen"])
        for ranks in (2, 3):
            other, _ = self.trained(f"on{ranks}", dataset, ranks=ranks)
            self.assertEqual((other / "item_regression.h5").read_bytes(), bytes_of_file)
            self.assertEqual(run("evaluate", f"--run_dir={other}", ranks=ranks).stdout, metrics)
        self.check_lists(dataset, run_dir, half_life)

    def check_lists(self, dataset, run_dir, half_life):
        """What evaluate ranks by is what an export says, and what recommend and serve list."""
        exported, metrics = self.folder / "recency_export.h5", self.folder / "recency.json"
        run("export", f"--run_dir={run_dir}", f"--out={exported}", ranks=2)
        self.assertIn("with a half-life of", run("inspect", exported).stdout)
        run("evaluate", f"--run_dir={run_dir}", f"--out={metrics}")
        programs.run(sys.executable, CHECK_METRICS, dataset, exported, metrics)
        with h5py.File(dataset) as data, h5py.File(exported) as file:
            keys = file["domains/left/items/key"].asstr()[:]
            user = list(file["domains/left/users/key"].asstr()[:]).index("p5")
            scores = linear_term(data, file, "left")[:, user]
            trained = {domain: {data[f"domains/{domain}/items/key"].asstr()[item]
                                for user, item in zip(data[f"domains/{domain}/train/user"][:], data[f"domains/{domain}/train/item"][:])
                                if data[f"domains/{domain}/users/key"].asstr()[user] == "p5"} for domain in self.DOMAINS}
        mine = {domain: [(item, time) for person, item, time in events if person == "p5" and item in trained[domain]]
                for domain, events in self.events.items()}
        of_key = self.rows_of(run("recommend", f"--run_dir={run_dir}", "--users=p5", "--domain=left", "--k=20", "--why").stdout)
        for row in of_key:
            self.assertAlmostEqual(float(row["score"]), scores[list(keys).index(row["item_id"])], delta=1e-4)
            shares = [float(row[name] or 0) for name in ("share_1", "share_2", "share_3", "other_items", "no_item")]
            self.assertAlmostEqual(sum(shares), float(row["score"]), delta=1e-4)

        flags = {}
        for with_times in (True, False):
            files = []
            for domain, events in mine.items():
                path = self.folder / f"mine_{domain}_{with_times}.csv"
                lines = ["user_id,item_id" + ",timestamp" * with_times]
                lines += [f"somebody new,{item}" + f",{time}" * with_times for item, time in events]
                path.write_text("\n".join(lines) + "\n")
                files.append(f"{domain}={path}")
            flags[with_times] = "--history=" + ",".join(files)
        listed = {with_times: run("recommend", f"--run_dir={run_dir}", "--domain=left", "--k=20", flag) for with_times, flag in flags.items()}
        pairs = [(row["item_id"], row["score"]) for row in of_key]
        self.assertEqual([(row["item_id"], row["score"]) for row in self.rows_of(listed[True].stdout)], pairs)
        self.assertNotIn("it has no times", listed[True].stderr)
        self.assertNotEqual([row["item_id"] for row in self.rows_of(listed[False].stdout)], [item for item, _ in pairs])
        self.assertIn("it has no times", listed[False].stderr)
        self.check_served(run_dir, mine, of_key, self.rows_of(listed[False].stdout))

    def check_served(self, run_dir, mine, of_key, without_times):
        history = {domain: [item for item, _ in events] for domain, events in mine.items()}
        times = {domain: [time + 0.5 for _, time in events] for domain, events in mine.items()}
        list_of = {"route": "recommend", "domains": ["left"], "k": 20}
        newest = without_times[0]["item_id"]
        requests = [{**list_of, "user": "p5"}, {**list_of, "history": history, "history_times": times},
                    {**list_of, "history": history}, {**list_of, "history": history, "history_times": {"left": [1]}},
                    {**list_of, "history": history, "history_times": {"left": ["yesterday"]}},
                    # Told one after the other, which is when they came; the last of all counts most.
                    {"route": "observe", "events": [{"domain": domain, "user": "told", "item": item} for domain, events in mine.items()
                                                    for item, _ in sorted(events, key=lambda event: event[1])]},
                    {**list_of, "user": "told", "why": 20},
                    {"route": "observe", "events": [{"domain": "left", "user": "p5", "item": newest}]},
                    {**list_of, "user": "p5", "why": 20}]
        done = run("serve", f"--run_dir={run_dir}", "--stdin", input="\n".join(map(json.dumps, requests)))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer["status"] for answer in answers], [200, 200, 200, 422, 422, 200, 200, 200, 200], answers)
        for answer, expected in zip(answers, (of_key, of_key, without_times)):
            self.assertEqual([item["item"] for item in answer["lists"][0]["items"]], [row["item_id"] for row in expected])
            np.testing.assert_allclose([item["score"] for item in answer["lists"][0]["items"]],
                                       [float(row["score"]) for row in expected], rtol=1e-5)
        self.assertIn("history_times", answers[3]["error"])
        self.assertIn("one for each", answers[3]["error"])
        for answer in (answers[6], answers[8]):
            for item in answer["lists"][0]["items"]:
                why = item["why"]
                self.assertAlmostEqual(sum(of["share"] for of in why["items"]) + why["other_items"] + why["no_item"], item["score"], delta=1e-4)
        self.assertNotIn(newest, [item["item"] for item in answers[8]["lists"][0]["items"]])
        # What was told last carries the list of p5 now.
        self.assertEqual(answers[8]["lists"][0]["items"][0]["why"]["items"][0]["item"], newest)
        # So it is where a file adds it without a time.
        since = self.folder / "since.csv"
        since.write_text(f"user_id,item_id\np5,{newest}\n")
        added = self.rows_of(run("recommend", f"--run_dir={run_dir}", "--domain=left", "--k=20", "--users=p5", f"--observed=left={since}").stdout)
        self.assertEqual([row["item_id"] for row in added], [item["item"] for item in answers[8]["lists"][0]["items"]])

    def test_it_is_off_where_it_does_not_pay_or_nothing_is_known_of_times(self):
        run_dir, told = self.trained("random", self.prepared("ratio:10:2:3"))
        version, half_life, _ = self.coefficients(run_dir)
        self.assertEqual((version, half_life), (1, {"left": 0, "right": 0}))
        self.assertIn("recency of left: off (0: ", told)
        without = self.prepared("ratio:10:2:3", with_times=False)
        _, told = self.trained("timeless", without)
        self.assertIn("recency   off: the data set has no times", told)
        _, told = self.trained("refused", without, "--recency=2", expect=2)
        self.assertIn("--recency needs to know what came when", told)


if __name__ == "__main__":
    PROGRAM, WITH_FAULTS = sys.argv[1:3]
    MPIEXEC = sys.argv[3].split()
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
