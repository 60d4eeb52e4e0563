#!/usr/bin/env python3
"""Says in one line how a run of ctest went, and writes what was skipped, and why, into a file.

usage: verdict.py RESULTS.XML LASTTEST.LOG SKIPPED.TXT
"""

import re
import sys
import xml.etree.ElementTree as xml
from collections import Counter

OUTPUT = re.compile(r"^\d+/\d+ Testing: (\S+)$.*?^Output:\n-+\n(.*?)^<end of output>$", re.MULTILINE | re.DOTALL)
GTEST = re.compile(r"^\[  SKIPPED \] (\S+) \(\d+ ms\)$")
UNITTEST = re.compile(r"^(?:(\w+) \(.*\).*|.*)\.\.\. skipped ['\"](.*)['\"]$")


def cases_skipped(output):
    """{case: reason} of what GoogleTest and unittest say that they skipped. Ranks may say it each, and at once."""
    cases = {}
    reason = "no reason told"
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if line.endswith(": Skipped") and number + 1 < len(lines):
            reason = lines[number + 1].strip() or reason
        elif match := GTEST.match(line):
            cases.setdefault(match.group(1).rstrip(","), reason)
        elif match := UNITTEST.match(line):
            cases[match.group(1) or line.partition(" ... ")[0]] = match.group(2)
    return cases


def last_line(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason told"


def counted(reasons):
    return "; ".join(f"{reason}: {count}" for reason, count in Counter(reasons).most_common())


def main(results, log, list_path):
    try:
        entries = xml.parse(results).getroot().findall("testcase")
        with open(log, errors="replace") as file:
            outputs = dict(OUTPUT.findall(file.read()))
    except (OSError, xml.ParseError):
        print("Tests: none ran")
        return
    failed, tests, cases = [], {}, {}
    for entry in entries:
        name = entry.get("name")
        there = cases_skipped(outputs.get(name, ""))
        if entry.find("failure") is not None or entry.get("status") == "fail":
            failed.append(name)
        elif entry.find("skipped") is not None:
            tests[name] = next(iter(there.values()), None) or last_line(outputs.get(name, ""))
        cases.update({f"{name}: {case}": reason for case, reason in there.items()})
    passed = len(entries) - len(failed) - len(tests)
    with open(list_path, "w", encoding="utf-8") as file:
        file.writelines(f"test {name}: {reason}\n" for name, reason in sorted(tests.items()))
        file.writelines(f"case {name}: {reason}\n" for name, reason in sorted(cases.items()))
    parts = [f"{passed} passed", f"{len(failed)} failed" + (f" ({', '.join(failed)})" if failed else ""),
             f"{len(tests)} skipped" + (f" ({counted(tests.values())})" if tests else "")]
    if cases:
        parts.append(f"{len(cases)} cases within them skipped ({counted(cases.values())})")
    if tests or cases:
        parts.append(f"listed in {list_path}")
    print(f"\nTests: {', '.join(parts)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
