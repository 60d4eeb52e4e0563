#!/usr/bin/env python3
"""How long an epoch of micrec's implicit ALS takes beside implicit's AlternatingLeastSquares, in turns.

    factor_peers.py PROGRAM DATASET.h5 [--threads=2] [--rounds=5] [--dim=64] [--epochs=4]

An epoch solves the rows of all users, then those of all items. Both are timed, by the clock and by the processors' work, which
a loaded machine changes less, by what EPOCHS more of them add to a run of one, so that reading and starting count for neither; implicit solves by Cholesky (use_cg=False), as micrec does, and
by its default of three steps of conjugate gradients, which is told beside. One domain.
quality_peers.requirements.txt has the packages.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit asks for it: its own threads are enough

import h5py
import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares


def read_matrix(path):
    with h5py.File(path) as file:
        if len(file["domains"]) != 1:
            sys.exit(f"{path} has {len(file['domains'])} domains; expected one")
        (domain,) = file["domains"].values()
        user, item = domain["train/user"][:], domain["train/item"][:]
        shape = (len(domain["users/key"]), len(domain["items/key"]))
    return sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)


def times(whose):
    """Seconds of the clock, and of the processors for this process or for its children."""
    usage = resource.getrusage(whose)
    return np.array([time.perf_counter(), usage.ru_utime + usage.ru_stime])


def of_micrec(options, epochs):
    with tempfile.TemporaryDirectory() as folder:
        begin = times(resource.RUSAGE_CHILDREN)
        subprocess.run([options.program, "train", "--model=ials", f"--dataset={options.dataset}", f"--run_dir={Path(folder) / 'run'}",
                        f"--dim={options.dim}", f"--epochs={epochs}", "--validate_every=0", "--save_every_minutes=0",
                        f"--threads={options.threads}"], check=True, capture_output=True)
        return times(resource.RUSAGE_CHILDREN) - begin


def of_implicit(options, matrix, by_gradients, epochs):
    model = AlternatingLeastSquares(factors=options.dim, iterations=epochs, num_threads=options.threads, use_cg=by_gradients)
    begin = times(resource.RUSAGE_SELF)
    model.fit(matrix, show_progress=False)
    return times(resource.RUSAGE_SELF) - begin


def epoch(times_of, epochs):
    return (times_of(1 + epochs) - times_of(1)) / epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("dataset")
    for name, default in (("threads", 2), ("rounds", 5), ("dim", 64), ("epochs", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    matrix = read_matrix(options.dataset)
    ways = {"micrec": lambda n: of_micrec(options, n),
            "implicit, Cholesky": lambda n: of_implicit(options, matrix, False, n),
            "implicit, 3 conjugate gradients": lambda n: of_implicit(options, matrix, True, n)}
    found = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, times_of in ways.items():
            found[name].append(epoch(times_of, options.epochs))
    print(f"implicit ALS of {options.dim} columns, {matrix.nnz:,} interactions, {options.threads} threads, "
          f"median of {options.rounds}: seconds an epoch by the clock, of the processors, and micrec's share of these")
    own = np.array(found["micrec"])
    for name, seconds in found.items():
        clock, work = np.median(seconds, axis=0)
        print(f"  {name:<36} {clock:8.2f} {work:8.2f} {np.median(own[:, 1] / np.array(seconds)[:, 1]):8.2f}")


if __name__ == "__main__":
    main()
