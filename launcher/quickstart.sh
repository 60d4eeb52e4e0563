#!/usr/bin/env bash
# From a fresh machine to a trained and evaluated recommender on made-up data: sets up and builds (launcher/setup.sh), then
# makes a small dataset, trains on 2 ranks, evaluates, recommends and exports. Everything it writes is in runs/quickstart/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS

step() { printf '\n== %s\n' "$*" >&2; }
show() {
  printf '   $ %s\n' "$*" >&2
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
show "${ranks[@]}" build/micrec train --dataset=$folder/sample.h5 --run_dir=$folder/run --epochs=5 --lr=0.01

step "4/6  Evaluating: ranking all items for every user, against interactions that training never saw"
show "${ranks[@]}" build/micrec evaluate --run_dir=$folder/run --split=test --k=20 --out=$folder/metrics.json >/dev/null

step "5/6  Recommending"
show build/micrec recommend --run_dir=$folder/run --k=5 --out=$folder/recommended.csv
head -n 4 $folder/recommended.csv | sed 's/^/     /'

step "6/6  Exporting embeddings"
show build/micrec export --run_dir=$folder/run --out=$folder/embeddings.h5

step "What came out"
python3 - "$folder/metrics.json" <<'PYTHON'
import json
import sys

with open(sys.argv[1]) as file:
    domains = json.load(file)["domains"]
for name, domain in sorted(domains.items()):
    values = domain["slices"]["all"]
    items = domain["candidates"]
    print(f"   {name}: of what {values['users']:,} users chose later, {values['recall@20']:.0%} is among the 20 items "
          f"that the model ranks first\n   for each of them (Recall@20); 20 items drawn from {items:,} by chance would "
          f"hold {20 / items:.0%}.\n   NDCG@20 is {values['ndcg@20']:.3f}: 1 if all of it stood at the top, 0 if none "
          "were in the list.")
PYTHON

cat <<TEXT

   $folder/sample.h5        the dataset; look at it with build/micrec inspect $folder/sample.h5
   $folder/run/             the run: configuration, metrics and checkpoints; build/micrec inspect $folder/run
   $folder/metrics.json     the evaluation
   $folder/recommended.csv  five items of each domain for each of its users
   $folder/embeddings.h5    a row a user and item, and the item regression; docs/formats.md scores a pair

   All in $((SECONDS - started)) seconds.

   Next
     your own data     build/micrec prepare --out=mine.h5 books=books.csv films=films.csv
                       (columns user_id,item_id and, if there is one, timestamp)
     train longer      mpirun -np 2 build/micrec train --dataset=mine.h5 --run_dir=runs/mine
     all flags         build/micrec help train
TEXT
