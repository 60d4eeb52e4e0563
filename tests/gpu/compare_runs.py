"""How far two runs of training are apart, for the tests that compare devices and grids."""

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

CLOSE = 1e-4  # of a loss, and of the largest number of the embeddings


class Apart(NamedTuple):
    losses: float     # the largest difference, as a part of the loss
    rows: float       # the largest difference of the embeddings, as a part of their largest number
    same_bits: bool   # of the embeddings

    @property
    def is_close(self):
        return self.losses <= CLOSE and self.rows <= CLOSE


def json_in(text):
    """The object that a program printed last, on a line of its own, among warnings."""
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def lines_of(run_dir, kind):
    """A run's lines of a kind; one that is being written is left out."""
    found = []
    for line in (Path(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            parsed = json.loads(line)
            if parsed["kind"] == kind:
                found.append(parsed)
    return found


def losses_of(run_dir):
    return [line["loss"] for line in lines_of(run_dir, "step")]


def runs_apart(run_dir, other_dir, steps, micrec, compare_embeddings):
    """Compares two finished runs that logged each of `steps` steps.

    micrec(*words) and compare_embeddings(file, file) run the programs and return what they print.
    """
    losses, others = losses_of(run_dir), losses_of(other_dir)
    if len(losses) != steps or len(others) != steps:
        raise ValueError(f"{len(losses)} and {len(others)} steps were logged, expected {steps}")
    files = []
    for one in (run_dir, other_dir):
        files.append(Path(one).parent / f"{Path(one).name}.h5")
        micrec("export", f"--run_dir={one}", "--checkpoint=newest", "--device=cpu", f"--out={files[-1]}")
    embeddings = json_in(compare_embeddings(*files))
    of_losses = [abs(a - b) / abs(a) for a, b in zip(losses, others)]
    return Apart(max(of_losses, key=lambda part: (part != part, part)),  # that is not a number is the largest
                 embeddings["apart"] / embeddings["largest"], embeddings["same_bits"])
