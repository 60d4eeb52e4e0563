#!/usr/bin/env bash
# Fuzzes one reader, or lists them.
#
#   tests/fuzz/run.sh                          the readers
#   tests/fuzz/run.sh READER SECONDS [FLAG...] builds fuzz_READER and runs it on its seeds; FLAGs are libFuzzer's
#
# What covers new code is kept in build-fuzz/corpus/READER, for the next run. The first input that breaks the reader
# ends the run with exit code 1 and lies in build-fuzz/found/READER. Fix the cause, then keep the input as
# tests/fuzz/seeds/READER/found-WHAT: test_fuzz reads it in every build from then on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $# -lt 2 ]]; then
  printf 'usage: tests/fuzz/run.sh READER SECONDS [FLAG...]; the readers are:\n' >&2
  ls tests/fuzz/seeds >&2
  exit 2
fi
reader=$1
seconds=$2
shift 2
[[ -d "tests/fuzz/seeds/$reader" ]] || { printf 'there is no reader %s; there are:\n' "$reader" >&2; ls tests/fuzz/seeds >&2; exit 2; }

[[ -f build-fuzz/build.ninja ]] || cmake --preset fuzz --log-level=WARNING >&2
ninja -C build-fuzz "fuzz_$reader" >&2
corpus="build-fuzz/corpus/$reader"
found="build-fuzz/found/$reader"
mkdir -p "$corpus" "$found"

most_bytes=4096  # a file of some records
case "$reader" in
  features|dataset|shard) most_bytes=131072 ;;  # HDF5
esac
dictionary="tests/fuzz/dictionaries/$reader.txt"
[[ ! -f "$dictionary" ]] || set -- -dict="$dictionary" "$@"

# Files in memory where there is such a file system. A reader may ask for memory that it never touches (HDF5 does for
# a chunk whose size is a lie), so the limit is on what is used.
[[ ! -w /dev/shm ]] || export TMPDIR=/dev/shm
export ASAN_OPTIONS="strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=1:detect_leaks=1"
export LSAN_OPTIONS="suppressions=$PWD/tests/sanitizers/leak.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
export OMP_NUM_THREADS=1
exec "build-fuzz/fuzz/fuzz_$reader" "$corpus" "tests/fuzz/seeds/$reader" -max_total_time="$seconds" -max_len="$most_bytes" \
  -rss_limit_mb=2048 -malloc_limit_mb=16384 -timeout=10 -artifact_prefix="$found/" -print_final_stats=1 -print_funcs=0 "$@"
