#!/usr/bin/env bash
# From a fresh machine to a passed test suite.
#
#   tests/run.sh [--all] [CTEST OPTION...]     "-L unit" runs the fast ones, "-R cluster" those of one name
#
# With --all the tests that draw seeds draw new ones, which they print, and take every place and more time; without, a
# run is the same each time. A test alone does so with MICREC_TEST_ALL=1 in its environment.
#
# See launcher/setup.sh for the variables it understands.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

options=()
for word in "$@"; do
  if [[ $word == --all ]]; then export MICREC_TEST_ALL=1; else options+=("$word"); fi
done

launcher/setup.sh || exit

results=build/tests/results.xml
rm -f "$results"
# A test of several processes says how many cores it takes, so that it does not share them.
ctest --test-dir build --output-on-failure --no-tests=error -j "$(nproc)" --output-junit "$PWD/$results" \
  ${options[@]+"${options[@]}"}
code=$?

python3 tests/verdict.py "$results" build/Testing/Temporary/LastTest.log build/tests/skipped.txt
exit "$code"
