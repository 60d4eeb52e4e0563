#!/usr/bin/env python3
"""Kills a server at random instants while it is told of events and new items, and fills its disk.

    serve_test.py PROGRAM ["MPIEXEC"] [--kills=12] [--seed=N] [--all]

Clients send events and new items and note which were acknowledged; SIGKILL hits the server at an instant of that, or of the
model being made again with the items. The one that is started on the same log must know all that was acknowledged, and
nothing twice. Then a server whose files may not grow
further refuses events and goes on with the rest. --all: 200 kills.
"""

import argparse
import http.client
import json
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "serve"))
from serving import Server, World, programs  # noqa: E402

CLIENTS = 4


class Sender(threading.Thread):
    """Sends new events, one request after the other, until the server is gone."""

    def __init__(self, server, name, domain, items):
        super().__init__()
        self.client = server.client()
        self.name_, self.domain, self.items = name, domain, items
        self.sent, self.acknowledged = [], []

    def run(self):
        for number in range(1_000_000):
            events = [{"domain": self.domain, "user": f"{self.name_}.{number}", "item": item}
                      for item in random.Random(number).sample(self.items, 3)]
            told = {"events": events}
            if number % 20 == 0:  # an item that nobody has told of, and somebody who met it
                item = {"domain": self.domain, "item": f"item.{self.name_}.{number}", "features": {"text": [number / 7] * 6}}
                told["items"] = [item]
                events.append({"domain": self.domain, "user": f"{self.name_}.{number}", "item": item["item"]})
            self.sent.append(told)
            try:
                status, answer = self.client.ask("/observe", told)
            except (OSError, http.client.HTTPException):
                return
            if status != 200:
                return
            assert answer["added"] == len(events) and answer["added_items"] == len(told.get("items", [])), answer
            self.acknowledged.append(told)


def as_set(told):
    """Events and items of requests."""
    events = {(event["domain"], event["user"], event["item"]) for one in told for event in one["events"]}
    return events | {(item["domain"], item["item"]) for one in told for item in one.get("items", [])}


def read_log(path):
    """The events and items of all whole lines, in order."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        commit = json.loads(line.split(" ", 1)[1])
        kept += [tuple(event) for event in commit["events"]]
        kept += [(item["domain"], item["item"]) for item in commit.get("items", [])]
    return kept


def kill_again_and_again(world, options):
    chance = random.Random(options.seed)
    domain, keys = next(iter(world.domains().items()))
    log = world.folder / "killed.log"
    acknowledged, sent, torn = set(), set(), 0
    server = Server(world, f"--log={log}")
    for kill in range(options.kills):
        senders = [Sender(server, f"{kill}.{n}", domain, keys["items"]) for n in range(CLIENTS)]
        for sender in senders:
            sender.start()
        time.sleep(chance.uniform(0.01, 0.25))
        server.kill()
        for sender in senders:
            sender.join()
            acknowledged |= as_set(sender.acknowledged)
            sent |= as_set(sender.sent)
        server = Server(world, f"--log={log}")
        torn += any("was not finished" in line for line in server.said)
        state = server.ask("/model")
        kept = read_log(log)
        assert len(kept) == len(set(kept)), "an event was kept twice"
        assert set(kept) <= sent, "events were kept that nobody sent"
        lost = acknowledged - set(kept)
        assert not lost, f"{len(lost)} events were acknowledged and lost, as {sorted(lost)[:3]}"
        events = sum(len(one) == 3 for one in kept)
        assert state[1]["observed_events"] == events, state
        assert state[1]["new_items"] + state[1]["waiting_items"] == len(kept) - events, state
    server.kill()
    print(f"{options.kills} kills, {len(acknowledged):,} events and items acknowledged, none lost, none twice; "
          f"{len(set(kept)) - len(acknowledged)} kept without an answer, {torn} last lines cut off")


def fill_the_disk(world):
    domain, keys = next(iter(world.domains().items()))
    log = world.folder / "full.log"
    with Server(world, f"--log={log}", file_bytes=4096) as server:
        refused = None
        for number in range(500):
            answer = server.ask("/observe", {"events": [{"domain": domain, "user": f"u{number}", "item": keys["items"][0]}]})
            if answer[0] != 200:
                refused = refused or (number, answer)
            else:
                assert refused is None or number - refused[0] < 5, "it took some again"
        assert refused and refused[1][0] == 507 and "error" in refused[1][1], refused
        assert server.ask("/recommend", {"user": "u0", "k": 3})[0] == 200
        assert server.ask("/ready")[0] == 200
        assert server.end() == 0
    with Server(world, f"--log={log}") as server:
        assert server.ask("/model")[1]["observed_events"] == refused[0], "refused events came back, or kept ones did not"
        assert server.ask("/observe", {"events": [{"domain": domain, "user": "late", "item": keys["items"][0]}]})[0] == 200
    print(f"a full disk: {refused[0]} events kept, then refused with {refused[1][0]}; lists went on")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("mpiexec", nargs="*", help="not used: a server is one process")
    parser.add_argument("--kills", type=int)
    programs.add_seed_options(parser)
    arguments = parser.parse_args()
    arguments.kills = arguments.kills or (200 if arguments.all else 12)
    print(f"seed {arguments.seed}")
    with World(arguments.program) as made:
        kill_again_and_again(made, arguments)
        fill_the_disk(made)
