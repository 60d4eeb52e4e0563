#!/usr/bin/env bash
# How much faster two ranks of one thread train than one rank of one thread, on gowalla.
#
#   tests/benchmarks/two_ranks.sh DATASET [PAIRS]
#
# DATASET   what `micrec prepare --split=files checkins=train.txt.gz,test.txt.gz` makes of gowalla
# PAIRS     runs at one and at two ranks, in turns, so that both see the same load; 5 by default
#
# Prints, for each pair and as the median over the pairs: the time of a step (the median of a run's log intervals) at
# either number of ranks and their ratio, which is the speed-up that users see on an idle machine of two cores; and the
# processor time of a step over all ranks (user + system, with what starting and evaluating cost taken off by a run of
# few steps) and 2 / its ratio, which is the speed-up that the work allows, and changes little with what else the
# machine does.
# STEPS=200 sets the steps of a run, MICREC=FILE another program than build/micrec, FLAGS="..." more flags of train.
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dataset=$1 pairs=${2:-5} steps=${STEPS:-200}
micrec=${MICREC:-$(cd "$(dirname "$0")/../.." && pwd)/build/micrec}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1
as_root=()
[[ $(id -u) -ne 0 ]] || as_root=(--allow-run-as-root)
read -ra more <<<"${FLAGS:-}"

train() {  # RUN RANKS STEPS -> processor seconds in RUN.cpu
  local run=$folder/$1
  TIMEFORMAT='%U %S'
  { time mpirun "${as_root[@]}" --oversubscribe -np "$2" "$micrec" train --dataset="$dataset" --run_dir="$run" \
      --model=lightgcn --batch=2048 --max_steps="$3" --validate_every=0 --log_every=10 --save_every_minutes=0 \
      --threads=1 "${more[@]}" >/dev/null 2>"$run.log"; } 2>"$run.cpu" || { cat "$run.log" >&2; exit 1; }
}

few=20
for ranks in 1 2; do train "few.$ranks" "$ranks" "$few"; done
for ((pair = 1; pair <= pairs; ++pair)); do
  for ranks in 1 2; do train "$pair.$ranks" "$ranks" "$steps"; done
done

python3 - "$folder" "$pairs" "$steps" "$few" <<'PY'
import json
import sys
from pathlib import Path
from statistics import median

folder, pairs, steps, few = Path(sys.argv[1]), *map(int, sys.argv[2:])


def step_seconds(run):
    lines = map(json.loads, (folder / run / "metrics.jsonl").open())
    times = [line["seconds"] / 10 for line in lines if line["kind"] == "step"]
    return median(times[1:])  # the first pays for memory and files seen for the first time


def processor_seconds(run):
    return sum(map(float, (folder / f"{run}.cpu").read_text().split()))


rows = []
print("pair   ms a step: 1 rank  2 ranks  speed-up    processor ms: 1 rank  2 ranks  speed-up allowed")
for pair in range(1, pairs + 1):
    one, two = (step_seconds(f"{pair}.{ranks}") for ranks in (1, 2))
    work_one, work_two = ((processor_seconds(f"{pair}.{ranks}") - processor_seconds(f"few.{ranks}")) / (steps - few)
                          for ranks in (1, 2))
    rows.append((1e3 * one, 1e3 * two, one / two, 1e3 * work_one, 1e3 * work_two, 2 * work_one / work_two))
    print("{:4d}   {:17.1f}  {:7.1f}  {:8.2f}    {:20.1f}  {:7.1f}  {:16.2f}".format(pair, *rows[-1]))
print("median {:17.1f}  {:7.1f}  {:8.2f}    {:20.1f}  {:7.1f}  {:16.2f}".format(*map(median, zip(*rows))))
PY
