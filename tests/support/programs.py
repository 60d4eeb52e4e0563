"""How the tests of programs run them, and where."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 300  # no command of these may take longer


def environment(**more):
    # Ranks may be more than cores, and containers often forbid cross-memory attach.
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none", **more}


def call(*words, **options):
    """A command that has ended, in whatever way, with what it said."""
    return subprocess.run([str(word) for word in words], **{
        "stdin": None if "input" in options else subprocess.DEVNULL, "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE, "text": True, "timeout": SECONDS, "check": False, "env": environment(), **options})


def run(*words, expect=0, **options):
    """The same; its exit code must be the expected one, or one of them."""
    done = call(*words, **options)
    if done.returncode not in ([expect] if isinstance(expect, int) else expect):
        raise AssertionError(f"{' '.join(map(str, words))}: expected exit code {expect}, got {done.returncode}\n"
                             f"{done.stdout}\n{done.stderr}")
    return done


def folder_for(test, name):
    """A folder that goes with a test, or with a class of them."""
    folder = Path(tempfile.mkdtemp(prefix=f"micrec-{name}-"))
    (test.addClassCleanup if isinstance(test, type) else test.addCleanup)(shutil.rmtree, folder, ignore_errors=True)
    return folder


def lines_of(run_dir, kind=None):
    """The lines of a run's metrics.jsonl, or those of one kind."""
    lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if kind in (None, line["kind"])]


def embeddings_digest(path):
    """SHA-256 of the keys and rows in a file of embeddings."""
    import h5py  # not every Python that runs programs has it
    digest = hashlib.sha256()
    with h5py.File(path) as file:
        for domain in sorted(file["domains"]):
            for side in ("users", "items"):
                rows = file[f"domains/{domain}/{side}"]
                digest.update("\n".join(rows["key"].asstr()[:]).encode())
                digest.update(rows["embedding"][:].tobytes())
    return digest.hexdigest()


def load(script):
    """A script of this repository, named from its root on, as a module."""
    path = Path(__file__).resolve().parents[2] / script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_seed_options(parser):
    """--all and --seed: a fixed seed, but a new one where all is asked for (tests/run.sh --all)."""
    asks_for_all = "--all" in sys.argv or os.environ.get("MICREC_TEST_ALL", "") not in ("", "0")
    parser.add_argument("--all", action="store_true", default=asks_for_all, help="the long form (MICREC_TEST_ALL=1)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000 if asks_for_all else 1)
