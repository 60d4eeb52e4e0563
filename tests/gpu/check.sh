#!/usr/bin/env bash
# Everything that the first quarter of an hour on a GPU must answer, in less than 8 minutes on one large GPU with 16 cores.
#
#   tests/gpu/check.sh [BUNDLE] [--out=FOLDER] [--gowalla=FOLDER] [--seconds=480] [--rehearse]
#
# BUNDLE      the unpacked folder of launcher/bundle.sh, or a build folder; by default the one that this script lies in
# --out       for table.txt (what was seen), check.log (all that the steps printed) and a dated file of measurements;
#             gpu-check/ by default
# --gowalla   a folder with train.txt and test.txt, or .gz, as LightGCN publishes them; without it a made-up graph of its size
# --seconds   when to begin no more steps
# --rehearse  without a GPU: does on the CPU, with small data, what of the steps a CPU can do, to test this script
#
# Each step has a time limit of its own, and one that fails hides no other. Without a GPU most are skipped, and counted.
# Exit code 0: nothing failed; 1: something did; 2: wrong usage.
# PYTHON=PROGRAM  the python3 that has torch; nothing else is needed of it.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/check.py" "$@"
