"""Which part of the model pays what: trains it whole and without each part, over seeds, and prints one table.

    quality_parts.py MICREC DATASET.h5 OUT [--seeds=5] [--threads=1] [flags of train for every run ...]

MICREC  the program. OUT: a folder; a run that is finished there is kept, so that one that was stopped goes on. Seeds
come one after the other, each with all rows, so that a table of fewer seeds is fair too. Every run has the same flags
but those of its row. A difference is the mean over seeds of (row - whole), each pair with the same seed, with twice its
standard error over seeds; n.s. where that is larger than the difference. Test split, NDCG@20, all items ranked.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROWS = {
    "whole": ["--model=micrec"],
    "lightgcn with regression (no templates, modalities, contrastive loss)": ["--model=lightgcn", "--item_regression=auto"],
    "inmo with regression (no modalities in the embeddings, no contrastive loss)": ["--model=inmo", "--item_regression=auto"],
    "without semantic neighbours": ["--semantic_neighbors=0"],
    "without the content term": ["--nocontent"],
    "without the contrastive loss": ["--contrastive_weight=0"],
    "without crossing columns in the regression": ["--regression_cross=0"],
    "without texts in the regression": ["--regression_alpha=0"],
    "without item regression": ["--item_regression=off"],
    "item regression alone": ["--model=item_regression"],
}
DETERMINISTIC = {"item regression alone"}  # no seed in it: one run is all of them


def flags_of(row, common):
    """The flags of a run: those of the row hold over the common ones."""
    own = ROWS[row]
    if "--item_regression=off" in own:
        common = [flag for flag in common if not flag.startswith("--regression_")]
    return common + (own if any(flag.startswith("--model=") for flag in own) else ["--model=micrec", *own])


def figures_of(run):
    """NDCG@20 of every domain on the test split, from the run's log; nothing where it has not ended."""
    log = run / "metrics.jsonl"
    if not log.exists():
        return None
    for line in reversed(log.read_text().splitlines()):
        line = json.loads(line)
        if line["kind"] == "test":
            return {name: domain["slices"]["all"]["ndcg@20"] for name, domain in line["domains"].items()}
    return None


def train(micrec, dataset, run, seed, threads, flags):
    if run.exists():
        subprocess.run(["rm", "-rf", run], check=True)
    words = [micrec, "train", f"--dataset={dataset}", f"--run_dir={run}", f"--seed={seed}", f"--threads={threads}", *flags]
    with open(f"{run}.log", "w") as log:
        if subprocess.run(words, stderr=log, stdout=log).returncode != 0:
            raise SystemExit(f"{' '.join(map(str, words))} failed; see {run}.log")


def table_of(figures):
    """figures[row][seed][domain]; every row has the same seeds."""
    seeds = sorted(figures["whole"])
    domains = list(figures["whole"][seeds[0]])
    lines = [f"| | mean of domains, {len(seeds)} seeds | against the whole | {' | '.join(domains)} |",
             "|---|" + "--:|" * (2 + len(domains))]
    means = {row: np.array([np.mean(list(of[seed].values())) for seed in seeds]) for row, of in figures.items()}
    for row, values in means.items():
        spread = f" ± {values.std(ddof=1):.4f}" if len(seeds) > 1 and row not in DETERMINISTIC else ""
        against = ""
        if row != "whole":
            difference = values - means["whole"]
            error = 2 * difference.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.inf
            against = f"{difference.mean():+.4f} ± {error:.4f}" + (" n.s." if error > abs(difference.mean()) else "")
        cells = [f"{np.mean([figures[row][seed][name] for seed in seeds]):.4f}" for name in domains]
        lines.append(f"| {row} | {values.mean():.4f}{spread} | {against} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("micrec")
    parser.add_argument("dataset")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options, common = parser.parse_known_args()
    options.out.mkdir(parents=True, exist_ok=True)
    figures = {row: {} for row in ROWS}
    for seed in range(options.seeds):
        for number, row in enumerate(ROWS):
            run = options.out / f"row{number}-seed{0 if row in DETERMINISTIC else seed}"
            if figures_of(run) is None:
                train(options.micrec, options.dataset, run, seed, options.threads, flags_of(row, common))
            figures[row][seed] = figures_of(run)
        print(f"after seed {seed}", table_of(figures), sep="\n", file=sys.stderr)
    print(table_of(figures))


if __name__ == "__main__":
    main()
