#!/usr/bin/env python3
"""Holds README.md, CONTRIBUTING.md and docs/ against the program: runs the commands in them, and looks up the rest.

    docs_test.py PROGRAM "MPIEXEC [FLAG ...]" [TEST ...]

A fenced block is run if it is `sh` or `console` (the lines after "$ "; the rest is what a run on larger data printed), or
`python`. `sh elsewhere` needs what a test has not (a network, Slurm, a GPU, a build): its commands are only looked up, as
are those in all other pages. The data are made up, under the names that the pages use, and a run of 100 steps or more
takes a twentieth of them. Looked up are: every command and flag
of micrec, every script of the repository and its flags, every target of the build, every link, and every path and flag in
`single quotes`.
"""

import gzip
import json
import os
import random
import re
import shlex
import shutil
import sys
import unittest
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, environment, folder_for, run  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ""
MPIEXEC = []
SECONDS = 120  # no command may take longer
RUN = ["README.md", "docs/data.md", "docs/recommending.md", "docs/serving.md", "docs/refreshing.md", "docs/comparing.md", "docs/cluster.md", "docs/never-losing-a-run.md",
       "docs/formats.md", "docs/speed.md", "docs/model.md", "docs/glossary.md", "CONTRIBUTING.md"]
FLAGS_OF_OTHERS = {  # of cmake, ctest, mpirun, the tests' own programs
    "all", "format", "help", "install", "kills", "mca", "prefix", "preset", "resume", "seed", "version"}
FOLDERS = ("src", "cluster", "partition", "checkpoints", "launcher", "tests", "cmake", "docs")
SUFFIX = r"(?:h|cpp|cu|py|sh|sbatch|md|svg|txt|cmake)"


@dataclass
class Block:
    page: str
    line: int
    kind: str
    text: str


def pages():
    listed = call("git", "-C", ROOT, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others",
                  "--exclude-standard", "*.md").stdout
    found = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return found or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if "build" not in path.parts[0]]


def blocks_of(page, contents):
    blocks = []
    opened = None
    for number, line in enumerate(contents.splitlines(), 1):
        if not line.lstrip().startswith("```"):
            if opened:
                opened.text += line + "\n"
        elif opened:
            blocks.append(opened)
            opened = None
        else:
            opened = Block(page, number, line.strip().strip("`").strip(), "")
    return blocks


def prose_of(contents):
    return re.sub(r"^\s*```.*?^\s*```", "", contents, flags=re.DOTALL | re.MULTILINE)


def commands_of(block):
    """The commands of a block, each with its place; lines that end with a backslash go on."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    commands = []
    for line in joined.splitlines():
        if block.kind == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        line = re.sub(r"\s#.*$", "", line).strip()
        if line and not line.startswith("#"):
            commands.append((f"{block.page}:{block.line}", line))
    return commands


class Known:
    """What there is: commands with their flags, scripts and targets."""

    def __init__(self, flags, cmake):
        self.flags = flags  # of each command
        self.cmake = cmake  # the text of every CMakeLists.txt

    @classmethod
    def of_program(cls):
        flags = {}
        listed = run(PROGRAM, "help").stdout
        for name in re.findall(r"^  (\w+)  ", listed, flags=re.MULTILINE):
            told = run(PROGRAM, "help", name).stdout
            flags[name] = {"help", "flagfile"}
            for negatable, flag in re.findall(r"^  --(\[no\])?(\w+)", told, flags=re.MULTILINE):
                flags[name] |= {flag, "no" + flag} if negatable else {flag}
        cmake = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("**/CMakeLists.txt")
                        if not path.relative_to(ROOT).parts[0].startswith("build"))
        return cls(flags, cmake)

    def faults_of_micrec(self, words):
        """Of the words after the program's name."""
        if not words or words[0] in ("help", "version", "--version", "--help"):
            return [f"there is no command {word}" for word in words[1:2]
                    if word not in self.flags and not word.startswith("--") and word != "X"]
        command = words[0].rstrip("`.,;:")
        if command.isupper() or command.startswith("<"):  # a placeholder
            return []
        if command not in self.flags:
            return [f"there is no command {command}"]
        return [f"micrec {command} has no flag --{name}" for name in flags_in(words[1:])
                if name not in self.flags[command]]

    def faults_of(self, line):
        faults = []
        try:
            words = shlex.split(line)
        except ValueError as error:
            return [f"'{line}': {error}"]
        for at, word in enumerate(words):
            end = next((n for n in range(at + 1, len(words)) if words[n] in ("&&", "||", "|", ";")), len(words))
            if Path(word).name == "micrec" and words[0] not in ("ninja", "cmake", "ctest", "man"):
                faults += self.faults_of_micrec(words[at + 1:end])
            elif re.fullmatch(rf"(?:\./|bundle/)?(?:{'|'.join(FOLDERS)})/[\w./-]+\.{SUFFIX}", word):
                path = ROOT / word.removeprefix("./").removeprefix("bundle/")
                if not path.exists():
                    faults.append(f"there is no file {word}")
                elif path.suffix == ".sbatch":
                    faults += self.faults_of_micrec(["train", *words[at + 1:end]])
                elif path.suffix in (".sh", ".py"):
                    contents = path.read_text(encoding="utf-8")
                    faults += [f"{word} does not know --{name}" for name in flags_in(words[at + 1:end], underscores=False)
                               if f"--{name}" not in contents and not (name == "all" and path.name == "run.sh")]
        if words[:1] == ["ninja"]:
            targets = [word for at, word in enumerate(words[1:], 1) if not word.startswith("-") and words[at - 1] not in
                       ("-C", "-j", "-t")]
            faults += [f"no CMakeLists.txt has a target {target}" for target in targets if not self.has_target(target)]
        return faults

    def has_target(self, name):
        return (re.search(rf"\b{re.escape(name)}\b", self.cmake) is not None or
                re.search(rf"NAME {re.escape(re.sub('^(test|benchmark)_', '', name))}\b", self.cmake) is not None)


def flags_in(words, underscores=True):
    """The names of the flags among words of a command line."""
    names = [match.group(1) for match in (re.match(r"--([\w-]+)", word) for word in words) if match]
    return [name.replace("-", "_") if underscores else name for name in names]


def look_up(page, contents, known):
    """What in a page is not so."""
    faults = []
    for block in blocks_of(page, contents):
        if block.kind.split()[:1] in (["sh"], ["console"]):
            faults += [f"{place}: {fault}" for place, line in commands_of(block) for fault in known.faults_of(line)]
    prose = prose_of(contents)
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
        if "://" not in link and not (ROOT / page).parent.joinpath(link).exists():
            faults.append(f"{page}: the link {link} leads nowhere")
    every_flag = set().union(*known.flags.values())
    for quoted in re.findall(r"`([^`\n]+)`", prose):
        path = re.fullmatch(rf"((?:{'|'.join(FOLDERS)})/[\w./-]*(?:\.{SUFFIX}|/))", quoted)
        if path and not (ROOT / path.group(1)).exists() and not (ROOT / page).parent.joinpath(path.group(1)).exists():
            faults.append(f"{page}: there is no {quoted}")
        if re.search(r"(?:^|/|\s)micrec [a-z]", quoted):
            faults += [f"{page}: {fault}" for fault in known.faults_of(quoted.replace("...", ""))]
        elif page in RUN and re.match(r"--\w", quoted):
            faults += [f"{page}: no command has a flag --{name}" for name in flags_in(quoted.split())
                       if name not in every_flag | FLAGS_OF_OTHERS]
    return faults


# --- The world that commands run in ---

def write_interactions(path, users, items, prefix, seed):
    draw = random.Random(seed)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("user_id,item_id,timestamp\n")
        for user in range(users):
            taste = draw.randrange(4)
            near = [item for item in range(items) if item % 4 == taste or draw.random() < 0.2]
            for item in draw.sample(near, 12):
                file.write(f"u{user},{prefix}{item},{1_400_000_000 + draw.randrange(50_000_000)}\n")


def write_features(path, items, prefix, seed):
    import h5py
    import numpy as np
    values = np.random.default_rng(seed).normal(size=(items, 12)).astype("float32")
    values[np.arange(items), np.arange(items) % 4] += 3
    with h5py.File(path, "w") as file:
        file["key"] = np.array([f"{prefix}{item}" for item in range(items)], dtype=object)
        file["value"] = values


def write_attributes(path, items, prefix):
    with open(path, "w", encoding="utf-8") as file:
        file.write("item_id,price,brand\n")
        for item in range(items):
            file.write(f"{prefix}{item},{item % 30},{('Acme', 'Zed', 'Other')[item % 3]}\n")


def write_reviews(path, users, items, seed):
    draw = random.Random(seed)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for user in range(users):
            for item in draw.choices(range(items), k=8):  # with repeats
                file.write(json.dumps({"reviewerID": f"A{user}", "asin": f"B{item}", "overall": 5.0,
                                       "unixReviewTime": 1_400_000_000 + draw.randrange(50_000_000)}) + "\n")


def write_lists(path, seed):
    draw = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for user in range(60):
            items = sorted(draw.sample(range(0, 40), 6) if "train" in path.name else draw.sample(range(40, 60), 2))
            file.write(" ".join(map(str, [user, *items])) + "\n")
        if "train" in path.name:  # every item is known
            file.write(" ".join(map(str, [60, *range(60)])) + "\n")


def shortened(command):
    """The command with a twentieth of its steps, where they are many."""
    def fewer(match):
        return f"{match.group(1)}{max(2, int(match.group(2)) // 20)}"

    if re.search(r"--max_steps=\d{3}", command):
        return re.sub(r"(--(?:max_steps|validate_every_steps)=)(\d+)", fewer, command)
    return command


class World:
    """A folder with the data that the pages name, and what they leave in it."""

    def __init__(self, folder):
        self.folder = folder
        self.done = set()
        (self.folder / "build").mkdir()
        (self.folder / "build/micrec").symlink_to(Path(PROGRAM).resolve())
        (self.folder / "bin").mkdir()
        mpirun = self.folder / "bin/mpirun"
        mpirun.write_text(f"#!/bin/sh\nexec {shlex.join(MPIEXEC)} \"$@\"\n", encoding="utf-8")
        mpirun.chmod(0o755)
        for seed, (domain, prefix) in enumerate({"food": "f", "kitchen": "k"}.items()):
            write_interactions(self.folder / f"{domain}.interactions.csv.gz", 150, 80, prefix, seed)
            write_features(self.folder / f"{domain}_text.h5", 75, prefix, seed)
        write_attributes(self.folder / "food.items.csv", 80, "f")
        write_reviews(self.folder / "All_Beauty_5.json.gz", 60, 30, 1)
        write_reviews(self.folder / "AMAZON_FASHION_5.jsonl.gz", 60, 30, 2)
        for name in ("train.txt", "test.txt"):
            write_lists(self.folder / name, 3)
        (self.folder / "me.csv").write_text("user_id,item_id\nme,f4\nme,f8\nme,f12\n", encoding="utf-8")
        (self.folder / "food_week.csv").write_text("user_id,item_id,timestamp\n" + "".join(
            f"u{user},{item},1470000000\n" for user in range(140, 160) for item in ("f1", f"f{user % 80}", "n1")),
            encoding="utf-8")
        write_features(self.folder / "new_food_text.h5", 4, "n", 5)
        self.run("build/micrec prepare --out=gowalla.h5 --split=files checkins=train.txt,test.txt")

    def run(self, command):
        """Runs a command once, however often the pages name it. Returns what was wrong, or nothing."""
        if command in self.done:
            return ""
        self.done.add(command)
        command = shortened(command)
        result = call("timeout", SECONDS, "bash", "-euo", "pipefail", "-c", command, cwd=self.folder,
                      env=environment(PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}"))
        if result.returncode == 0:
            return ""
        return f"'{command}' ended with {result.returncode}:\n{result.stdout[-1000:]}{result.stderr[-2000:]}"

    def run_python(self, text):
        result = call(sys.executable, "-c", text, cwd=self.folder, timeout=SECONDS)
        return "" if result.returncode == 0 and result.stdout else f"{text}\n{result.stderr}"


class Pages(unittest.TestCase):
    def test_what_they_name_is_there(self):
        known = Known.of_program()
        self.assertGreaterEqual(set(known.flags), {"prepare", "train", "evaluate", "recommend", "export"})
        faults = []
        for page in pages():
            faults += look_up(page, (ROOT / page).read_text(encoding="utf-8"), known)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_their_commands_run(self):
        world = World(folder_for(self, "docs"))
        faults = []
        run = 0
        for page in RUN:
            for block in blocks_of(page, (ROOT / page).read_text(encoding="utf-8")):
                place = f"{page}:{block.line}"
                if block.kind == "python":
                    faults += [f"{place}: {fault}" for fault in [world.run_python(block.text)] if fault]
                elif block.kind in ("sh", "console"):
                    found = [(at, world.run(command)) for at, command in commands_of(block)]
                    run += len(found)
                    faults += [f"{at}: {fault}" for at, fault in found if fault]
                elif block.kind not in ("", "sh elsewhere"):
                    faults.append(f"{place}: a block of an unknown kind, '{block.kind}'")
        self.assertGreater(run, 15)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))


class Version(unittest.TestCase):
    def test_all_name_the_same(self):
        cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
        version = re.search(r"project\(micrec VERSION (\S+)", cmake).group(1)
        citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        for field in ("cff-version: 1.2.0", "message: ", "title: ", "authors:", f'version: "{version}"'):
            self.assertRegex(citation, rf"(?m)^{re.escape(field)}")
        for paper in ("2510.21812", "2107.05247"):
            self.assertIn(paper, citation)
            self.assertIn(paper, (ROOT / "docs/model.md").read_text(encoding="utf-8"))
        self.assertRegex((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), rf"(?m)^## \[.*{re.escape(version)}")


class Itself(unittest.TestCase):
    """On made-up pages with one fault each."""

    KNOWN = Known({"train": {"lr", "resume", "noresume"}}, "micrec_add_test(\n  NAME model\n")

    def expect(self, contents, *faults):
        found = look_up("README.md", contents, self.KNOWN)
        self.assertEqual(len(found), len(faults), found)
        for got, part in zip(found, faults):
            self.assertIn(part, got)

    def test_a_page_without_faults_has_none(self):
        self.expect("[here](docs/data.md) `--lr`, `src/base/ids.h`\n```sh\nbuild/micrec train --lr=1 --noresume # why\n```\n")
        self.expect("```console\n$ mpirun -np 2 build/micrec train \\\n    --lr=1\nloss --nonsense\n```\n")

    def test_unknown_names_are_faults(self):
        self.expect("```sh elsewhere\nbuild/micrec trian\n```\n", "no command trian")
        self.expect("```sh\nmpirun -np 2 micrec train \\\n  --rl=1\n```\n", "no flag --rl")
        self.expect("```console\n$ micrec train --rl\n```\n", "no flag --rl")
        self.expect("```sh elsewhere\nsbatch --nodes=2 cluster/slurm/train.sbatch --rl=1\n```\n", "no flag --rl")
        self.expect("```sh elsewhere\nlauncher/no.sh\n```\n", "no file launcher/no.sh")
        self.expect("```sh elsewhere\nlauncher/bundle.sh --cuda_arhc=90\n```\n", "does not know --cuda_arhc")
        self.expect("```sh elsewhere\nninja -C build test_model test_modle\n```\n", "test_modle")
        self.expect("see [there](docs/nowhere.md)", "leads nowhere")
        self.expect("`src/nothing.h`", "there is no")
        self.expect("`--rl=3`", "flag --rl")
        self.expect("`micrec train --rl=3`", "no flag --rl")

    def test_a_command_that_fails_is_a_fault(self):
        if not PROGRAM:
            self.skipTest("no program")
        world = World(folder_for(self, "docs"))
        self.assertIn("ended with", world.run("build/micrec inspect nothing.h5"))
        self.assertNotEqual(world.run_python("import nothing"), "")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        PROGRAM, MPIEXEC = str(Path(sys.argv[1]).resolve()), sys.argv[2].split()
        MPIEXEC[0] = shutil.which(MPIEXEC[0]) or MPIEXEC[0]  # not the one that World puts before it
        sys.argv[1:] = sys.argv[3:]
    unittest.main(verbosity=2)
