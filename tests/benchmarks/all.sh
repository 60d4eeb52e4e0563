#!/usr/bin/env bash
# Every figure of speed that README.md and docs/speed.md claim, measured again beside a peer or a limit of this machine.
#
#   tests/benchmarks/all.sh DATA OUT [PART...]
#
# DATA   folder with gowalla/ (train.txt.gz, test.txt.gz)
# OUT    folder for datasets and runs, and for the page: OUT/YYYY-MM-DD.md, which begins with the hardware and versions
# PART   of: kernels propagation contrastive ranking epochs ranks factors saving preparing neighbours fit serving scaling;
#        all of them unless given. One that cannot be measured here says why and the others go on.
#
#   kernels      the sum over neighbours beside LibTorch's products and the memory's speed
#   propagation  a propagation over two ranks, and what it sends
#   contrastive  the contrastive loss beside tiles of LibTorch's products
#   ranking      exact ranks and the best items beside LibTorch's product and topk
#   epochs       LightGCN, INMO and matrix factorization beside PyTorch Geometric, RecBole and torch.sparse
#   ranks        two ranks of one thread beside one
#   factors      an epoch of implicit ALS beside implicit's
#   saving       a checkpoint beside a copy in memory and dd
#   preparing    a CSV file into a dataset, beside a mere read
#   neighbours   nearest items by features, approximately beside exactly
#   fit          item regression from 1 to 20 million interactions, and the exponent of its time
#   serving      lists over HTTP beside recommend's
#   scaling      what the plan says of a billion interactions
#
# THREADS=N (2), ROUNDS=N (5) of medians, BUILD=FOLDER (build), PYTHON=FILE with epoch_peers.requirements.txt and
# quality_peers.requirements.txt. An hour on two cores that do nothing else; a loaded machine spoils milliseconds, and the
# page has the load at the start of each part.
set -uo pipefail
[[ $# -ge 2 ]] || { sed -n '2,30s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${BUILD:-$root/build}" && pwd) || exit 2
micrec=$build/micrec
threads=${THREADS:-2} rounds=${ROUNDS:-5} python=${PYTHON:-python3}
all=(kernels propagation contrastive ranking epochs ranks factors saving preparing neighbours fit serving scaling)
parts=("$@")
[[ $# -gt 0 ]] || parts=("${all[@]}")
for part in "${parts[@]}"; do
  [[ " ${all[*]} " == *" $part "* ]] || { echo "all.sh: no part $part; there are ${all[*]}" >&2; exit 2; }
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
page=$out/$(date +%F).md
as_root=()
[[ $(id -u) -ne 0 ]] || as_root=(--allow-run-as-root)

built() {  # TARGET
  ninja -C "$build" "$1" >"$out/build.log" 2>&1 || { tail -n 5 "$out/build.log"; return 1; }
}

gowalla() {  # the published split, prepared once
  [[ -e $out/gowalla.h5 ]] ||
    "$micrec" prepare --split=files --out="$out/gowalla.h5" gowalla="$data/gowalla/train.txt.gz,$data/gowalla/test.txt.gz" 2>"$out/gowalla.log"
}

world() {  # MILLIONS: of interactions, twenty a person and as many items as people
  local nodes=$(($1 * 50000))
  [[ -e $out/$1m.h5 ]] ||
    "$micrec" synth --domains=1 --users="$nodes" --items="$nodes" --interactions=$(($1 * 1000000)) --modalities= --out="$out/$1m.h5" 2>"$out/$1m.log"
}

fit() {
  local size measured seconds before=""
  for size in 1 5 20; do
    world "$size" || return
    measured=$("$build/benchmark_item_regression" "$out/${size}m.h5" 1 | tail -n 1) || return
    seconds=$(awk -F, '{ print $3 + $4 }' <<<"$measured")
    echo "$size million interactions: $seconds seconds of the processor, at most $(cut -d , -f 5 <<<"$measured") MiB"
    [[ -n $before ]] || before="$size $seconds"
    [[ $size == 1 ]] || awk -v a="$before" -v n="$size" -v s="$seconds" 'BEGIN { split(a, first); printf "  exponent from %d million: %.2f\n", first[1], log(s / first[2]) / log(n / first[1]) }'
  done
}
serving() {
  gowalla || return
  [[ -e $out/served/checkpoints ]] ||
    "$micrec" train --model=item_regression --dataset="$out/gowalla.h5" --run_dir="$out/served" --threads="$threads" --regression_lambda=60 \
      >"$out/served.log" 2>&1 || { tail -n 3 "$out/served.log"; return 1; }
  "$python" "$here/serving.py" "$micrec" "$out/served" --threads=1
}

measure() {  # PART
  case $1 in
    kernels) built benchmark_graph && "$build/benchmark_graph" "$threads" 64 ;;
    propagation)
      built benchmark_propagation &&
        OMP_NUM_THREADS=1 mpirun "${as_root[@]}" --oversubscribe -np 2 "$build/benchmark_propagation" ;;
    contrastive) built benchmark_contrastive && OMP_WAIT_POLICY=passive "$build/benchmark_contrastive" compare 7144 0 1 "$threads" ;;
    ranking) built benchmark_ranking && "$build/benchmark_ranking" "$threads" ;;
    epochs) gowalla && "$python" -W ignore "$here/epoch_peers.py" "$micrec" "$out/gowalla.h5" --threads="$threads" --rounds="$rounds" ;;
    ranks) gowalla && MICREC=$micrec "$here/two_ranks.sh" "$out/gowalla.h5" "$rounds" ;;
    factors) gowalla && "$python" -W ignore "$here/factor_peers.py" "$micrec" "$out/gowalla.h5" --threads="$threads" --rounds="$rounds" ;;
    saving) built benchmark_checkpoints && "$build/benchmark_checkpoints" "$out" ;;
    preparing) built benchmark_preparing && "$build/benchmark_preparing" "$out" 10 1 ;;
    neighbours)
      built benchmark_nearest_items && "$build/benchmark_nearest_items" approximate 1 10000 50000 100000 &&
        "$build/benchmark_nearest_items" exact 1 10000 50000 ;;
    fit) built benchmark_item_regression && fit ;;
    serving) serving ;;
    scaling)
      built benchmark_scaling && "$build/benchmark_scaling" 400000 "$out/scaling.csv" &&
        "$python" "$here/scaling.py" "$out/scaling.csv" "$out/scaling.svg" ;;
  esac
}

{
  echo "# micrec measured on $(date +%F)"
  echo
  echo "- $("$micrec" --version | head -n 1), $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo 'no git')"
  "$micrec" --version | sed -n '2,$s/^ */- /p'
  echo "- processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $threads threads"
  awk '/^MemTotal/ { printf "- memory: %.1f GiB\n", $2 / 1048576 }' /proc/meminfo
  echo "- system: $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), kernel $(uname -r)"
  for package in torch torch_geometric recbole implicit numpy; do
    "$python" -c "import importlib.metadata as m; print('- $package', m.version('$package'))" 2>/dev/null || echo "- $package: not there"
  done
} >"$page"

failed=0
for part in "${parts[@]}"; do
  echo "all.sh: $part" >&2
  {
    printf '\n## %s\n\nload at the start: %s\n\n```\n' "$part" "$(cut -d ' ' -f 1-3 /proc/loadavg)"
    measure "$part" 2>&1 || { echo "could not be measured here"; failed=1; }
    echo '```'
  } >>"$page"
done
echo "$page"
exit "$failed"
