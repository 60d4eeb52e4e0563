#!/usr/bin/env python3
"""Rules that a compiler does not check.

usage: lint.py includes|sources|format|scripts|functions|tidy REPOSITORY [BUILD]

includes  Folders include only folders below them, and a few libraries have one home each.
sources   No words of unfinished work and no paths of somebody's machine in tracked text.
format    C++ files are as clang-format-14 leaves them.
scripts   Shell scripts parse, and pass shellcheck where it is installed.
functions No function of product code is longer than 80 lines, from its signature to its closing brace.
tidy      clang-tidy finds nothing in product code, read as it is compiled, several sources at a time, so that LibTorch's
          headers are read once for all of them; with MICREC_TEST_ALL=1 each source by itself, with what it includes
          itself, which takes three times as long. Needs a configured build folder and the clang-tidy of
          requirements.txt, which launcher/setup.sh puts into the cache folder where CI=true.
Exit code 0: as it should be; 1: not, with file:line of each fault; 77: the tool is not installed.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

LAYERS = {
    "launcher": 7,
    "run": 6,
    "serve": 5,
    "train": 4, "evaluate": 4,
    "model": 3,
    "data": 2, "graph": 2, "checkpoints": 2, "report": 2,
    "command_line": 1, "io": 1, "kernels": 1, "partition": 1, "cluster": 1,
    "base": 0,
}

# Header -> folders that may include it. Tests may also.
HOMES = {
    r"gflags/.*": {"command_line"},
    r"hdf5(_hl)?\.h": {"io"},
    r"mpi\.h": {"cluster"},
    r"nccl\.h": {"cluster"},
    r"torch/csrc/autograd/autograd\.h": {"graph"},  # run_backward() keeps it on one thread
    r"cluster/agreement\.h": {"cluster", "launcher", "run", "checkpoints"},
    r"cluster/(?!communicator\.h|agreement\.h).*": {"cluster", "launcher", "run"},
}

# Folders in which LibTorch must not appear: they are pure, or read files.
WITHOUT_TORCH = {"base", "io", "partition", "data", "report"}
TORCH = re.compile(r"(ATen|c10|torch)/.*")

LONGEST_FUNCTION = 80
CPP = {".h", ".cpp", ".cu", ".cuh"}
SKIPPED_FOLDERS = {"golden", "seeds"}  # files as older releases wrote them, and inputs that are meant to be wrong

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~])/(work|root|home|Users)/\w")


def files(repository):
    """Tracked and new files that git does not ignore; every file where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "-C", repository, "-c", f"safe.directory={repository}", "ls-files", "-z", "--cached",
             "--others", "--exclude-standard"], capture_output=True, check=True).stdout.decode().split("\0")
        paths = [Path(path) for path in listed if path]
    except (OSError, subprocess.CalledProcessError):
        paths = [path.relative_to(repository) for path in Path(repository).rglob("*") if path.is_file()]
        paths = [path for path in paths if not path.parts[0].startswith("build") and path.parts[0] != ".git"]
    return [path for path in sorted(set(paths))
            if (Path(repository) / path).is_file() and not SKIPPED_FOLDERS & set(path.parts)]


def read_lines(repository, path):
    return (Path(repository) / path).read_text(encoding="utf-8", errors="replace").splitlines()


def folder_of(path):
    """The module a file belongs to: base, partition, ...; None for tests and others."""
    parts = path.parts[1:] if path.parts[0] == "src" else path.parts
    return parts[0] if len(parts) > 1 and parts[0] in LAYERS else None


def includes(repository):
    faults = []
    seen = 0
    for path in files(repository):
        if path.suffix not in CPP:
            continue
        is_test = path.parts[0] == "tests"
        folder = folder_of(path)
        seen += 1
        lines = read_lines(repository, path)
        if path.suffix in {".h", ".cuh"} and not any(line.strip() == "#pragma once" for line in lines):
            faults.append(f"{path}:1: a header begins with #pragma once")
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            place, quoted, header = f"{path}:{number}", match.group(1) == '"', match.group(2)
            if quoted and header.startswith("."):
                faults.append(f'{place}: "{header}": includes are written from the root of a module')
            target = header.split("/")[0] if "/" in header else None
            if quoted and "/" not in header and not is_test:
                faults.append(f'{place}: "{header}": includes are written with their folder')
            if folder and target in LAYERS and target != folder and LAYERS[target] >= LAYERS[folder]:
                faults.append(f"{place}: {folder} (layer {LAYERS[folder]}) includes {header} "
                              f"(layer {LAYERS[target]}); arrows point down only")
            if folder in WITHOUT_TORCH and TORCH.fullmatch(header):
                faults.append(f"{place}: {folder} includes {header}, but is without LibTorch")
            for pattern, homes in HOMES.items():
                if folder and re.fullmatch(pattern, header) and folder not in homes:
                    faults.append(f"{place}: {folder} includes {header}, which belongs in {', '.join(sorted(homes))}")
    if seen == 0:
        faults.append("no C++ file was found")
    return faults


def sources(repository):
    faults = []
    for path in files(repository):
        if path.parts[:2] == ("tests", "lint"):  # The words stand here to be looked for.
            continue
        data = (Path(repository) / path).read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(read_lines(repository, path), 1):
            if match := UNFINISHED.search(line):
                faults.append(f"{path}:{number}: {match.group(1)}: finish it, or file an issue")
            if match := MACHINE_PATH.search(line):
                faults.append(f"{path}:{number}: a path of somebody's machine: {line.strip()[:80]}")
            if line != line.rstrip() and path.suffix != ".md":
                faults.append(f"{path}:{number}: ends with blanks")
        if data and not data.endswith(b"\n"):
            faults.append(f"{path}: the last line has no end")
    return faults


def format(repository):
    tool = shutil.which("clang-format-14")  # Versions differ in taste, so one of them rules.
    if not tool:
        print("clang-format-14 is not installed; formatting was not checked")
        sys.exit(77)
    paths = [str(path) for path in files(repository) if path.suffix in CPP]
    run = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *paths], cwd=repository,
                         capture_output=True, text=True)
    faults = [line for line in run.stderr.splitlines() if ": error: " in line]
    if run.returncode and not faults:
        faults = [run.stderr.strip() or f"clang-format ended with {run.returncode}"]
    # It leaves comments as they are.
    faults += [f"{path}:{n}: a comment of more than 100 columns" for path in paths
               for n, line in enumerate(read_lines(repository, path), 1)
               if len(line) > 100 and line.lstrip().startswith("//")]
    return faults


def scripts(repository):
    faults = []
    shell = [path for path in files(repository)
             if path.suffix == ".sh" or read_lines(repository, path)[:1] == ["#!/usr/bin/env bash"]]
    for path in shell:
        if not os.access(Path(repository) / path, os.X_OK):
            faults.append(f"{path}: is not executable")
        run = subprocess.run(["bash", "-n", str(path)], cwd=repository, capture_output=True, text=True)
        if run.returncode:
            faults.append(run.stderr.strip())
    if shell and shutil.which("shellcheck"):
        run = subprocess.run(["shellcheck", "--format=gcc", *map(str, shell)], cwd=repository,
                             capture_output=True, text=True)
        faults += run.stdout.splitlines()
    return faults


def without_literals(source):
    """The source with every comment, literal and preprocessor line blanked, lines as they were."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    source = re.sub(r"""//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
                    blank, source, flags=re.DOTALL)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, source, flags=re.MULTILINE)


def is_body(header):
    """Whether a brace after this text, which follows the last end of something, begins a function's body."""
    header = header.strip()
    if "(" not in header or header.endswith(("=", ",", "(")) or re.match(r"(?:inline\s+)?namespace\b", header):
        return False
    if re.search(r"\)\s*(?:noexcept\s*)?:(?!:)", header):  # members that are initialised, some with braces of their own
        return header.endswith((")", "}", ">"))
    return True


def functions_of(source):
    """(first line, last line, name) of every function with a body; what lies in one, lambdas too, is part of it."""
    source = without_literals(source)
    begin, at = 0, 0  # of the text since the last end of something
    while at < len(source):
        letter = source[at]
        if letter == ";" or letter == "}":
            begin = at + 1
        elif letter == "{":
            header = re.sub(r"^(?:\s*(?:public|private|protected)\s*:)+", "", source[begin:at])
            if is_body(header) or (header.strip() and not re.search(r"\b(?:namespace|class|struct|union|enum|extern)\b", header)):
                end, depth = at, 0
                while end < len(source):
                    depth += {"{": 1, "}": -1}.get(source[end], 0)
                    end += 1
                    if depth == 0:
                        break
                if not is_body(header):  # a value in braces
                    at = end
                    continue
                first = begin + len(source[begin:at]) - len(header.lstrip())
                name = re.search(r"([\w:~]+)\s*\(", header)
                yield (source.count("\n", 0, first) + 1, source.count("\n", 0, end) + 1, name.group(1) if name else "?")
                at = end - 1
            begin = at + 1
        at += 1


def functions(repository):
    faults = []
    seen = 0
    for path in files(repository):
        if path.suffix not in CPP or not folder_of(path):
            continue
        for first, last, name in functions_of("\n".join(read_lines(repository, path))):
            seen += 1
            if last - first + 1 > LONGEST_FUNCTION:
                faults.append(f"{path}:{first}: {name} has {last - first + 1} lines, more than {LONGEST_FUNCTION}")
    if seen == 0:
        faults.append("no function was found")
    return faults


def clang_tidy():
    """The pinned one, where launcher/setup.sh has put it; None where it has not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "micrec"
    version = re.search(r"clang-tidy==(\S+)", (Path(__file__).parent / "requirements.txt").read_text()).group(1)
    tool = cache / f"clang-tidy-{version}" / "bin" / "clang-tidy"
    return tool if os.access(tool, os.X_OK) else None


def configure_alone(repository, build, folder):
    """Configures product code as the build folder does, but with each source by itself."""
    cache = (Path(build) / "CMakeCache.txt").read_text()
    names = r"MICREC_TORCH|MICREC_WITH_CUDA|CMAKE_BUILD_TYPE|CMAKE_C(?:XX)?_COMPILER|CMAKE_CUDA_COMPILER"
    chosen = re.findall(rf"^((?:{names}):\w+=.+)$", cache, re.MULTILINE)
    subprocess.run(["cmake", "-S", repository, "-B", folder, "-G", "Ninja", "--log-level=ERROR",
                    "-DMICREC_BUILD_TESTS=OFF", "-DCMAKE_UNITY_BUILD=OFF", *(f"-D{setting}" for setting in chosen)],
                   check=True, stdout=subprocess.DEVNULL)


def sources_of(repository, unit):
    """Product sources, relative to the repository, of which a unit that the compiler is given consists."""
    included = [unit]
    if unit.suffix == ".cxx":
        included = re.findall(r'^#include "(.+\.cpp)"$', unit.read_text(), re.MULTILINE)
    paths = [os.path.relpath(source, repository) for source in included]
    return tuple(path for path in paths if path.endswith(".cpp") and folder_of(Path(path)))


def write_units(repository, folder, commands):
    """Writes product sources as the compiler is given them, those of a unit one after the other in a file UNIT.cpp, as
    the analyzer leaves out what is included. What is compiled for several instruction sets is there once, GCC's
    precompiled headers are not. Returns the source and line of every line: {UNIT.cpp: [(source, line), ...]}."""
    command_of = {sources_of(repository, Path(entry["file"])): entry for entry in json.loads(commands.read_text())}
    command_of.pop((), None)
    shutil.rmtree(folder / "units", ignore_errors=True)
    (folder / "units").mkdir(parents=True)
    lines_of, entries = {}, []
    for number, (sources, entry) in enumerate(command_of.items()):
        unit = str(folder / "units" / f"{number}.cpp")
        texts = [(source, read_lines(repository, source)) for source in sources]
        Path(unit).write_text("\n".join(line for _, text in texts for line in text) + "\n")
        lines_of[unit] = [(source, line + 1) for source, text in texts for line in range(len(text))]
        command = re.sub(r" -Winvalid-pch -include \S+| -fpch-preprocess", "", entry["command"])
        entries.append({**entry, "file": unit, "command": command.replace(entry["file"], unit)})
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    return lines_of


def tidy(repository, build):
    tool = clang_tidy()
    if not tool:
        print("clang-tidy is not in the cache folder (CI=true launcher/setup.sh puts it there); nothing was checked")
        sys.exit(77)
    folder = (Path(build) / "lint").resolve()
    alone = bool(os.environ.get("MICREC_TEST_ALL"))
    if alone:
        configure_alone(repository, build, folder)
    lines_of = write_units(repository, folder, (folder if alone else Path(build)) / "compile_commands.json")
    if not lines_of:
        return [f"no source of product code is in the compile_commands.json of {build}"]
    # clang has no omp.h of its own; GCC's comes last, so that its intrinsics do not hide clang's.
    omp = subprocess.run(["gcc", "-print-file-name=include/omp.h"], capture_output=True, text=True, check=True)
    command = [str(tool), "-p", str(folder), f"--config-file={repository}/.clang-tidy", "--quiet",
               "--extra-arg=-Wno-unknown-warning-option", f"--extra-arg=-idirafter{Path(omp.stdout.strip()).parent}"]
    # With LibTorch the analyzer would follow its inline functions for three times as long as all else takes.
    shallow = ["-Xclang", "-analyzer-config", "-Xclang", "max-nodes=20000"]

    def told(unit, line):
        """With the source and line of a unit's."""
        begins = re.match(rf"{re.escape(unit)}:(\d+):", line)
        if not begins:
            return line.replace(f"{repository}/", "")
        source, number = lines_of[unit][int(begins[1]) - 1]
        return f"{source}:{number}:{line[begins.end():]}"

    def faults_of(unit):
        with_torch = not {folder_of(Path(source)) for source, _ in lines_of[unit]} <= WITHOUT_TORCH
        words = [f"--extra-arg={word}" for word in shallow if with_torch]
        run = subprocess.run([*command, *words, unit], cwd=repository, capture_output=True, text=True)
        lines = [told(unit, line) for line in run.stdout.splitlines() if ": error: " in line]
        return lines or ([f"{unit}: {run.stderr.strip()}"] if run.returncode else [])

    longest = sorted(lines_of, key=lambda unit: -len(lines_of[unit]))  # first, so that none is left alone
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return sorted({fault for faults in pool.map(faults_of, longest) for fault in faults})


RULES = {"includes": includes, "sources": sources, "format": format, "scripts": scripts, "functions": functions,
         "tidy": tidy}


def main():
    if len(sys.argv) != (4 if "tidy" in sys.argv else 3) or sys.argv[1] not in RULES:
        sys.exit(__doc__)
    faults = RULES[sys.argv[1]](*sys.argv[2:])
    for fault in faults:
        print(fault)
    print(f"{sys.argv[1]}: {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
