#!/usr/bin/env bash
# Makes the table of quality from nothing: models of micrec and of others on the same data, judged by the same rules.
#
#   tests/benchmarks/quality.sh DATA FEATURES OUT
#
# DATA      folder with food_kitchen/, beauty_toys/ (*.interactions.csv.gz) and gowalla/ (train.txt.gz, test.txt.gz)
# FEATURES  folder with {food,kitchen,beauty,toys}_text.h5, as launcher/encode_features.py makes them of the items' titles
# OUT       folder for everything; what is finished there is kept, so a run that was stopped goes on
#
# Every setting is chosen by NDCG@20 of the validation split over the grids below, with the first seed, and the test split
# is looked at once, with the setting that was chosen. The published split of gowalla has no validation: a tenth of its
# training, drawn with a seed, serves for the choice, and the chosen setting is fitted on all. A row that cannot be made
# (no such package, no such flag) says why and the others go on.
#
# SETS="food_kitchen beauty_toys gowalla"   data sets, and food_kitchen_plain and beauty_toys_plain, without texts
# SEEDS="0 1 2 3 4"                         of micrec's rows; 0 by default
# ROWS="mf ease ..."                        rows alone         THREADS=N           of every fit; all cores by default
# MICREC=FILE                               another program    PYTHON=FILE         with quality_peers.requirements.txt
set -euo pipefail
[[ $# -eq 3 ]] || { sed -n '2,19s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 features=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
micrec=${MICREC:-$here/../../build/micrec}
threads=${THREADS:-$(nproc)}
read -ra seeds <<<"${SEEDS:-0}"
mkdir -p "$out"/{data,runs,results}

# --- Models of micrec: row, flags of every try, then what is varied; tries are divided by | ---

steps="--max_steps=360 --lr_decay --validate_every=0 --validate_every_steps=60"
ials_grid() {  # FLAGS: widths and weights of pairs, each with these flags
  local dim weight list=""
  for dim in 64 256 512; do
    for weight in 0.01 0.05; do list+="|--model=ials --dim=$dim --ials_weight=$weight$1"; done
  done
  echo "${list#|}"
}
grid() {  # ROW SET
  local low=0.01 high=0.02
  [[ $2 != gowalla* ]] || low=0.02 high=0.05  # its batches are six times as large
  case $1 in
    mf)              echo "--model=mf --lr=$low --l2=0.01|--model=mf --lr=$low --l2=0.001|--model=mf --lr=$high --l2=0.01" ;;
    lightgcn)        echo "--model=lightgcn --lr=$high --l2=0.001|--model=lightgcn --lr=$low --l2=0.001|--model=lightgcn --lr=$high --l2=0.0001" ;;
    inmo)            echo "--model=inmo --lr=$high --dropout=0.3|--model=inmo --lr=$low --dropout=0.3|--model=inmo --lr=$high --dropout=0.1" ;;
    micrec_off)      echo "--model=micrec --item_regression=off --lr=$low|--model=micrec --item_regression=off --lr=$high|--model=micrec --item_regression=off --lr=$low --dropout=0.1" ;;
    item_regression) echo "--model=item_regression" ;;
    ials)            ials_grid "" ;;
    ials_regression) ials_grid " --item_regression=auto" ;;
    micrec)          echo "--model=micrec --lr=$low|--model=micrec --lr=$high|--model=micrec --lr=$low --dropout=0.1" ;;
  esac
}
schedule() {  # ROW SET: of the models that take steps
  [[ $1 != item_regression && $1 != ials* ]] || return 0
  if [[ $2 == gowalla* ]]; then echo "--batch=auto $steps"; else echo "--batch=8192 $steps"; fi
}

# --- Data ---

prepare() {  # NAME, then the words of prepare
  local name=$1
  shift
  [[ -e $out/data/$name.h5 ]] || "$micrec" prepare --out="$out/data/$name.h5" "$@" 2>"$out/data/$name.log"
}

pair() {  # FIRST SECOND [plain]: with texts, or without
  local -a texts=("--features=text:$1=$features/$1_text.h5,text:$2=$features/$2_text.h5")
  [[ -z ${3:-} ]] || texts=()
  prepare "$1_$2${3:+_$3}" "${texts[@]}" \
    "$1=$data/$1_$2/$1.interactions.csv.gz" "$2=$data/$1_$2/$2.interactions.csv.gz"
}

lend_validation() {  # a tenth of the training of gowalla, drawn with a seed, in files of their own
  python3 - "$data/gowalla/train.txt.gz" "$out/data/gowalla_part.txt" "$out/data/gowalla_lent.txt" <<'PYTHON'
import gzip, random, sys
draw = random.Random(0)
with gzip.open(sys.argv[1], "rt") as file, open(sys.argv[2], "w") as train, open(sys.argv[3], "w") as valid:
    for line in file:
        user, *items = line.split()
        lent = {item for item in items if draw.random() < 0.1} if len(items) > 1 else set()
        if len(lent) == len(items):
            lent.pop()
        print(user, *(item for item in items if item not in lent), file=train)
        if lent:
            print(user, *(item for item in items if item in lent), file=valid)
PYTHON
}

dataset() {  # SET
  local -a names
  case $1 in
    food_kitchen | beauty_toys | food_kitchen_plain | beauty_toys_plain)
      IFS=_ read -ra names <<<"$1"
      pair "${names[@]}" ;;
    gowalla)
      prepare gowalla --split=files gowalla="$data/gowalla/train.txt.gz,$data/gowalla/test.txt.gz"
      if [[ ! -e $out/data/gowalla_choice.h5 ]]; then
        lend_validation
        prepare gowalla_choice --split=files \
          gowalla="$out/data/gowalla_part.txt,$out/data/gowalla_lent.txt,$data/gowalla/test.txt.gz"
      fi ;;
    *) echo "quality.sh: no data set $1; there are food_kitchen, beauty_toys, each with _plain, and gowalla" >&2; exit 2 ;;
  esac
}

# --- Rows ---

give_up() {  # SET ROW LOG: the last line of a log that says something is the reason
  grep -v '^ *$' "$3" | tail -n 1 >"$out/results/$1/$2.why"
  echo "$1 $2: could not be made: $(cat "$out/results/$1/$2.why")" >&2
}

fit() {  # SET RUN SEED FLAGS...: trains once and keeps the seconds that it took; returns 1 where it could not
  local set=$1 run=$out/runs/$2 seed=$3
  shift 3
  [[ -e $run.seconds ]] && return 0
  rm -rf "$run"
  local started=$EPOCHREALTIME
  "$micrec" train --dataset="$out/data/$set.h5" --run_dir="$run" --threads="$threads" --seed="$seed" "$@" 2>"$run.log" || return 1
  python3 -c 'import sys; print(float(sys.argv[2]) - float(sys.argv[1]))' "$started" "$EPOCHREALTIME" >"$run.seconds"
}

validation() {  # RUN
  [[ -e $out/runs/$1.valid.json ]] ||
    "$micrec" evaluate --run_dir="$out/runs/$1" --split=valid --k=20 --threads="$threads" --out="$out/runs/$1.valid.json" \
      >/dev/null 2>"$out/runs/$1.valid.log"
  python3 -c 'import json, sys; print("%.6f" % json.load(open(sys.argv[1]))["mean"]["ndcg@20"])' "$out/runs/$1.valid.json"
}

best_step() {  # RUN: as the number of steps of a fit that has no validation
  python3 - "$out/runs/$1" <<'PYTHON'
import json, pathlib, sys
lines = map(json.loads, (pathlib.Path(sys.argv[1]) / "metrics.jsonl").read_text().splitlines())
shown = [(line["mean"]["ndcg@20"], line["step"]) for line in lines if line["kind"] == "validation" and "mean" in line]
if shown and max(shown)[1] > 0:
    print(f"--max_steps={max(shown)[1]}")
PYTHON
}

chosen_regression() {  # RUN: ridge and weight that validation chose, as flags of a fit that has no validation
  python3 - "$out/runs/$1" <<'PYTHON'
import json, pathlib, re, sys
run = pathlib.Path(sys.argv[1])
ridge = re.search(r"^regression of .*: lambda ([0-9.]+)", run.with_suffix(".log").read_text(), re.M)
if ridge:
    print(f"--regression_lambda={ridge[1]}", end=" ")
lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
tried = [line["item_regression"] for line in lines if line["kind"] == "validation" and line["improved"] and line.get("item_regression")]
for weights in tried[-1].values() if tried else []:
    best = max(weights, key=lambda one: one["ndcg@20"])
    if best["weight"] != "alone":
        print(f"--regression_weight={best['weight']}")
PYTHON
}

own_row() {  # SET ROW
  local set=$1 row=$2 choice=$1 best="" chosen="" number=0 tries try seed run value
  [[ $set != gowalla ]] || choice=gowalla_choice
  IFS='|' read -ra tries <<<"$(grid "$row" "$set")"
  local -a fixed flags
  read -ra fixed <<<"$(schedule "$row" "$set")"
  for try in "${tries[@]}"; do
    run=$choice-$row-try$number-seed${seeds[0]}
    read -ra flags <<<"$try"
    fit "$choice" "$run" "${seeds[0]}" "${fixed[@]}" "${flags[@]}" || { give_up "$set" "$row" "$out/runs/$run.log"; return 0; }
    value=$(validation "$run")
    echo "$set $row: $try: valid ndcg@20 $value" >&2
    if [[ -z $best ]] || python3 -c "import sys; sys.exit(not $value > $best)"; then
      best=$value chosen=$number
    fi
    number=$((number + 1))
  done
  read -ra flags <<<"${tries[$chosen]}"
  local -a last=()
  if [[ $choice != "$set" ]]; then
    run=$choice-$row-try$chosen-seed${seeds[0]}
    read -ra last <<<"$(chosen_regression "$run") $(best_step "$run")"
  fi
  for seed in "${seeds[@]}"; do
    run=$set-$row-try$chosen-seed$seed
    [[ -e $out/results/$set/$row.$seed.h5 ]] && continue
    fit "$set" "$run" "$seed" "${fixed[@]}" "${flags[@]}" "${last[@]}" || { give_up "$set" "$row" "$out/runs/$run.log"; return 0; }
    "$micrec" evaluate --run_dir="$out/runs/$run" --split=test --threads="$threads" --per_user="$out/results/$set/$row.$seed.h5" \
      --out="$out/runs/$run.json" >/dev/null 2>"$out/runs/$run.evaluate.log"
    cp "$out/runs/$run.seconds" "$out/results/$set/$row.$seed.seconds"
  done
  printf '%s of %s' "${tries[$chosen]}" "${#tries[@]}" >"$out/results/$set/$row.setting"
  rm -f "$out/results/$set/$row.why"
}

peers_python() {  # an environment of their own, once; the packages that cannot be installed are missing in it
  [[ -z ${PYTHON:-} ]] || { echo "$PYTHON"; return; }
  local python=$out/python/bin/python
  if [[ ! -e $out/python.ready ]]; then
    python3 -m venv "$out/python"
    while read -r package; do
      "$python" -m pip install --quiet --disable-pip-version-check "$package" >>"$out/python.log" 2>&1 ||
        echo "$package could not be installed; see $out/python.log" >&2
    done < <(grep -v '^#' "$here/quality_peers.requirements.txt")
    touch "$out/python.ready"
  fi
  echo "$python"
}

peer_row() {  # SET ROW
  local set=$1 row=$2 file=$out/results/$1/$2.0.h5 log=$out/runs/$1-$2.log
  if "$(peers_python)" "$here/quality_peers.py" "$row" "$out/data/$set.h5" "$file" --threads="$threads" \
      >"$log" 2>&1; then
    rm -f "$out/results/$set/$row.why"
  else
    give_up "$set" "$row" "$log"
  fi
}

for set in ${SETS:-food_kitchen beauty_toys gowalla}; do
  mkdir -p "$out/results/$set"
  dataset "$set"
  for row in ${ROWS:-mf lightgcn inmo micrec_off item_regression ials ials_regression micrec ease sansa als}; do
    case $row in
      ease | sansa | als) [[ -e $out/results/$set/$row.0.h5 ]] || peer_row "$set" "$row" ;;
      mf | lightgcn | inmo | micrec_off | item_regression | ials | ials_regression | micrec) own_row "$set" "$row" ;;
      *) echo "quality.sh: no row $row" >&2; exit 2 ;;
    esac
  done
  "$(peers_python)" "$here/quality_table.py" "$out/results/$set"
done
