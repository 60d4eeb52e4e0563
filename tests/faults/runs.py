"""What the fault tests share: the real program on made-up data so small that a run is mostly start-up, and what
an uninterrupted run of it leaves."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import SECONDS, embeddings_digest, environment, run  # noqa: E402

SYNTH = ["--users=60", "--items=40", "--interactions=900", "--modalities=text:6", "--seed=5", "--threads=1"]
TRAIN = ["--dim=4", "--layers=2", "--batch=256", "--lr=0.01", "--log_every=1", "--validate_every=0",
         "--save_every_minutes=0", "--threads=1", "--seed=2", "--dropout=0.1", "--patience=0",
         "--semantic_neighbors=3"]
MARK = "MICREC_FAULT_RUN"  # in the environment of a run's processes, however they were started


def step_of(checkpoint):
    return int(checkpoint.name.removeprefix("step-"))


class Runs:
    """Runs of one program in a folder of their own. `with Runs(...) as runs` removes it at the end."""

    def __init__(self, program, mpiexec):
        self.program = str(Path(program).resolve())
        self.command = Path(self.program).name[:15]  # as /proc/PID/comm has it
        self.mpiexec = mpiexec.split()
        self.folder = Path(tempfile.mkdtemp(prefix="micrec-faults-"))
        self.dataset = self.folder / "sample.h5"
        self.serial = 0

    def __enter__(self):
        self.run("synth", f"--out={self.dataset}", *SYNTH)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def command_line(self, words, ranks):
        under_mpi = [*self.mpiexec, "-n", str(ranks)] if ranks > 1 else []
        return [*under_mpi, self.program, *map(str, words)]

    def run(self, *words, ranks=1, expect=0, env=None, **options):
        """What the program printed; its exit code must be one of the expected."""
        return run(*self.command_line(words, ranks), expect=expect, env=environment(**(env or {})), **options)

    def train_words(self, run_dir, *words):
        """A new run, or the same one further where it has begun: from a checkpoint, or again where it has none."""
        if self.checkpoints(run_dir) or (Path(run_dir) / "config.txt").exists():
            return ["train", f"--run_dir={run_dir}", "--resume", *words]
        return ["train", f"--dataset={self.dataset}", f"--run_dir={run_dir}", *TRAIN, *words]

    @staticmethod
    def checkpoints(run_dir):
        """Published checkpoints, the oldest first."""
        return sorted(path for path in (Path(run_dir) / "checkpoints").glob("step-*")
                      if re.fullmatch(r"step-\d{12}", path.name))

    def newest_step(self, run_dir):
        there = self.checkpoints(run_dir)
        return step_of(there[-1]) if there else 0

    def digest(self, run_dir):
        """SHA-256 of the keys and embeddings that the run's newest checkpoint exports."""
        out = self.folder / "exported.h5"
        self.run("export", f"--run_dir={run_dir}", f"--dataset={self.dataset}", "--checkpoint=newest", f"--out={out}")
        return embeddings_digest(out)

    def start(self, words, ranks, **more):
        """A run whose processes can be found, see `processes`; `more` goes into its environment."""
        self.serial += 1
        mark = f"{os.getpid()}-{self.serial}"
        with open(self.folder / "output.txt", "w", encoding="utf-8") as output:
            process = subprocess.Popen(self.command_line(words, ranks), env=environment(**{MARK: mark}, **more),
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        process.mark = mark
        return process

    def output(self):
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    @staticmethod
    def processes(mark, name=None):
        """Process numbers of a run, mpirun's own among them; with a name, of those only."""
        wanted = f"{MARK}={mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and name in (None, (entry / "comm").read_text().strip()):
                    found.append(int(entry.name))
            except OSError:  # It ended meanwhile.
                continue
        return found

    def end_all(self, process):
        """Ends what is left of a run and waits until nothing is."""
        deadline = time.monotonic() + SECONDS
        while left := self.processes(process.mark):
            kill_all(left)
            if time.monotonic() > deadline:
                raise AssertionError(f"processes {left} do not end")
            time.sleep(0.01)
        process.wait(timeout=SECONDS)


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
