#!/usr/bin/env python3
"""Trains the same run on the CPU and on GPUs and compares every loss and the embeddings after some steps.

    train_on_gpu_test.py [--steps=100] PROGRAM COMPARE_EMBEDDINGS ["MPIEXEC [FLAG ...]"]

Exit code 77, with the reason, where the program finds no GPU. Where there is an MPIEXEC and, by two GPUs or by
NCCL_MULTI_RANK_GPU_ENABLE=1, room for two ranks, also at two; else it says what it has left out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from compare_runs import runs_apart

SECONDS = 600  # no command of these may take longer

SYNTH = ["--users=400", "--items=250", "--interactions=8000", "--modalities=text:40,image:24", "--seed=5"]
COMMON = ["--batch=512", "--lr=0.01", "--log_every=1", "--validate_every=0", "--patience=0", "--seed=2", "--l2=1e-4",
          "--epochs=1000", "--threads=2"]
MODELS = {
    "lightgcn": ["--model=lightgcn"],
    "inmo": ["--model=inmo", "--dropout=0.3"],
    "micrec": ["--model=micrec", "--dropout=0.1", "--share_templates=0.5", "--cold_simulation=0.2"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("program")
    parser.add_argument("compare_embeddings")
    parser.add_argument("mpiexec", nargs="?", default="")
    arguments = parser.parse_args()
    program, mpiexec, steps = arguments.program, arguments.mpiexec.split(), arguments.steps
    environment = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1",
                   "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}

    def run(*words, ranks=1, of=program):
        line = ([*mpiexec, "-n", str(ranks)] if ranks > 1 else []) + [of, *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False)

    def must(*words, ranks=1, of=program):
        result = run(*words, ranks=ranks, of=of)
        if result.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))} at {ranks} ranks ended with {result.returncode}:\n{result.stderr}")
        return result.stdout

    folder = Path(tempfile.mkdtemp(prefix="micrec-gpu-"))
    try:
        dataset = folder / "sample.h5"
        must("synth", f"--out={dataset}", *SYNTH)
        probe = run("train", f"--dataset={dataset}", f"--run_dir={folder / 'probe'}", "--device=cuda", "--max_steps=1",
                    "--model=mf")
        if probe.returncode == 5 and "--device=cuda, but" in probe.stderr:
            print(f"Skipped: {probe.stderr.strip()}")
            sys.exit(77)

        rank_counts = [1]
        if not mpiexec or shutil.which(mpiexec[0]) is None:
            print(f"Not run at two ranks: there is no {mpiexec[0] if mpiexec else 'mpirun'} here")
        else:
            pair = run("train", f"--dataset={dataset}", f"--run_dir={folder / 'pair'}", "--device=cuda",
                       "--max_steps=1", "--model=mf", ranks=2)
            if pair.returncode == 0:
                rank_counts.append(2)
            else:
                print(f"Not run at two ranks: {pair.stderr.strip()}")

        failures = 0
        for name, flags in MODELS.items():
            run_dirs = {}
            for device, ranks in [("cpu", 1)] + [("cuda", ranks) for ranks in rank_counts]:
                run_dirs[device, ranks] = folder / f"{name}-{device}-{ranks}"
                must("train", f"--dataset={dataset}", f"--run_dir={run_dirs[device, ranks]}", f"--device={device}", *COMMON,
                     *flags, f"--max_steps={steps}", ranks=ranks)
            on_cpu = run_dirs.pop(("cpu", 1))
            for (device, ranks), run_dir in run_dirs.items():
                apart = runs_apart(on_cpu, run_dir, steps, micrec=must,
                                   compare_embeddings=lambda *files: must(*files, of=arguments.compare_embeddings))
                failures += not apart.is_close
                print(f"{name} on {device} at {ranks} ranks: losses differ by {apart.losses:.1e}, embeddings by "
                      f"{apart.rows:.1e} of the largest after {steps} steps: {'ok' if apart.is_close else 'TOO MUCH'}")
        sys.exit(1 if failures else 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
