#!/usr/bin/env python3
"""Every command with every file that it takes, and what can be wrong with a path.

    file_arguments_test.py PROGRAM [TEST ...]

The cases are made from the table COMMANDS: a command's arguments that are paths, and what is read or written there.
A command or an argument that the table lacks fails the test: the help is compared with it. What a case expects is the
exit code and the sentence that the user is told, with the path in it, once; no output that fails may leave anything
behind, and no input may change.

Permissions are taken from this process where it is root, by the capabilities that let root ignore them.
"""

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, folder_for, run  # noqa: E402

PROGRAM = ""
CLOSED = os.geteuid() != 0  # whether permissions bind this process
DROP = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
PRINTS = {"plan", "evaluate", "compare", "recommend", "similar", "inspect", "verify", "help", "version"}  # results on standard output


@dataclass
class Argument:
    """An argument that is a path."""
    flag: str  # as the help has it; "" for a plain argument
    role: str  # input, folder or output
    written: str = ""  # on the command line, with {} for the path
    good: str = ""  # a name in the world; "": left out while others are tried
    ending: str = ""  # that its names need
    expect: dict = field(default_factory=dict)  # case -> (exit code, words), where it differs from the role's

    def words(self, path):
        return [word.format(path) for word in (self.written or "--" + self.flag + "={}").split()]


def run_of(flag="run_dir", **expect):
    return Argument(flag, "folder", good="run", expect={
        "missing": (6, "holds no checkpoint"), "file": (4, "Not a directory"), "read-only": (0, ""), **expect})


def dataset_of_run(**expect):
    return Argument("dataset", "input", good="", ending=".h5", expect=expect or {"missing": (4, "is not there")})


FLAGFILE = Argument("flagfile", "input", ending=".txt")
OUT = Argument("out", "output", good="new")
DATASET = Argument("dataset", "input", good="dataset", ending=".h5")
FILTERS = [
    Argument("only_items", "input", good="", ending=".txt"), Argument("exclude_items", "input", good="", ending=".txt"),
    Argument("attributes", "input", "--attributes={} --where=price<9", "", ".csv")]
PARTITION = Argument("partition", "input", "--partition=file:{}", ending=".csv")
LATER = [Argument("items", "input", "--items=text:books={}", ending=".h5"),
         Argument("observed", "input", "--observed=books={}", ending=".csv")]
TRAIN = ["--dim=4", "--layers=1", "--max_steps=2", "--threads=1", "--validate_every=0"]
CHANGED = {"file": (4, "is not a folder"), "missing": (4, "is not there")}

# Command -> words that it needs beside, and its paths. What stands after the command's name tells two uses apart.
COMMANDS = {
    "synth": (["--users=20", "--items=10", "--interactions=100"], [OUT, FLAGFILE]),
    "prepare": ([], [
        OUT, Argument("", "input", "food={}", "interactions", ".csv"),
        Argument("features", "input", "--features=text:food={}", "features", ".h5"),
        Argument("features", "input", "--features=text:food={}", "", ".npy"),
        Argument("append", "input", ending=".h5"), FLAGFILE]),
    "plan": (["--ranks=2", "--dim=4"], [
        OUT, Argument("write_partition", "output", good=""), DATASET, PARTITION, FLAGFILE]),
    "train": (TRAIN, [
        DATASET, Argument("run_dir", "folder", good="new", expect={
            "missing": (0, ""), "file": (4, "Not a directory"), "read-only": (4, "Permission denied")}),
        Argument("init_from", "folder", expect={
            "missing": (6, "holds no checkpoint"), "file": (4, "Not a directory"), "read-only": (0, "")}),
        PARTITION, FLAGFILE]),
    "train --resume": (["--resume", "--max_steps=3"], [
        run_of(**{"read-only": (4, "Permission denied")}),
        dataset_of_run(missing=(4, "No such file or directory"))]),
    "evaluate": ([], [
        run_of(), dataset_of_run(), OUT, Argument("per_user", "output", good=""), *LATER, FLAGFILE]),
    "compare": ([], [
        Argument("", "input", "{} {}", "per_user", ".h5", {"folder": (6, "holds no checkpoint")}),
        Argument("json", "output", good="new"), FLAGFILE]),
    "compare FOLDER": ([], [
        Argument("", "folder", "{} {}", "run", expect={
            "missing": (4, "No such file"), "file": (3, "not an HDF5 file"), "read-only": (0, "")}), FLAGFILE]),
    "recommend": (["--domain=books", "--k=2"], [
        run_of(), dataset_of_run(), Argument("history", "input", "--history={}", "history", ".csv"), *FILTERS, OUT,
        *LATER, FLAGFILE]),
    "similar": (["--k=2"], [
        run_of(), dataset_of_run(), Argument("items", "input", good="items", ending=".txt", expect={
            case: (3, "there is no file of that name") for case in ("missing", "too long", "in a closed folder")}),
        *FILTERS, OUT, FLAGFILE]),
    "serve": (["--stdin"], [
        run_of(), dataset_of_run(),
        Argument("token_file", "input", "--nostdin --token_file={}"),
        Argument("titles", "input", "--titles=books={}", "titles", ".csv"),
        Argument("attributes", "input", "--attributes=books={}", "attributes", ".csv"), *LATER,
        Argument("log", "output", good="new", expect={
            "full": (4, "is no file"), "equal to the run's dataset": (3, "is no log of observed events")}), FLAGFILE]),
    "export": ([], [run_of(), dataset_of_run(), OUT, *LATER, FLAGFILE]),
    "inspect": ([], [Argument("", "input", "{}", "dataset", ".h5", {"folder": (3, "without a run")})]),
    "inspect FOLDER": ([], [Argument("", "folder", "{}", "run", expect={
        "missing": (4, "No such file"), "file": (3, "none of what inspect reads"), "read-only": (0, "")})]),
    "report": ([], [
        Argument("", "folder", "{}", "run", expect={
            "missing": (4, "is not there"), "file": (4, "Not a directory"), "read-only": (0, "")}),
        Argument("against", "folder", good="", expect={
            "missing": (4, "is not there"), "file": (4, "Not a directory"), "read-only": (0, "")}),
        Argument("comparison", "input", good="", ending=".json"), OUT, FLAGFILE]),
    "verify": ([], [Argument("", "folder", "{}", "run", expect={**CHANGED, "read-only": (0, "")}), OUT]),
}


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""


class World:
    """Files that are as they should be, to be damaged by nobody."""

    def __init__(self, folder):
        self.folder = folder
        self.dataset = self.folder / "dataset.h5"
        self.run = self.folder / "run"
        self.interactions = self.folder / "interactions.csv"
        self.history = self.folder / "history.csv"
        self.features = self.folder / "features.h5"
        self.items = self.folder / "items.txt"
        self.serial = itertools.count()
        items = [f"i{n}" for n in range(12)]
        lines = [f"u{n % 10},{items[(n * 7 + n // 10) % 12]}\n" for n in range(80)]
        self.interactions.write_text("user_id,item_id\n" + "".join(lines))
        with h5py.File(self.features, "w") as file:
            file["key"] = [item.encode() for item in items]
            file["value"] = np.eye(12, 3, dtype=np.float32)
        np.save(self.folder / "features.npy", np.eye(12, 3, dtype=np.float32))
        (self.folder / "features.keys.txt").write_text("".join(item + "\n" for item in items))
        self.items.write_text("i1\ni2\n")
        (self.folder / "attributes.csv").write_text("item_id,price\ni1,3\ni2,12\n")
        self.token = self.folder / "token"
        self.token.write_text("a-secret-of-some-length\n")
        self.titles = self.folder / "titles.csv"
        self.titles.write_text("item_id,title\ni0,A title\n")
        (self.folder / "flagfile.txt").write_text("# no flags\n")
        run(PROGRAM, "prepare", f"--out={self.dataset}", f"books={self.interactions}")
        run(PROGRAM, "plan", f"--dataset={self.dataset}", "--ranks=2", "--grid=2x1", "--dim=4",
                  f"--write_partition={self.folder / 'partition.csv'}")
        run(PROGRAM, "train", f"--dataset={self.dataset}", f"--run_dir={self.run}", *TRAIN)
        self.comparison = self.folder / "comparison.json"
        run(PROGRAM, "compare", self.run, self.run, f"--json={self.comparison}")
        self.per_user = self.folder / "per_user.h5"
        run(PROGRAM, "evaluate", f"--run_dir={self.run}", f"--per_user={self.per_user}")
        with h5py.File(self.dataset) as file:
            self.history.write_text(f"user_id,item_id\nsomebody,{file['domains/books/items/key'][0].decode()}\n")

    @staticmethod
    def call(words, stdout=subprocess.PIPE, closed=False):
        under = DROP if closed and not CLOSED else []
        return call(*under, PROGRAM, *words, stdout=stdout, timeout=120)

    def new(self):
        """A folder of a case alone."""
        folder = self.folder / f"case{next(self.serial)}"
        folder.mkdir()
        return folder

    def whole(self, argument):
        """What the argument is where all is well, as a path that is there (no output)."""
        if argument.flag == "flagfile":
            return self.folder / "flagfile.txt"
        if argument.flag == "partition":
            return self.folder / "partition.csv"
        if argument.flag in ("dataset", "append"):
            return self.dataset
        if argument.flag == "init_from":
            return self.run
        if argument.flag == "items" and argument.ending == ".h5":
            return self.features
        if argument.flag == "observed":
            return self.history
        if argument.flag == "against":
            return self.run
        if argument.flag == "token_file":
            return self.token
        if argument.flag == "comparison":
            return self.comparison
        if argument.ending == ".npy":
            return self.folder / "features.npy"
        if argument.flag in ("only_items", "exclude_items"):
            return self.items
        if argument.flag == "attributes":
            return self.folder / "attributes.csv"
        return getattr(self, argument.good)

    def copy(self, argument, place):
        """A copy of its own of what the argument needs, with what stands beside it."""
        whole = self.whole(argument)
        if whole.is_dir():
            shutil.copytree(whole, place)
        else:
            shutil.copy(whole, place)
        if argument.ending == ".npy":
            shutil.copy(self.folder / "features.keys.txt", place.with_suffix("").with_suffix(".keys.txt"))
        return place


@dataclass
class Case:
    command: str
    argument: Argument
    name: str
    path: Path
    code: int
    say: str
    closed: bool = False  # permissions bind
    others: dict = field(default_factory=dict)  # id of an argument -> path that it has here
    unchanged: list = field(default_factory=list)  # files
    undo: list = field(default_factory=list)  # folders whose permissions come back

    def __str__(self):
        return f"micrec {self.command} --{self.argument.flag} {self.name}"


class FileArgumentsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World(folder_for(cls, "arguments"))
        cls.can_close = CLOSED or call(*DROP, "true").returncode == 0

    # --- The table is whole ---

    def test_the_table_has_every_command_and_every_path_of_it(self):
        commands = re.findall(r"^  ([a-z]+) {2,}", self.world.call(["help"]).stdout, re.M)
        self.assertGreater(len(commands), 5)
        self.assertEqual({name.split()[0] for name in COMMANDS}, set(commands))
        for command in commands:
            help_text = self.world.call(["help", command]).stdout
            flags = set()
            for entry in re.split(r"^  --(?:\[no\])?", help_text, flags=re.M)[1:]:
                if re.search(r"\b(FILE|FOLDER|PATH)\b", entry.split("\nA value is written")[0]):
                    flags.add(re.match(r"[a-z0-9_]+", entry)[0])
            plain = re.search(r"^Usage .*", help_text, re.M)[0]
            plain = re.sub(r"\[?--\S+", "", plain)
            if re.search(r"FILE|DIR|CHECKPOINT", plain):
                flags.add("")
            uses = [argument.flag for name, (_, paths) in COMMANDS.items() if name.split()[0] == command
                    for argument in paths]
            self.assertEqual(set(uses) - {"flagfile"}, flags, command)

    # --- The cases ---

    def input_cases(self, command, argument):
        new = self.world.new
        folder = new()
        name = "x" + argument.ending
        (folder / name).mkdir()
        yield Case(command, argument, "folder", folder / name, 4, "Is a directory")
        yield Case(command, argument, "missing", new() / name, 4, "No such file or directory")
        yield Case(command, argument, "too long", new() / ("n" * 300 + argument.ending), 4, "File name too long")
        closed = self.world.copy(argument, new() / name)
        closed.chmod(0)
        yield Case(command, argument, "no permission", closed, 4, "Permission denied", closed=True)
        folder = new()
        inside = self.world.copy(argument, folder / name)
        folder.chmod(0)
        yield Case(command, argument, "in a closed folder", inside, 4, "Permission denied", closed=True, undo=[folder])

    def folder_cases(self, command, argument):
        new = self.world.new
        yield Case(command, argument, "missing", new() / "nowhere", 4, "")
        yield Case(command, argument, "too long", new() / ("n" * 300), 4, "File name too long")
        file = new() / "file"
        file.write_text("no folder")
        yield Case(command, argument, "file", file, 4, "", unchanged=[file])
        for name, mode in (("no permission", 0), ("read-only", 0o555)):
            folder = new()
            place = folder / "run"
            if argument.good == "new":
                place.mkdir()
            else:
                self.world.copy(argument, place)
            place.chmod(mode)
            yield Case(command, argument, name, place, 4, "Permission denied", closed=True, undo=[place])

    def output_cases(self, command, argument, arguments):
        new = self.world.new
        folder = new()
        (folder / "x").mkdir()
        yield Case(command, argument, "folder", folder / "x", 4, "Is a directory")
        yield Case(command, argument, "in no folder", new() / "nowhere" / "x", 4, "there is no folder")
        yield Case(command, argument, "too long", new() / ("n" * 300), 4, "File name too long")
        yield Case(command, argument, "a little too long", new() / ("n" * 250), 4, "File name too long")
        yield Case(command, argument, "full", Path("/dev/full"), 4, "No space left on device")
        folder = new()
        folder.chmod(0o555)
        yield Case(command, argument, "no permission", folder / "x", 4, "Permission denied", closed=True, undo=[folder])
        kept = new() / "kept"
        kept.write_text("not to be replaced")
        kept.chmod(0o444)
        yield Case(command, argument, "read-only target", kept, 4, "Permission denied", closed=True, unchanged=[kept])
        run = new() / "run"
        shutil.copytree(self.world.run, run)
        for of_run in (run / "config.txt", max((run / "checkpoints").glob("step-*")) / "manifest.json"):
            yield Case(command, argument, f"{of_run.name} of a run", of_run, 2, "same file", unchanged=[of_run])
        for other in arguments:
            if other.role == "output":
                continue
            ways = ("symbolic link", "hard link", "other spelling")
            for how in ("itself", ways[next(self.world.serial) % len(ways)]):
                folder = new()
                there = self.world.copy(other, folder / ("x" + other.ending))
                inputs = [there] if other.role == "input" else [
                    there / "metrics.jsonl", max((there / "checkpoints").glob("step-*")) / "manifest.json"]
                if other.ending == ".npy":
                    inputs.append(folder / "x.keys.txt")
                for read in inputs if how == "itself" else inputs[-1:]:
                    path = folder / "link"
                    if how == "itself":
                        path = read
                    elif how == "symbolic link":
                        path.symlink_to(read)
                    elif how == "hard link":
                        path.hardlink_to(read)
                    else:
                        path = read.parent / ".." / read.parent.name / read.name
                    yield Case(command, argument, f"equal to --{other.flag} by {how}", path, 2, "same file",
                               others={id(other): there}, unchanged=[read])
        if any(other.flag == "run_dir" for other in arguments):  # which names its dataset
            link = new() / "link"
            link.symlink_to(self.world.dataset)
            yield Case(command, argument, "equal to the run's dataset", link, 2, "same file",
                       unchanged=[self.world.dataset])

    def cases(self):
        for command, (_, arguments) in COMMANDS.items():
            for argument in arguments:
                if argument is FLAGFILE and command not in ("synth", "train"):
                    continue  # read before a command is looked at
                if argument.role == "input":
                    found = self.input_cases(command, argument)
                elif argument.role == "folder":
                    found = self.folder_cases(command, argument)
                else:
                    found = self.output_cases(command, argument, arguments)
                for case in found:
                    case.code, case.say = argument.expect.get(case.name, (case.code, case.say))
                    yield case

    def words_of(self, case):
        more, arguments = COMMANDS[case.command]
        words = [case.command.split()[0], *more]
        given = set()
        # The argument in question comes last, as the last of a repeated flag holds.
        for argument in sorted(arguments, key=lambda other: other is case.argument):
            if argument is case.argument:
                path = case.path
            elif id(argument) in case.others:
                path = case.others[id(argument)]
            elif argument.good == "":
                continue
            else:
                path = self.world.new() / "new" if argument.good == "new" else self.world.whole(argument)
            if argument.flag in given and argument.flag:
                words = [word for word in words if not word.startswith(f"--{argument.flag}=")]
            given.add(argument.flag)
            words += argument.words(path)
        return words

    def faults_of(self, case):
        """What is not as it should be, in words."""
        words = self.words_of(case)
        before = [digest(path) for path in case.unchanged]
        try:
            result = self.world.call(words, closed=case.closed)
        finally:
            for folder in case.undo:
                folder.chmod(0o755)
        faults = []
        name = case.command.split()[0]
        if result.returncode != case.code:
            faults.append(f"exit code {result.returncode}, expected {case.code}")
        if case.say not in result.stderr:
            faults.append(f"not said: {case.say}")
        said = [line for line in result.stderr.splitlines() if line.startswith("micrec")]
        if case.code != 0 and (len(said) != 1 or not said[0].startswith(f"micrec {name}: ")):
            if not (case.argument.flag == "flagfile" and len(said) == 1):
                faults.append("not one sentence")
        if case.code != 0 and said and case.path.name[:16] not in said[0]:
            faults.append("the path is not named")
        if "filesystem error" in result.stderr or "unexpected" in result.stderr:
            faults.append("a sentence of the library's")
        if [digest(path) for path in case.unchanged] != before:
            faults.append("A FILE WAS CHANGED")
        left = [path.name for path in case.path.parent.glob("*unfinished*")] if case.path.parent.is_dir() else []
        if left:
            faults.append(f"left behind: {left}")
        return [f"{case}: {fault}\n  {' '.join(map(str, words))}\n  {result.stderr.strip()[-600:]}" for fault in faults]

    def test_every_path_of_every_command(self):
        cases = list(self.cases())
        tried = [case for case in cases if self.can_close or not case.closed]
        with ThreadPoolExecutor(2) as pool:
            faults = list(itertools.chain.from_iterable(pool.map(self.faults_of, tried)))
        print(f"{len(tried)} cases tried, {len(cases) - len(tried)} skipped, as permissions do not bind this process",
              flush=True)
        self.assertGreater(len(cases), 100)
        self.assertFalse(faults, f"{len(faults)} faults\n" + "\n".join(faults))

    # --- The last write ---

    def test_every_command_says_that_standard_output_is_full(self):
        calls = []
        for name, (_, arguments) in COMMANDS.items():
            own = {id(one): self.world.copy(one, self.world.new() / "run") for one in arguments if one.good == "run"}
            calls.append((name.split()[0], self.words_of(Case(name, None, "full", Path(), 4, "", others=own))))
        calls += [("help", ["help"]), ("help", ["help", "train"]), ("version", ["version"])]
        self.assertTrue(PRINTS <= {name for name, _ in calls})

        def call(one):
            name, words = one
            if name in ("recommend", "similar"):
                words = [word for word in words if not word.startswith("--out=")]
            with open("/dev/full", "w", encoding="utf-8") as full:
                return name, words, self.world.call(words, stdout=full)

        with ThreadPoolExecutor(2) as pool:
            for name, words, result in pool.map(call, calls):
                with self.subTest(command=name):
                    expected = 4 if name in PRINTS else 0
                    self.assertEqual(result.returncode, expected, f"{words}\n{result.stderr}")
                    if expected:
                        self.assertIn("cannot write standard output: No space left on device", result.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv[1]
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
