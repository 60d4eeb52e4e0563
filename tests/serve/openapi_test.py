#!/usr/bin/env python3
"""Holds a running server against its own description, openapi.json, by requests that schemathesis makes up, right ones and
wrong ones.

    openapi_test.py PROGRAM [--examples=25] [--seed=N]       exit code 77: there is no schemathesis
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from serving import SECONDS, Server, World


def find_schemathesis():
    """That of this environment, or the one that launcher/setup.sh fetches where CI=true; or None."""
    name = (Path(__file__).resolve().parent / "requirements.txt").read_text().strip().replace("==", "-")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "micrec" / name / "bin"
    return shutil.which("schemathesis") or shutil.which("schemathesis", path=str(cache))


def check(program, options):
    with World(program) as world, Server(world) as server:
        done = subprocess.run(
            [find_schemathesis(), "run", f"http://127.0.0.1:{server.port}/openapi.json",
             f"--max-examples={options.examples}", f"--seed={options.seed}", "--checks=all", "--mode=all", "--no-color",
             "--generation-database=none", "--suppress-health-check=all",
             # Tokens are optional here, and http_test.py has them; what is refused by its form and what by its meaning
             # is one status.
             "--exclude-checks=ignored_auth,positive_data_acceptance"],
            timeout=SECONDS, cwd=world.folder, text=True, capture_output=True)
        print(done.stdout[-20000:])
        assert done.returncode == 0, f"schemathesis found something, see above\n{done.stderr[-4000:]}"
        assert server.ask("/ready")[0] == 200
        assert server.end() == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--examples", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if find_schemathesis() is None:
        print("there is no schemathesis on this machine")
        sys.exit(77)
    check(str(Path(arguments.program).resolve()), arguments)
