#!/usr/bin/env python3
"""Installs the built program into a folder and uses what lies there: the program, its man page, its completions.

    install_test.py BUILD
"""

import functools
import os
import re
import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, folder_for, run  # noqa: E402

BUILD = ""


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for(cls, "install")
        run("cmake", "--install", BUILD, "--prefix", cls.folder)
        cls.program = cls.folder / "bin/micrec"
        cls.man = cls.folder / "share/man/man1/micrec.1"
        cls.bash = cls.folder / "share/bash-completion/completions/micrec"
        cls.zsh = cls.folder / "share/zsh/site-functions/_micrec"

    @functools.lru_cache
    def flags(self):
        """(command, flag) of every line of the help."""
        listed = run(self.program, "help").stdout
        pairs = []
        for name in re.findall(r"^  (\w+)  ", listed, flags=re.MULTILINE):
            told = run(self.program, "help", name).stdout
            pairs += [(name, flag) for flag in re.findall(r"^  --(?:\[no\])?(\w+)", told, flags=re.MULTILINE)]
        self.assertGreater(len(pairs), 100)
        return pairs

    def completed(self, *words):
        """What bash offers for the last of these words."""
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _micrec; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        return run("bash", "-uc", script, "bash", self.bash, "micrec", *words, cwd=self.folder).stdout.split()

    def test_the_program_runs_and_tells_its_version(self):
        environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        result = run(self.program, "--version", env=environment)
        for part in ("micrec", "compiler", "LibTorch", "MPI", "HDF5", "CUDA", "instruction set"):
            self.assertRegex(result.stdout, rf"(?m)^ *{part} +\S")

    def test_the_man_page_has_every_command_and_flag(self):
        page = self.man.read_text(encoding="utf-8")
        self.assertTrue(page.startswith(".TH MICREC 1 "), page[:80])
        sections = dict(re.findall(r'^\.SH "MICREC (\w+)"\n(.*?)(?=^\.SH )', page, flags=re.MULTILINE | re.DOTALL))
        for command, flag in self.flags():
            self.assertRegex(sections[command], rf"(?m)^\.TP\n\\fB\\-\\-(?:\[no\])?{flag}(?:=|\\fR)", command)
        for line in page.splitlines():
            if line.startswith((".", "'")):
                self.assertRegex(line, r"^\.(?:TH|SH|SS|TP|PP|nf|fi)\b")
        for code in (0, 2, 3, 4, 5, 6, 7, 75):
            self.assertIn(f"\\fB{code}\\fR", page)

    def test_the_man_page_is_without_faults(self):
        if shutil.which("mandoc"):
            result = call("mandoc", "-T", "lint", "-W", "warning", self.man)
        elif shutil.which("groff"):
            result = call("groff", "-man", "-ww", "-T", "utf8", self.man)
            self.assertIn("--contrastive_weight", re.sub("\x1b\\[[0-9;]*m|.\b", "", result.stdout))
        else:
            self.skipTest("neither mandoc nor groff is installed")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_bash_completes_commands_flags_and_values(self):
        self.assertEqual(self.completed("tr"), ["train"])
        self.assertIn("prepare", self.completed(""))
        self.assertEqual(self.completed("help", "ev"), ["evaluate"])
        offered = {command: self.completed(command, "--") for command in dict(self.flags())}
        for command, flag in self.flags():
            self.assertTrue({f"--{flag}", f"--{flag}="} & set(offered[command]), f"{command} --{flag}")
        self.assertIn("--noresume", self.completed("train", "--no"))
        self.assertNotIn("--resume", self.completed("evaluate", "--re"))
        self.assertEqual(self.completed("train", "--model", "=", "in"), ["inmo_mf", "inmo"])
        self.assertIn("micrec", self.completed("train", "--model", "="))
        self.assertEqual(self.completed("train", "--dataset", "=", "sh"), ["share"])
        self.assertEqual(self.completed("inspect", "sh"), ["share"])

    def test_zsh_knows_commands_flags_and_values(self):
        text = self.zsh.read_text(encoding="utf-8")
        self.assertTrue(text.startswith("#compdef micrec\n"))
        cases = dict(re.findall(r"^    (\w+)\)\n(.*?);;$", text, flags=re.MULTILINE | re.DOTALL))
        for command, flag in self.flags():
            self.assertRegex(cases[command], rf"'--{flag}=?\[", command)
        self.assertIn(":value:(mf lightgcn inmo_mf inmo micrec ials popularity item_regression)", cases["train"])
        # The quoting of both shells is the same here, so what bash cannot parse zsh cannot either.
        self.assertEqual(run("zsh" if shutil.which("zsh") else "bash", "-n", self.zsh).stderr, "")

    def test_another_format_is_refused(self):
        self.assertIn("expected one of man, bash, zsh", run(self.program, "help", "--format=html", expect=2).stderr)


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main(verbosity=2)
