#!/usr/bin/env bash
# From a fresh machine to a trained and evaluated recommender on made-up data: sets up and builds (launcher/setup.sh), then
# makes a small dataset, trains on 2 ranks, evaluates, recommends and exports. Everything it writes is in runs/quickstart/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS

step() { printf '\n== %s\n' "$*"; }
show() {
  printf '   $ %s\n' "$*"
  "$@"
}

step "1/6  Setting up and building (minutes the first time, seconds afterwards)"
launcher/setup.sh micrec

folder=runs/quickstart
rm -rf "$folder"
mkdir -p "$folder"
# What the build was configured with, so that ranks start with the MPI that the program is linked to.
mpirun=$(sed -n 's/^MPIEXEC_EXECUTABLE:FILEPATH=//p' build/CMakeCache.txt)
ranks=("${mpirun:-mpirun}" -np 2)
if "${ranks[0]}" --version 2>/dev/null | grep -qE 'Open MPI|OpenRTE'; then
  ranks+=(--oversubscribe)                                   # also where there is one core
  [[ $(id -u) -ne 0 ]] || ranks+=(--allow-run-as-root)       # as in containers
  export OMPI_MCA_btl_vader_single_copy_mechanism=none       # often forbidden in containers
fi

step "2/6  Making a dataset: two domains whose items have text and image features, with people who are in both"
show build/micrec synth --out=$folder/sample.h5

step "3/6  Training on 2 ranks"
show "${ranks[@]}" build/micrec train --dataset=$folder/sample.h5 --run_dir=$folder/run --epochs=10 --lr=0.01

step "4/6  Evaluating: ranking all items for every user, against interactions that training never saw"
show "${ranks[@]}" build/micrec evaluate --run_dir=$folder/run --split=test --k=20 --out=$folder/metrics.json

step "5/6  Recommending"
show build/micrec recommend --run_dir=$folder/run --k=5 --out=$folder/recommended.csv
head -n 4 $folder/recommended.csv | sed 's/^/     /'

step "6/6  Exporting embeddings"
show build/micrec export --run_dir=$folder/run --out=$folder/embeddings.h5

step "What came out"
# The Python beside LibTorch has h5py; without it one comparison is left out.
python=$(sed -n 's/^MICREC_PYTHON:[A-Z]*=//p' build/CMakeCache.txt)
"${python:-python3}" - "$folder" <<'PYTHON'
import json
import sys

folder = sys.argv[1]
metrics = json.load(open(f"{folder}/metrics.json"))
items = {}
try:
    import h5py

    with h5py.File(f"{folder}/embeddings.h5") as file:
        for name, domain in file["domains"].items():
            items[name] = len(domain["items/key"])
except ImportError:
    pass
for name, domain in sorted(metrics["domains"].items()):
    values = domain["slices"]["all"]
    line = (f"{name}: of the items that {values['users']:,} users went on to choose, "
            f"{values['recall@20']:.0%} are among the 20 that the model ranks first for them (Recall@20")
    if name in items:
        line += f"; a random list of 20 out of {items[name]:,} would hold {20 / items[name]:.0%}"
    print(f"   {line}).")
    print(f"   {name}: NDCG@20 {values['ndcg@20']:.3f}: 1 would be all of them in the first places, 0 none at all.")
PYTHON

cat <<TEXT

   $folder/sample.h5          the dataset                       build/micrec inspect $folder/sample.h5
   $folder/run/               configuration, metrics, checkpoints  build/micrec inspect $folder/run
   $folder/metrics.json       the evaluation
   $folder/recommended.csv    five items for each user
   $folder/embeddings.h5      a row a user and item; the score of a pair is the dot product of its rows

   All in $((SECONDS - started)) seconds.

   Next
     your own data     build/micrec prepare --out=mine.h5 books=books.csv films=films.csv
                       (columns user_id,item_id and, if there is one, timestamp)
     train longer      mpirun -np 2 build/micrec train --dataset=mine.h5 --run_dir=runs/mine
     all flags         build/micrec help train
TEXT
