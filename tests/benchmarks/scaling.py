#!/usr/bin/env python3
"""Draws what benchmark_scaling computed: bytes a step and memory a rank for 8 to 1,024 ranks.

usage: scaling.py scaling.csv scaling.svg

It needs matplotlib; where the running Python has none, it is put into an environment of its own in the user's cache
folder, at the version that scaling.requirements.txt pins.
"""

import csv
import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("scaling.requirements.txt")
WAYS = {  # name in the CSV: label, colour, marker
    "hash": ("hash, R x 1", "#888888", "o"),
    "METIS": ("METIS, R x 1", "#0b6e4f", "s"),
    "columns": ("hash, R/64 x 64 columns", "#c1440e", "^"),
    "METIS and columns": ("METIS, R/8 x 8 columns", "#1f4e99", "D"),
}


def with_matplotlib():
    """Starts this script again in an environment that has matplotlib, where this one has not."""
    try:
        import matplotlib  # noqa: F401
        return
    except ImportError:
        pass
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "micrec" / "figures"
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        sys.exit(f"matplotlib is not in {folder}; remove that folder and try again")
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "-r", str(REQUIREMENTS)], check=True)
    os.execv(python, [str(python), *sys.argv])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with_matplotlib()
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "scaling", "font.size": 9})
    import matplotlib.pyplot as plt

    with open(sys.argv[1], newline="") as file:
        rows = list(csv.DictReader(file))
    largest = max(rows, key=lambda row: float(row["interactions"]))["interactions"]
    rows = [row for row in rows if row["interactions"] == largest]
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4))
    for way, (label, colour, marker) in WAYS.items():
        own = [row for row in rows if row["way"] == way]
        ranks = [int(row["ranks"]) for row in own]
        for axis, column, unit in ((axes[0], "bytes_of_busiest_rank", 1e9), (axes[1], "memory_of_fullest_rank", 2**30)):
            axis.plot(ranks, [float(row[column]) / unit for row in own], color=colour, marker=marker, markersize=4,
                      linewidth=1.2, label=label)
    axes[0].set_ylabel("GB sent a step, busiest rank")
    axes[1].set_ylabel("GiB of memory, fullest rank")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks([8, 16, 32, 64, 128, 256, 512, 1024], ["8", "16", "32", "64", "128", "256", "512", "1,024"])
        axis.set_xlabel("ranks")
        axis.grid(alpha=0.3, linewidth=0.5)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{float(largest) / 1e9:g} billion interactions, 64 columns, 3 layers: computed, not measured",
                    fontsize=9)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})
    drawn = Path(sys.argv[2])
    drawn.write_text("\n".join(line.rstrip() for line in drawn.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    main()
