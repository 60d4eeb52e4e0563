#!/usr/bin/env python3
"""Rehearses train_on_gpu_test.py where there is no GPU: a program that takes --device=cuda for the CPU.

    train_on_gpu_rehearsal.py PROGRAM COMPARE_EMBEDDINGS

The test must then find no difference at one rank and, as there is no mpirun by that name, say that it left two out.
"""

import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    program, compare_embeddings = (Path(word).resolve() for word in sys.argv[1:])
    test = Path(__file__).resolve().parent / "train_on_gpu_test.py"
    with tempfile.TemporaryDirectory(prefix="micrec-rehearsal-") as folder:
        player = Path(folder) / "micrec"
        player.write_text('#!/bin/sh\nfor word; do shift\n  [ "$word" = --device=cuda ] && word=--device=cpu\n'
                          f'  set -- "$@" "$word"\ndone\nexec "{program}" "$@"\n', encoding="utf-8")
        player.chmod(0o755)
        result = subprocess.run([sys.executable, test, "--steps=5", player, compare_embeddings,
                                 "mpirun-that-is-not-there --oversubscribe"],
                                capture_output=True, text=True, timeout=900, check=False)
    print(result.stdout + result.stderr)
    expected = ["Not run at two ranks: there is no mpirun-that-is-not-there here"]
    expected += [f"{model} on cuda at 1 ranks: losses differ by 0.0e+00, embeddings by 0.0e+00 of the largest"
                 for model in ("lightgcn", "inmo", "micrec")]
    missing = [line for line in expected if line not in result.stdout]
    for line in missing:
        print(f"The test did not say: {line}")
    sys.exit(1 if missing or result.returncode != 0 else 0)


if __name__ == "__main__":
    main()
