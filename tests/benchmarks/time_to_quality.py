#!/usr/bin/env python3
"""How long a run takes to nearly all of its quality as the data grows: processor seconds from the start of the command to the first
validation of at least 98% of the best, and the exponent of that time against the number of interactions.

    time_to_quality.py PROGRAM FOLDER MILLIONS... [--train="FLAGS"] [--share=0.98] [--users=20000] [--threads=N]

MILLIONS: of interactions, in worlds as scale.py makes them, whose degrees and tastes are the same at any size. Every run takes --batch=auto and its
learning rate, so an epoch has 16 steps, and is validated on --users of a domain. Processor seconds are those that the process has used when the line of a
validation is in its metrics, so what else the machine does changes them little. Prints a table; FOLDER keeps worlds and finished runs.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import time
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    """User and system time of a process and its threads until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def validations(metrics):
    """(step, metric) of every validation that is written."""
    if not metrics.exists():
        return []
    whole = metrics.read_text().rpartition("\n")[0].splitlines()
    lines = map(json.loads, whole)
    return [(line["step"], line["metric"]) for line in lines if line["kind"] == "validation"]


def followed(words, run, log):
    """Runs a training; a (step, metric, processor seconds) a validation."""
    shutil.rmtree(run, ignore_errors=True)
    seen = []
    with open(log, "w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out)
        while process.poll() is None:
            time.sleep(0.2)
            for step, metric in validations(run / "metrics.jsonl")[len(seen) :]:
                seen.append((step, metric, processor_seconds(process.pid)))
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))} failed; see {log}")
    return seen


def world(program, folder, millions, threads):
    data = folder / f"{millions:g}m.h5"
    if not data.exists():
        half = round(millions * 500_000)
        subprocess.run([program, "synth", f"--out={data}", "--domains=2", f"--users={round(half * 0.03)}", f"--items={round(half * 0.01)}",
                        f"--interactions={half}", "--overlap=0.5", "--modalities=text:64", "--missing=0.5", f"--threads={threads}"],
                       check=True, stderr=subprocess.DEVNULL)
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("millions", type=float, nargs="+")
    parser.add_argument("--train", default="--max_steps=96")
    parser.add_argument("--share", type=float, default=0.98)
    parser.add_argument("--users", type=int, default=20000)
    parser.add_argument("--every", type=int, default=8, help="steps between validations")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| million interactions | best ndcg@20 | steps to nearly all of it | processor seconds to it | exponent |\n|--:|--:|--:|--:|--:|", flush=True)
    before = None
    for millions in options.millions:
        kept = options.folder / f"{millions:g}m.quality.json"
        if not kept.exists():
            run = options.folder / f"{millions:g}m.quality"
            words = [options.program, "train", f"--dataset={world(options.program, options.folder, millions, options.threads)}",
                     f"--run_dir={run}", "--batch=auto", f"--validate_users={options.users}", f"--test_users={options.users}",
                     "--validate_every=0", f"--validate_every_steps={options.every}", "--save_every_epochs=0",
                     f"--threads={options.threads}", *options.train.split()]
            kept.write_text(json.dumps({"train": options.train, "validations": followed(words, run, kept.with_suffix(".log"))}))
        seen = json.loads(kept.read_text())["validations"]
        best = max(metric for _, metric, _ in seen)
        step, _, seconds = next(one for one in seen if one[1] >= options.share * best)
        exponent = "" if before is None else f"{math.log(seconds / before[1]) / math.log(millions / before[0]):.2f}"
        print(f"| {millions:g} | {best:.4f} | {step} | {seconds:.1f} | {exponent} |", flush=True)
        before = (millions, seconds)


if __name__ == "__main__":
    main()
