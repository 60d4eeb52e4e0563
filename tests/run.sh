#!/usr/bin/env bash
# From a fresh machine to a passed test suite.
#
#   tests/run.sh [CTEST OPTION...]     "-L unit" runs the fast ones, "-R cluster" those of one name
#
# See launcher/setup.sh for the variables it understands.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

launcher/setup.sh || exit

# Tests use a few threads each, so half as many at once as there are cores.
jobs=$(($(nproc) / 2))
[[ $jobs -ge 1 ]] || jobs=1
results=build/tests/results.xml
rm -f "$results"
ctest --test-dir build --output-on-failure --no-tests=error -j "$jobs" --output-junit "$PWD/$results" "$@"
code=$?

python3 - "$results" build/Testing/Temporary/LastTest.log <<'PYTHON'
import re, sys
import xml.etree.ElementTree as xml

try:
    entries = xml.parse(sys.argv[1]).getroot().findall("testcase")
except (OSError, xml.ParseError):
    sys.exit("Tests: none ran")
failed = [entry.get("name") for entry in entries if entry.find("failure") is not None]
skipped = [entry.get("name") for entry in entries if entry.find("skipped") is not None]
failed += [entry.get("name") for entry in entries
           if entry.get("status") == "fail" and entry.get("name") not in failed]
with open(sys.argv[2], errors="replace") as log:
    cases = sorted(set(re.findall(r"\[  SKIPPED \] (\S+) \(\d+ ms\)", log.read())))
passed = len(entries) - len(failed) - len(skipped)
print(f"\nTests: {passed} passed, {len(failed)} failed, {len(skipped)} skipped; "
      f"cases skipped within passed tests: {len(cases)}")
for title, names in (("failed", failed), ("skipped", skipped), ("case skipped", cases)):
    for name in names:
        print(f"  {title}: {name}")
PYTHON
exit "$code"
