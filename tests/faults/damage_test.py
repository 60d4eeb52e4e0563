#!/usr/bin/env python3
"""Damages every file of a run, in every kind of region, and goes on with the run or starts it.

    damage_test.py PROGRAM "MPIEXEC [FLAG ...]" [--all] [--seed=N] [TEST ...]

A file is cut off (to nothing, in the middle, by a byte) or one of its bits is turned: at its start, middle and end, and
in HDF5 files in the superblock, in headers of objects, in each kind of table and heap of the structure, and in the
elements of datasets: in some of each kind, chosen by a fixed seed, or with --all in every one, by a new seed. Whatever is
damaged, the program says so by the name of the file and its exit code, or nothing that matters was hit: then the result
is that of the whole file, to the byte. A run with a damaged checkpoint says which, steps over it to an older one, and
comes to the right end. Of a feature file without checksums only an end that is documented is asked: nobody can tell a
turned bit of a key from another key.
"""

import argparse
import contextlib
import json
import random
import re
import shutil
import sys
import types
import unittest
import zlib

import h5py
import numpy as np

from runs import TRAIN, Runs
from programs import add_seed_options, load

STEPS = 8
OPTIONS = None
OF_A_KIND = 2  # places of each kind of region, without --all
STRUCTURES = rb"TREE|SNOD|HEAP|GCOL|OHDR|OCHK|BTHD|BTLF|FRHP|FADB|EADB"


def regions_of_hdf5(path):
    """[(name, first byte, bytes)] of what an HDF5 file is made of."""
    content = path.read_bytes()
    regions = [("superblock", 0, 96)]
    for number, match in enumerate(re.finditer(STRUCTURES, content)):
        regions.append((f"{match.group().decode()} {number}", match.start(), 64))

    def add(name, thing):
        info = h5py.h5o.get_info(thing.id)
        regions.append((f"header of {name}", info.addr, 64))
        if not isinstance(thing, h5py.Dataset) or thing.size == 0:
            return
        data = thing.id
        if data.get_offset() is not None:
            regions.append((f"elements of {name}", data.get_offset(), data.get_storage_size()))
        elif data.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
            for chunk in range(data.get_num_chunks()):
                stored = data.get_chunk_info(chunk)
                regions.append((f"chunk {chunk} of {name}", stored.byte_offset, stored.size))

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)
    return [(name, begin, min(size, len(content) - begin)) for name, begin, size in regions]


def some_of_each_kind(regions, numbers):
    """Regions of HDF5, of each kind as many as are enough: "header", "elements", "chunk", "TREE", ..."""
    kinds = {}
    for region in regions:
        kinds.setdefault(region[0].split()[0], []).append(region)
    return [region for kind in kinds.values() for region in numbers.sample(kind, min(OF_A_KIND, len(kind)))]


def damages_of(path, seed):
    """[(what, content)]: the file, damaged in one way each."""
    whole = path.read_bytes()
    size = len(whole)
    cuts = {"cut off to nothing": 0, "cut off at the start": min(20, size - 1), "cut off in the middle": size // 2,
            "cut off by a byte": size - 1}
    damages = [(what, whole[:end]) for what, end in cuts.items()]
    regions = [("start", 0, 1), ("middle", size // 2, 1), ("end", size - 1, 1)]
    numbers = random.Random(seed)
    if path.suffix == ".h5":
        there = regions_of_hdf5(path)
        regions += there if OPTIONS.all else some_of_each_kind(there, numbers)
    for name, begin, bytes_there in regions:
        at = begin + numbers.randrange(bytes_there)
        bit = numbers.randrange(8)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        damages.append((f"bit {bit} of byte {at} turned ({name})", bytes(damaged)))
    return damages


def encode_features():
    """The module launcher/encode_features.py, with a bar that shows nothing where tqdm is not installed."""
    module = load("launcher/encode_features.py")
    bar = types.SimpleNamespace(update=lambda count: None)
    sys.modules["tqdm"] = types.SimpleNamespace(tqdm=lambda **_: contextlib.nullcontext(bar))
    return module


class DamageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.runs = Runs(OPTIONS.program, OPTIONS.mpiexec)
        cls.runs.__enter__()
        cls.addClassCleanup(cls.runs.__exit__)
        # Three checkpoints, the best in the middle of the run; the resumed run saves no more of its own.
        cls.begun = cls.runs.folder / "begun"
        cls.words = ["--save_every_steps=2", "--keep_last=3"]
        cls.runs.run(*cls.runs.train_words(cls.begun, "--max_steps=6", "--validate_every_steps=3", *cls.words), ranks=2)
        whole = cls.runs.folder / "whole"
        shutil.copytree(cls.begun, whole)
        cls.go_on(whole)
        cls.expected = cls.runs.digest(whole)
        cls.seed = OPTIONS.seed

    @classmethod
    def go_on(cls, run_dir, expect=(0,), ranks=2):
        return cls.runs.run("train", f"--run_dir={run_dir}", "--resume", f"--max_steps={STEPS}", ranks=ranks, expect=expect)

    def damaged_copies(self, path):
        """For each way to damage this file of the run: what was done, a run folder in which it is so, and its path there."""
        for what, content in damages_of(path, self.seed):
            run_dir = self.runs.folder / "damaged"
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(self.begun, run_dir)
            there = run_dir / path.relative_to(self.begun)
            there.write_bytes(content)
            with self.subTest(file=str(path.relative_to(self.begun)), what=what):
                yield run_dir, there

    # --- Checkpoints ---

    def test_a_run_steps_over_a_damaged_checkpoint(self):
        newest = self.runs.checkpoints(self.begun)[-1]
        names = sorted(path.name for path in newest.iterdir())
        self.assertIn("manifest.json", names)
        self.assertIn("shard-00001.h5", names)
        count = 0
        for name in names:
            for run_dir, there in self.damaged_copies(newest / name):
                # A manifest without the end of its last line says all it said.
                is_whole = name == "manifest.json" and there.read_bytes().strip() == (newest / name).read_bytes().strip()
                result = self.go_on(run_dir)
                if not is_whole:
                    self.assertIn(name, result.stderr)
                    self.assertIn(newest.name, result.stderr)
                self.assertEqual(self.runs.digest(run_dir), self.expected, result.stderr)
                count += 1
        print(f"{count} damaged newest checkpoints stepped over", flush=True)

    def test_a_missing_file_is_stepped_over(self):
        newest = self.runs.checkpoints(self.begun)[-1]
        for name in ("shard-00000.h5", "manifest.json"):
            run_dir = self.runs.folder / f"missing-{name}"
            shutil.copytree(self.begun, run_dir)
            (run_dir / newest.relative_to(self.begun) / name).unlink()
            result = self.go_on(run_dir)
            self.assertIn("stepped over", result.stderr)
            self.assertIn(name, result.stderr)
            self.assertEqual(self.runs.digest(run_dir), self.expected)

    def test_a_run_of_damaged_checkpoints_only_is_refused(self):
        run_dir = self.runs.folder / "all_damaged"
        shutil.copytree(self.begun, run_dir)
        there = self.runs.checkpoints(run_dir)
        for checkpoint in there:
            shard = checkpoint / "shard-00001.h5"
            shard.write_bytes(shard.read_bytes()[:-1])
        result = self.go_on(run_dir, expect=(6,))
        for checkpoint in there:
            self.assertIn(checkpoint.name, result.stderr)
        self.assertEqual([path.name for path in self.runs.checkpoints(run_dir)], [path.name for path in there])

    def test_a_damaged_name_of_the_best_is_refused(self):
        best = self.begun / "checkpoints/best.json"
        right = self.runs.run("evaluate", f"--run_dir={self.begun}").stdout
        for run_dir, there in self.damaged_copies(best):
            result = self.runs.run("evaluate", f"--run_dir={run_dir}", expect=(0, 6))
            if result.returncode == 6:
                self.assertIn(there.parent.name, result.stderr)
                self.assertRegex(result.stderr, r"best\.json|step-")
            else:
                named = json.loads(there.read_text())["checkpoint"]
                self.assertEqual(json.loads(result.stdout)["checkpoint"], named)
                self.assertEqual(result.stdout, right)

    # --- Inputs ---

    def check_input(self, what, result, name, right):
        """Refused by its name, or as if it were whole."""
        print(f"{name}: {what}: exit code {result.returncode}", flush=True)
        if result.returncode != 0:
            self.assertIn(result.returncode, (3, 4), result.stderr)
            self.assertIn(name, result.stderr)
            self.assertEqual(result.stdout, "")
            return 1
        self.assertTrue(right(), f"another result, and no word of {name}\n{result.stderr}")
        return 0

    def test_a_damaged_dataset_is_refused(self):
        words = ["--max_steps=2", *TRAIN]
        whole = self.runs.folder / "from_whole"
        self.runs.run("train", f"--dataset={self.runs.dataset}", f"--run_dir={whole}", *words)
        expected = self.runs.digest(whole)
        damaged = self.runs.folder / "damaged.h5"
        refused = count = 0
        for what, content in damages_of(self.runs.dataset, self.seed):
            with self.subTest(what=what):
                damaged.write_bytes(content)
                run_dir = self.runs.folder / "from_damaged"
                shutil.rmtree(run_dir, ignore_errors=True)
                result = self.runs.run("train", f"--dataset={damaged}", f"--run_dir={run_dir}", *words,
                                       expect=range(-64, 256))
                refused += self.check_input(what, result, "damaged.h5", lambda: self.runs.digest(run_dir) == expected)
                count += 1
        print(f"{refused} of {count} damaged datasets refused; the others gave the right result", flush=True)

    def write_feature_files(self, keys, values):
        """{name: whether all of it is under checksums}"""
        folder = self.runs.folder
        model = types.SimpleNamespace(encode=lambda rows: np.stack(rows))
        encode_features().encode_to_file(keys, list(values), model, 8, folder / "encoded.h5", {"model": "made up"})
        for name in ("checked.h5", "foreign.h5"):
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("key", data=np.array(keys, dtype=h5py.string_dtype()))
                file.create_dataset("value", data=values)
                if name == "checked.h5":
                    file["key"].attrs["crc32"] = zlib.crc32(b"".join(key.encode() + b"\0" for key in keys))
                    file["value"].attrs["crc32"] = zlib.crc32(values)
        return {"encoded.h5": True, "checked.h5": True, "foreign.h5": False}

    def test_a_damaged_feature_file_is_refused(self):
        folder = self.runs.folder
        keys = [f"i{item}" for item in range(20)]
        (folder / "food.csv").write_text("user_id,item_id\n" + "".join(f"u{n % 7},{key}\n" for n, key in enumerate(keys * 3)))
        files = self.write_feature_files(keys, np.arange(60, dtype="f4").reshape(20, 3))

        def prepare(name, out, expect=(0,)):
            return self.runs.run("prepare", f"--out={out}", f"--features=text:food={name}", "food=food.csv",
                                 cwd=folder, expect=expect)

        def fingerprint(name):
            with h5py.File(folder / name) as file:
                return file.attrs["fingerprint"]

        for name, is_checked in files.items():
            prepare(name, "whole.h5")
            expected = fingerprint("whole.h5")
            refused = count = 0
            for what, content in damages_of(folder / name, self.seed):
                with self.subTest(file=name, what=what):
                    (folder / "broken.h5").write_bytes(content)
                    (folder / "out.h5").unlink(missing_ok=True)
                    result = prepare("broken.h5", "out.h5", expect=range(-64, 256))
                    refused += self.check_input(f"{name}, {what}", result, "broken.h5",
                                                lambda: not is_checked or fingerprint("out.h5") == expected)
                    count += 1
            others = "gave the right result" if is_checked else "were taken, as nothing tells that they are not meant"
            print(f"{refused} of {count} damaged copies of {name} refused; the others {others}", flush=True)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("mpiexec")
    add_seed_options(parser)
    OPTIONS, rest = parser.parse_known_args()
    print(f"--seed={OPTIONS.seed}", flush=True)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
