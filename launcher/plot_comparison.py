#!/usr/bin/env python3
"""Draws what `micrec compare --json` wrote: every metric of every run by the degree of items, with its 95% intervals.

usage: plot_comparison.py COMPARISON.json OUT.svg

A panel a domain and metric. The degree of an item is how many training interactions it has; a point is the mean over the
users who have relevant items of that degree. The same input gives the same bytes. Needs matplotlib, at the version in
plot_comparison.requirements.txt. Exit codes: 0 done; 2 usage, or no matplotlib; 3 the input is not what compare writes;
4 a file cannot be read or written.
"""

import json
import os
import re
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("plot_comparison.requirements.txt")
COLOURS = ["#1f4e99", "#c1440e", "#0b6e4f", "#7a3e9d", "#b8860b", "#444444"]
MARKERS = "osD^vP"
SLICE = re.compile(r"items_degree_(\d+)(?:_(\d+|up))?$")


class Refused(Exception):
    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


def degrees_of(slices):
    """The slices of degrees by rising degree: (label, slice)."""
    found = []
    for name, contents in slices.items():
        if match := SLICE.match(name):
            first, last = match.groups()
            label = first if last is None else f"{first}+" if last == "up" else f"{first}-{last}"
            found.append((int(first), label, contents))
    return [(label, contents) for _, label, contents in sorted(found, key=lambda entry: entry[0])]


def read(path):
    """The names of runs, the metrics, and for every domain its slices of degrees."""
    try:
        comparison = json.loads(Path(path).read_text(encoding="utf-8"))
        runs = [run["name"] for run in comparison["runs"]]
        metrics = comparison["metrics"]
        domains = {name: degrees_of(domain["slices"]) for name, domain in comparison["domains"].items()}
        domains = {name: degrees for name, degrees in domains.items() if degrees}
        for degrees in domains.values():
            for _, contents in degrees:
                for metric in metrics:
                    for run in contents["metrics"][metric]:
                        float(run["value"]), [float(end) for end in run["interval"]]
    except OSError as error:
        raise Refused(4, f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(3, f"{path} is not what micrec compare --json=FILE writes ({type(error).__name__}: {error}); "
                         "make it again") from error
    if not domains:
        raise Refused(3, f"{path} has no slice of item degrees, so there is nothing to draw; compare runs that micrec "
                         "evaluate has evaluated")
    return runs, metrics, domains


def import_matplotlib():
    try:
        import matplotlib
    except ImportError as error:
        package = REQUIREMENTS.read_text(encoding="utf-8").split()[-1]
        raise Refused(2, f"this needs the Python package matplotlib: pip install {package}") from error
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "comparison", "font.size": 9})
    return matplotlib


def draw_panel(axes, degrees, metric, runs):
    width = 0.7 / len(runs)
    for number, run in enumerate(runs):
        places = [place + (number - (len(runs) - 1) / 2) * width for place in range(len(degrees))]
        figures = [contents["metrics"][metric][number] for _, contents in degrees]
        values = [figure["value"] for figure in figures]
        # The mean of what was drawn lies within its interval but for rounding.
        below = [max(0.0, figure["value"] - figure["interval"][0]) for figure in figures]
        above = [max(0.0, figure["interval"][1] - figure["value"]) for figure in figures]
        axes.errorbar(places, values, yerr=[below, above], label=run, linestyle="none", capsize=2, markersize=4,
                      elinewidth=1, color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)])
    axes.set_xticks(range(len(degrees)), [label for label, _ in degrees])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw(runs, metrics, domains, out):
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 3.6 * len(domains), 0.9 + 2.3 * len(metrics)))
    panels = figure.subplots(len(metrics), len(domains), squeeze=False)
    for row, metric in zip(panels, metrics):
        for axes, (domain, degrees) in zip(row, domains.items()):
            draw_panel(axes, degrees, metric, runs)
        row[0].set_ylabel(metric)
    for axes, domain in zip(panels[0], domains):
        axes.set_title(domain)
    for axes in panels[-1]:
        axes.set_xlabel("training interactions of the item")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=min(len(runs), 4), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 * -(-len(runs) // 4) / figure.get_figheight()))
    unfinished = f"{out}.unfinished"
    try:
        figure.savefig(unfinished, format="svg", metadata={"Date": None, "Creator": f"matplotlib {matplotlib.__version__}"})
        os.replace(unfinished, out)
    except OSError as error:
        raise Refused(4, f"{out}: {error.strerror}") from error


def main(arguments):
    if len(arguments) != 2 or any(argument.startswith("-") for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    try:
        draw(*read(arguments[0]), arguments[1])
    except Refused as refused:
        print(f"plot_comparison.py: {refused}", file=sys.stderr)
        return refused.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
