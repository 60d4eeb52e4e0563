"""Prints the table of quality of one data set from what quality.sh left: quality_table.py RESULTS_FOLDER

RESULTS_FOLDER has ROW.SEED.h5 (metrics by user), ROW.SEED.seconds beside them, ROW.setting, and ROW.why of a row that
could not be made. Several seeds of a row give the mean and the standard deviation.
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

ROWS = {"mf": "mf", "lightgcn": "lightgcn", "inmo": "inmo", "micrec_off": "micrec without item regression",
        "item_regression": "item regression alone", "ials": "ials", "ials_regression": "ials with item regression",
        "micrec": "micrec", "ease": "EASE with texts as rows",
        "sansa": "SANSA", "als": "implicit's ALS"}
LOW = "items_degree_4_7"


def figures_of(path):
    """NDCG@20, Recall@20 and Recall@20 of low degrees of every domain, and the seconds of the fit."""
    with h5py.File(path) as file:
        figures = {}
        for name, group in file["domains"].items():
            low = group[f"slices/{LOW}/recall@20"][:].mean() if f"slices/{LOW}" in group else np.nan
            figures[name] = [group["ndcg@20"][:].mean(), group["recall@20"][:].mean(), low]
        seconds = path.with_suffix(".seconds")
        spent = float(seconds.read_text()) if seconds.exists() else float(file.attrs.get("fit_seconds", np.nan))
        setting = file.attrs.get("settings")
        return figures, spent, setting and f"{setting} of {file.attrs['settings_tried']}"


def number(values):
    """The mean of a figure over seeds, with its deviation where there are several."""
    text = f"{np.mean(values):.4f}"
    return text + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


def main():
    folder = Path(sys.argv[1])
    found = {row: sorted(folder.glob(f"{row}.*.h5")) for row in ROWS}
    domains = next((list(figures_of(files[0])[0]) for files in found.values() if files), [])
    heads = ["NDCG@20", "Recall@20", *(f"{metric}, {name}" for name in domains for metric in ("NDCG", "Recall", "degree 4-7"))]
    print(f"### {folder.name}\n\n| | {' | '.join(heads)} | seconds of fit | setting, of how many tried |")
    print("|---|" + "--:|" * (len(heads) + 1) + "---|")
    for row, title in ROWS.items():
        why = folder / f"{row}.why"
        if not found[row]:
            if why.exists():
                print(f"| {title} | {' | '.join(['-'] * (len(heads) + 1))} | could not be made: {why.read_text().strip()} |")
            continue
        seeds = [figures_of(path) for path in found[row]]
        mean = [[np.mean([figures[name][n] for name in domains]) for figures, _, _ in seeds] for n in (0, 1)]
        cells = [number(values) for values in mean]
        cells += [number([figures[name][n] for figures, _, _ in seeds]) for name in domains for n in (0, 1, 2)]
        setting = folder / f"{row}.setting"
        told = setting.read_text() if setting.exists() else seeds[0][2] or ""
        if told.startswith("{"):
            settings, _, count = told.rpartition(" of ")
            told = "; ".join(f"{name}: {', '.join(f'{key} {value}' for key, value in own.items())}"
                             for name, own in json.loads(settings).items()) + f"; of {count}"
        print(f"| {title} | {' | '.join(cells)} | {np.mean([spent for _, spent, _ in seeds]):.1f} | {told} |")
    print()


if __name__ == "__main__":
    main()
