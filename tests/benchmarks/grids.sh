#!/usr/bin/env bash
# Trains the same run on six process grids and says how far their losses and results are apart.
#
#   tests/benchmarks/grids.sh DATASET OUT [FLAG...]
#
# OUT       folder for the runs, a folder a grid
# FLAG      more flags for train; with --reproducible all grids must give the same bits, and the exit code is 1 if they do not
#
# PYTHON    a Python with numpy and h5py, by default the one of the shared environment
# MICREC    the program, build/micrec by default
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dataset=$1 out=$2
shift 2
micrec=${MICREC:-$(cd "$(dirname "$0")/../.." && pwd)/build/micrec}
python=${PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/micrec/torch-2.11.0/bin/python3}
launch=(mpirun --oversubscribe)
[[ $(id -u) -ne 0 ]] || launch+=(--allow-run-as-root)
export OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1
mkdir -p "$out"

grids=(1x1 2x1 1x2 2x2 4x1 1x4)
for grid in "${grids[@]}"; do
  rm -rf "${out:?}/$grid"
  "${launch[@]}" -np $((${grid%x*} * ${grid#*x})) "$micrec" train --dataset="$dataset" --run_dir="$out/$grid" --grid="$grid" \
    --threads=1 --log_every=1 --validate_every=0 --save_every_epochs=0 --save_every_minutes=0 "$@" 2>"$out/$grid.log" ||
    { tail -n 5 "$out/$grid.log" >&2; exit 1; }
  "$micrec" export --run_dir="$out/$grid" --checkpoint=newest --out="$out/$grid.h5" >/dev/null 2>&1
done

"$python" - "$out" "$*" "${grids[@]}" <<'PYTHON'
import hashlib, json, sys
import h5py

out, flags, *grids = sys.argv[1:]
digests, losses = {}, {}
for grid in grids:
    sha = hashlib.sha256()
    with h5py.File(f"{out}/{grid}.h5") as file:
        for domain in sorted(file["domains"]):
            for side in ("users", "items"):
                sha.update(file[f"domains/{domain}/{side}/embedding"][:].tobytes())
    digests[grid] = sha.hexdigest()
    with open(f"{out}/{grid}/metrics.jsonl") as lines:
        losses[grid] = [line["loss"] for line in map(json.loads, lines) if line["kind"] == "step"]
    apart = max(abs(a - b) / abs(b) for a, b in zip(losses[grid], losses["1x1"], strict=True))
    print(f"{grid}  {len(losses[grid])} steps, loss {losses[grid][0]:.6f} to {losses[grid][-1]:.6f}, at most {apart:.1e} of it "
          f"from 1x1; embeddings {digests[grid]}")
sys.exit("--reproducible" in flags.split() and len(set(digests.values())) > 1)
PYTHON
