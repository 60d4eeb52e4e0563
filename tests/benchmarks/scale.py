#!/usr/bin/env python3
"""What each phase of a run costs as the data grows: seconds, seconds of the processor and memory, from a made-up world to its export.

    scale.py PROGRAM FOLDER MILLIONS... [--steps=200] [--users=20000] [--batch=65536] [--threads=N] [--train="FLAGS"]

MILLIONS: of interactions, in two domains of half of them each, with 20 and 100 interactions a user and an item before the repeated ones are
dropped, half of the people in both, texts of 64 columns for half of the items. Phases: synth, plan, a partition by METIS for 8 ranks,
training so many steps with all parts, with --users of a domain validated and tested, the same evaluation by itself, export. Prints a table a
size as it goes; work goes to FOLDER, where datasets and finished phases are kept.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path


def measured(words, log):
    """Runs a command; wall seconds, processor seconds and peak MiB of it and its children."""
    started = time.monotonic()
    with open(log, "w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(map(str, words))} failed; see {log}")
    return {"seconds": time.monotonic() - started, "processor": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}


def phases(program, folder, millions, options):
    half = millions * 500_000
    data, run = folder / f"{millions}m.h5", folder / f"{millions}m"
    threads = f"--threads={options.threads}"
    return {
        "synth": [program, "synth", f"--out={data}", "--domains=2", f"--users={round(half * 0.03)}", f"--items={round(half * 0.01)}",
                  f"--interactions={half}", "--overlap=0.5", "--modalities=text:64", "--missing=0.5", threads],
        "plan": [program, "plan", f"--dataset={data}", f"--batch={options.batch}", f"--out={folder / f'{millions}m.plan.json'}"],
        "partition": [program, "plan", f"--dataset={data}", f"--batch={options.batch}", "--ranks=8", "--grid=8x1", "--partition=metis",
                      f"--write_partition={folder / f'{millions}m.partition'}"],
        "train": [program, "train", f"--dataset={data}", f"--run_dir={run}", f"--max_steps={options.steps}", f"--batch={options.batch}",
                  "--lr=0.01", "--validate_every=0", "--save_every_epochs=0", f"--validate_users={options.users}",
                  f"--test_users={options.users}", threads, *options.train.split()],
        "evaluate": [program, "evaluate", f"--run_dir={run}", f"--most_users={options.users}", threads],
        "export": [program, "export", f"--run_dir={run}", f"--out={folder / f'{millions}m.embeddings.h5'}", threads],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("millions", type=int, nargs="+")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--users", type=int, default=20000)
    parser.add_argument("--batch", default="65536")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--train", default="")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| million interactions | phase | seconds | of the processor | MiB at most |\n|---|---|--:|--:|--:|", flush=True)
    for millions in options.millions:
        for phase, words in phases(options.program, options.folder, millions, options).items():
            kept = options.folder / f"{millions}m.{phase}.json"
            if not kept.exists():
                if phase == "train":
                    subprocess.run(["rm", "-rf", options.folder / f"{millions}m"], check=True)
                kept.write_text(json.dumps(measured(words, kept.with_suffix(".log"))))
            cost = json.loads(kept.read_text())
            print(f"| {millions} | {phase} | {cost['seconds']:.1f} | {cost['processor']:.1f} | {cost['mib']:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
