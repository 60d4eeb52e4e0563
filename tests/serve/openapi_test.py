#!/usr/bin/env python3
"""Holds a running server against its own description, openapi.json, by requests that schemathesis makes up, right ones and
wrong ones. The description is told which domains, people and items there are, so that right ones come far.

    openapi_test.py PROGRAM [--examples=25] [--seed=N]       exit code 77: there is no schemathesis
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from serving import Server, World, programs


def find_schemathesis():
    """That of this environment, or the one that launcher/setup.sh fetches where CI=true; or None."""
    name = (Path(__file__).resolve().parent / "requirements.txt").read_text().strip().replace("==", "-")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "micrec" / name / "bin"
    return shutil.which("schemathesis") or shutil.which("schemathesis", path=str(cache))


def describe(server, world):
    """The server's description, in a file, with the names that it knows."""
    description = server.ask("/openapi.json")[1]
    domains = world.domains()
    model = server.ask("/model")[1]

    def keys(known):
        return {"anyOf": [{"enum": known[:20]}, {"type": "string"}]}

    schemas = description["components"]["schemas"]
    schemas["KeysByDomain"] = {
        "type": "object", "additionalProperties": False,
        "properties": {name: {"type": "array", "items": keys(of["items"]), "maxItems": 20} for name, of in domains.items()}}
    event = schemas["ObserveRequest"]["properties"]["events"]["items"]["properties"]
    event["domain"]["enum"] = list(domains)
    event["item"] = keys([item for of in domains.values() for item in of["items"][:10]])
    for name in ("ListRequest", "ScoreRequest"):
        users = keys([user for of in domains.values() for user in of["users"][:10]])
        schemas[name]["properties"]["user"] = {"anyOf": [*users["anyOf"], {"type": "null"}]}
    item = schemas["ObserveRequest"]["properties"]["items"]["items"]["properties"]
    item["domain"]["enum"] = list(domains)
    schemas["Features"] = {"type": "object", "additionalProperties": False, "properties": {
        "text": {**schemas["Features"]["additionalProperties"], "minItems": 6, "maxItems": 6}}}
    for name in ("ListRequest", "SimilarRequest"):
        schemas[name]["properties"]["where"]["enum"] = ["price < 20", "not (brand in ('a', \"b\")) or price is missing", None]
        schemas[name]["properties"]["at_most"]["enum"] = ["1:brand", "3:price", None]
        schemas[name]["properties"]["domains"]["items"]["enum"] = list(domains)
        schemas[name]["properties"]["k"]["maximum"] = model["limits"]["k"]
    for parameter in description["paths"]["/items"]["get"]["parameters"]:
        if parameter["name"] == "domain":
            parameter["schema"]["enum"] = list(domains)
        if parameter["name"] == "k":
            parameter["schema"]["maximum"] = model["limits"]["k"]
    path = world.folder / "openapi.json"
    path.write_text(json.dumps(description))
    return path


def write_attributes(world):
    """The flag's value: tables of all domains."""
    files = []
    for name, of in world.domains().items():
        path = world.folder / f"{name}.csv"
        path.write_text("item_id,price,brand\n" + "".join(f"{item},{n},{'ab'[n % 2]}\n" for n, item in enumerate(of["items"])))
        files.append(f"{name}={path}")
    return ",".join(files)


def check(program, options):
    with World(program) as world, Server(world, f"--attributes={write_attributes(world)}") as server:
        done = programs.call(
            find_schemathesis(), "run", str(describe(server, world)), f"--url=http://127.0.0.1:{server.port}",
            f"--max-examples={options.examples}", f"--seed={options.seed}", "--checks=all", "--mode=all", "--no-color",
            "--generation-database=none", "--suppress-health-check=all",
            # Tokens are optional here, and http_test.py has them. Items to compare must be known, which a schema cannot
            # say. Methods that httplib does not know are 400; http_test.py has those that are 405.
            "--exclude-checks=ignored_auth,positive_data_acceptance,unsupported_method",
            cwd=world.folder)
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
