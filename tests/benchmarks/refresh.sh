#!/usr/bin/env bash
# Refreshes a run with the last tenth of the time, beside a run that is trained from nothing on all of it.
#
#   tests/benchmarks/refresh.sh OUT DOMAIN=INTERACTIONS.csv.gz:TEXT.h5 [DOMAIN=...]
#
# OUT gets the datasets and runs; a run that has finished is not repeated. A base is prepared of the first nine tenths of all
# interactions by time (where the times are positions in a person's history, of each history), and trained for 360 steps; the rest is appended, and on that dataset two runs are trained: one from nothing
# for 360 steps, one by --init_from for each of STEPS (default "36"). Printed are the test metrics of each run on the new dataset.
# THREADS=N sets the threads; MICREC=FILE uses another program than build/micrec.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
out=$1
shift
micrec=${MICREC:-$(cd "$(dirname "$0")/../.." && pwd)/build/micrec}
mkdir -p "$out"

python3 - "$out" "$@" <<'PYTHON'
import csv, gzip, random, sys
from collections import defaultdict
from pathlib import Path
out = Path(sys.argv[1])
rows = {}
for argument in sys.argv[2:]:
    domain, files = argument.split("=", 1)
    with gzip.open(files.rsplit(":", 1)[0], "rt", encoding="utf-8") as file:
        rows[domain] = list(csv.DictReader(file))
times = sorted(float(row["timestamp"]) for of in rows.values() for row in of)
cut = defaultdict(lambda: times[len(times) * 9 // 10])
if times[-1] < 1e6:  # positions: the tenth of each history, rounded up or down at random
    draw = random.Random(0)
    for domain, of in rows.items():
        histories = defaultdict(list)
        for row in of:
            histories[domain, row["user_id"]].append(float(row["timestamp"]))
        for who, history in histories.items():
            history.sort()
            cut[who] = (history + [float("inf")])[-1 - int(len(history) / 10 + draw.random())]
for domain, of in rows.items():
    for name in ("base", "later"):
        with open(out / f"{domain}_{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, of[0].keys())
            writer.writeheader()
            writer.writerows(row for row in of if (float(row["timestamp"]) < cut[domain, row["user_id"]]) == (name == "base"))
PYTHON

base=() later=() features=
for argument in "$@"; do
  domain=${argument%%=*}
  base+=("$domain=$out/${domain}_base.csv")
  later+=("$domain=$out/${domain}_later.csv")
  features+="${features:+,}text:$domain=${argument##*:}"
done
[[ -e $out/base.h5 ]] || "$micrec" prepare --out="$out/base.h5" --features="$features" "${base[@]}" 2>"$out/base.log"
[[ -e $out/all.h5 ]] ||
  "$micrec" prepare --append="$out/base.h5" --out="$out/all.h5" --features="$features" "${later[@]}" 2>"$out/all.log"

train() {  # NAME DATASET STEPS FLAGS...
  local name=$1 dataset=$2 steps=$3
  shift 3
  [[ -e $out/$name.done ]] || {
    rm -rf "${out:?}/$name"
    "$micrec" train --dataset="$out/$dataset.h5" --run_dir="$out/$name" --batch=8192 --lr=0.01 --max_steps="$steps" --lr_decay \
      --validate_every=0 --validate_every_steps=$((steps < 60 ? steps / 3 : 60)) --threads="${THREADS:-0}" "$@" 2>"$out/$name.log"
    touch "$out/$name.done"
  }
  python3 - "$name" "$out/$name/metrics.jsonl" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
test = [line for line in lines if line["kind"] == "test"][-1]
by_domain = {name: domain["slices"]["all"]["ndcg@20"] for name, domain in test["domains"].items()}
print(f"{sys.argv[1]:24} ndcg@20 {test['mean']['ndcg@20']:.4f} ",
      "  ".join(f"{name} {value:.4f}" for name, value in by_domain.items()))
PYTHON
}

train base base 360
train from_nothing all 360
for steps in ${STEPS:-36}; do train "refreshed_$steps" all "$steps" --init_from="$out/base"; done
