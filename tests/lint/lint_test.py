#!/usr/bin/env python3
"""Each rule of lint.py finds the fault it is there for, and nothing in a good tree."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

LINT = Path(__file__).with_name("lint.py")


def lint(rule, tree):
    """Exit code and output of a rule on a tree of {path: contents}."""
    with tempfile.TemporaryDirectory() as folder:
        for path, contents in tree.items():
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(contents)
            if path.endswith(".sh"):
                file.chmod(0o755)
        run = subprocess.run([sys.executable, LINT, rule, folder], capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr


class Lint(unittest.TestCase):
    def expect_fault(self, rule, tree, message):
        code, output = lint(rule, tree)
        self.assertEqual(code, 1, output)
        self.assertIn(message, output)

    def test_a_good_tree_has_no_faults(self):
        tree = {
            "src/train/loop.cpp": '#include "model/model.h"\n#include <ATen/ATen.h>\n',
            "src/model/model.h": '#pragma once\n#include "graph/pattern.h"\n#include "cluster/communicator.h"\n',
            "src/io/hdf5.cpp": "#include <hdf5.h>\n",
            "cluster/mpi.cpp": "#include <mpi.h>\n",
            "src/serve/lists.cpp": '#include "evaluate/rank.h"\n#include "train/loop.h"\n',
            "src/command_line/b.cpp": "#include <gflags/gflags.h>\n",
            "launcher/main.cpp": '#include "serve/lists.h"\n',
            "tests/launcher/a_test.cpp": "#include <gflags/gflags.h>\n",
        }
        for rule in ("includes", "sources"):
            code, output = lint(rule, tree)
            self.assertEqual(code, 0, output)

    def test_arrows_point_down(self):
        self.expect_fault("includes", {"src/base/a.h": '#pragma once\n#include "io/csv.h"\n'},
                          "src/base/a.h:2: base (layer 0) includes io/csv.h (layer 1)")
        self.expect_fault("includes", {"src/train/a.cpp": '#include "evaluate/rank.h"\n'}, "arrows point down")
        self.expect_fault("includes", {"src/serve/a.cpp": '#include "launcher/flags.h"\n'}, "arrows point down")
        self.expect_fault("includes", {"partition/a.cpp": '#  include "cluster/job.h"\n'}, "arrows point down")

    def test_libraries_have_one_home(self):
        for path, header in (("src/train/a.cpp", "gflags/gflags.h"), ("src/serve/a.cpp", "gflags/gflags.h"),
                             ("src/serve/a.cpp", "cluster/job.h"), ("src/data/a.cpp", "hdf5.h"),
                             ("checkpoints/a.cpp", "hdf5.h"), ("src/model/a.cpp", "mpi.h"),
                             ("src/model/a.cpp", "cluster/job.h"), ("src/io/a.cpp", "ATen/ATen.h"),
                             ("partition/a.cpp", "torch/torch.h")):
            self.expect_fault("includes", {path: f"#include <{header}>\n"}, f"{path}:1")

    def test_who_computes_sees_the_communicator_alone(self):
        folders = ("src/model", "src/train", "src/evaluate", "src/graph", "src/data", "checkpoints")
        for folder in folders:
            for header in ("cluster/job.h", "cluster/ledger.h", "cluster/health/watchdog.h"):
                self.expect_fault("includes", {f"{folder}/a.cpp": f'#include "{header}"\n'}, f"{folder}/a.cpp:1")
        self.expect_fault("includes", {"src/train/a.cpp": '#include "cluster/agreement.h"\n'}, "src/train/a.cpp:1")
        allowed = {f"{folder}/a.cpp": '#include "cluster/communicator.h"\n' for folder in folders}
        allowed["checkpoints/b.cpp"] = allowed["launcher/b.cpp"] = '#include "cluster/agreement.h"\n'
        allowed["launcher/c.cpp"] = '#include "cluster/job.h"\n'
        code, output = lint("includes", allowed)
        self.assertEqual(code, 0, output)

    def test_headers_and_includes_have_one_form(self):
        self.expect_fault("includes", {"src/io/a.h": "int a();\n"}, "#pragma once")
        self.expect_fault("includes", {"src/io/a.cpp": '#include "../base/text.h"\n'}, "root of a module")
        self.expect_fault("includes", {"src/io/a.cpp": '#include "a.h"\n'}, "with their folder")

    def test_an_empty_tree_is_a_fault(self):
        self.expect_fault("includes", {"README.md": "# micrec\n"}, "no C++ file")

    def test_unfinished_work_and_machine_paths_are_found(self):
        self.expect_fault("sources", {"src/io/a.cpp": "int a;  // TODO: b\n"}, "src/io/a.cpp:1: TODO")
        self.expect_fault("sources", {"README.md": "cd /home/ann/micrec\n"}, "somebody's machine")
        self.expect_fault("sources", {"src/io/a.cpp": "int a; \n"}, "blanks")
        self.expect_fault("sources", {"src/io/a.cpp": "int a;"}, "no end")
        self.assertEqual(lint("sources", {"a.txt": "https://example.org/home/page ~/home/x XXXL\n"})[0], 0)

    def test_scripts_must_parse(self):
        self.expect_fault("scripts", {"a.sh": "#!/usr/bin/env bash\nif true; then\n"}, "a.sh")
        self.assertEqual(lint("scripts", {"a.sh": "#!/usr/bin/env bash\necho hello\n"})[0], 0)

    def test_long_functions_are_found(self):
        body = "  a();\n" * 79
        for before, name in (("void f(int x)", "f"), ("A::A(int x)\n    : a_{x}, b_(x)", "A::A"),
                             ("template <int N>\nstatic const char* g(const std::string& s = \"{\") noexcept", "g")):
            self.expect_fault("functions", {"src/io/a.cpp": f"namespace m {{\n{before} {{\n{body}}}\n}}\n"},
                              f"src/io/a.cpp:2: {name} has")
        self.expect_fault("functions", {"src/io/a.h": f"struct A {{\n  // a {{\n public:\n  int f() {{\n{body}}}\n}};\n"},
                          "src/io/a.h:4: f has 81 lines")

    def test_short_functions_and_long_tables_are_not(self):
        lines = "  a();\n" * 60
        table = '  {"}", 1},\n' * 100
        short = (f"int f() {{\n{lines}}}\n\nint g() {{\n  const auto h = [] {{ return '{{'; }};\n{lines}}}\n"
                 f"const int kTable[] = {{\n{table}}};\nstruct A {{\n  int a{{1}};\n" + "  int b();\n" * 100 + "};\n")
        code, output = lint("functions", {"src/io/a.cpp": short, "tests/io/a_test.cpp": f"void f() {{\n{lines * 2}}}\n"})
        self.assertEqual(code, 0, output)
        self.expect_fault("functions", {"README.md": "# micrec\n"}, "no function")

    def test_format_is_checked_or_said_not_to_be(self):
        tree = {".clang-format": "BasedOnStyle: Google\n", "a.cpp": "int   a ;\n"}
        code, output = lint("format", tree)
        self.assertIn(code, (1, 77), output)
        self.assertIn("a.cpp:1" if code == 1 else "not installed", output)
        if code == 1:
            self.expect_fault("format", {".clang-format": "BasedOnStyle: Google\n", "a.cpp": f"int a;\n// {'a ' * 50}b\n"},
                              "a.cpp:2: a comment of more than 100 columns")


if __name__ == "__main__":
    unittest.main()
