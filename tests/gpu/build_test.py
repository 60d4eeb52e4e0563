#!/usr/bin/env python3
"""Checks that the GPU parts were compiled and linked with what LibTorch itself loads.

    build_test.py PROGRAM BUILD NCCL_INCLUDE CUDART_LIBRARY

Every source that includes nccl.h must get the one in NCCL_INCLUDE, and the program must have one CUDA runtime: the
shared one, CUDART_LIBRARY. Exit code 0: so it is; 1: it is not, with a line for each fault.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path


def output_of(*words, directory=None):
    return subprocess.run(words, cwd=directory, capture_output=True, text=True, check=True, timeout=300)


def wrong_headers(build, chosen):
    """Faults of sources whose compile line finds another nccl.h."""
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    faults, seen = [], 0
    for command in commands:
        source = Path(command["file"])
        if source.suffix != ".cpp" or not re.search(r"#\s*include\s*<nccl\.h>", source.read_text(encoding="utf-8")):
            continue
        words = shlex.split(command["command"])
        words = words[next(i for i, word in enumerate(words) if re.search(r"(\+\+|clang|gcc|cc)[^/]*$", word)
                           and "ccache" not in os.path.basename(word)):]
        words[words.index("-o") + 1] = os.devnull
        included = output_of(*words, "-E", "-H", directory=command["directory"]).stderr
        headers = {os.path.realpath(match) for match in re.findall(r"^\.+ (\S*/nccl\.h)$", included, re.MULTILINE)}
        seen += 1
        if headers != {os.path.realpath(chosen / "nccl.h")}:
            faults.append(f"{source}: compiled with {', '.join(sorted(headers))} and not with {chosen / 'nccl.h'}")
    return faults if seen else ["no source includes nccl.h"]


def wrong_runtimes(program, library):
    """Faults of the CUDA runtimes in a program."""
    faults = []
    loaded = re.findall(r"^\s*(libcudart\S*) => (\S+)", output_of("ldd", program).stdout, re.MULTILINE)
    if [os.path.realpath(path) for _, path in loaded] != [os.path.realpath(library)]:
        faults.append(f"{program} loads {loaded or 'no CUDA runtime'} and not {library}")
    own = re.findall(r" [TtWw] (cudaGetDeviceCount|cudaMalloc|cudaLaunchKernel)(?:@\S+)?$",
                     output_of("nm", "--defined-only", program).stdout, re.MULTILINE)
    if own:
        faults.append(f"{program} has a CUDA runtime in it: it defines {', '.join(sorted(own))}")
    return faults


def main():
    program, build, nccl_include, cudart = map(Path, sys.argv[1:])
    faults = wrong_headers(build, nccl_include) + wrong_runtimes(program, cudart)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
