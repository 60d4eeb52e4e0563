#!/usr/bin/env python3
"""Sends a server random, wrong, huge, broken and unauthorised requests from many connections at once, while others ask right
ones: all of these must be answered, rightly, and the server's memory must stay what it is. Then the same while models come and go,
by SIGHUP and by new items: none may fail, and the last new item is served.

    load_test.py PROGRAM [--requests=3000] [--clients=8] [--seed=N] [--most_mib=30] [--all]

--all: 300,000 requests and a new seed. --most_mib: memory may grow by so much, in buffers of threads and of the allocator; under a
sanitizer it takes hundreds.
"""

import argparse
import http.client
import json
import random
import re
import signal
import socket
import threading
import time
from pathlib import Path

from serving import SECONDS, Server, World, programs

TOKEN = "a-secret-of-some-length"
STATUSES = {200, 400, 401, 404, 405, 413, 414, 415, 422, 429, 503}


def random_json(chance, depth=0):
    kind = chance.randrange(7 if depth < 4 else 5)
    if kind == 5:
        return [random_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return {chance.choice(["user", "k", "history", "domains", "items", "events", "q", "only_items", "exclude_items", "where",
                               "at_most", "min_degree", "why", "exclude", "features", "title", "domain", "\u00e9\u0000"]):
                random_json(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [None, chance.random() < 0.5, chance.uniform(-1e300, 1e300), chance.randrange(-2**63, 2**64),
            "".join(chr(chance.randrange(1, 0xd7ff)) for _ in range(chance.randrange(8)))][kind]


class Client(threading.Thread):
    """Sends its share of requests, mixed by chance; with new items among them the lists are not those that are expected."""

    def __init__(self, server, world, count, seed, expected, has_new_items):
        super().__init__()
        self.port, self.count, self.seed, self.chance = server.port, count, seed, random.Random(seed)
        self.has_new_items = has_new_items
        self.domains, self.expected = world.domains(), expected
        self.statuses, self.faults = {}, []

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body,
                               {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            if answer.status not in STATUSES or (answer.status != 200 and method != "HEAD" and list(json.loads(text)) != ["error"]):
                self.faults.append((method, path, answer.status, text[:200]))
            return answer.status, text
        except OSError:  # It may close while a huge request is still being sent.
            return None, b""
        finally:
            connection.close()

    def right(self):
        body = self.chance.choice(list(self.expected))
        status, text = self.ask("POST", "/recommend", body)
        if status == 200 and not self.has_new_items and text != self.expected[body]:
            self.faults.append(("another list", body, text[:200]))
        elif status not in (200, 503):
            self.faults.append(("a right request was refused", status, text[:200]))

    def observe(self):
        """Of people whose lists nobody asks for, and who come again."""
        domain = self.chance.choice(list(self.domains))
        events = [{"domain": domain, "user": f"bystander {self.chance.randrange(100)}",
                   "item": self.chance.choice(self.domains[domain]["items"])} for _ in range(3)]
        status, text = self.ask("POST", "/observe", json.dumps({"events": events}))
        if status not in (200, 503):
            self.faults.append(("events were refused", status, text[:200]))

    def new_item(self):
        """With features or without, and met or not."""
        domain, item = self.chance.choice(list(self.domains)), f"new {self.seed} {self.chance.randrange(3)}"
        told = {"domain": domain, "item": item, "title": "A thing", "features": {"text": [self.chance.gauss(0, 1) for _ in range(6)]}}
        if self.chance.random() < 0.3:
            del told["features"]
        events = [{"domain": domain, "user": f"bystander {self.chance.randrange(100)}", "item": item}
                  for _ in range(self.chance.randrange(3))]
        status, text = self.ask("POST", "/observe", json.dumps({"items": [told], "events": events}))
        if status not in (200, 503):
            self.faults.append(("a new item was refused", status, text[:200]))

    def wrong(self):
        path = self.chance.choice(["/recommend", "/score", "/similar", "/observe", "/items", "/model", "/x"])
        self.ask(self.chance.choice(["POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD"]), path,
                 json.dumps(random_json(self.chance)))

    def unauthorised(self):
        status, text = self.ask("POST", "/recommend", "{}", {"Authorization": self.chance.choice(["", "Bearer x", TOKEN])})
        if status not in (401, 503):
            self.faults.append(("no token, but", status, text[:200]))

    def huge(self):
        self.ask("POST", "/recommend", b" " * self.chance.randrange(1 << 20, 4 << 20))

    def broken(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
                head = (f"POST /recommend HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {self.chance.randrange(200)}\r\n\r\n").encode()
                connection.sendall(self.chance.choice([
                    head[:self.chance.randrange(1, len(head))], head + b"{", self.chance.randbytes(300), head * 3,
                    head.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX") + b"5\r\nabc"]))
                if self.chance.random() < 0.5:
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(100)
        except OSError:
            pass

    def run(self):
        kinds = [self.right] * 4 + [self.wrong] * 4 + [self.observe, self.unauthorised, self.broken, self.huge]
        kinds += [self.new_item] * self.has_new_items
        for _ in range(self.count):
            self.chance.choice(kinds)()


def memory_mib(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def send(server, world, count, options, seed, expected, has_new_items=False):
    clients = [Client(server, world, count // options.clients, seed + n, expected, has_new_items) for n in range(options.clients)]
    for client in clients:
        client.start()
    for client in clients:
        while client.is_alive():
            if has_new_items:
                server.process.send_signal(signal.SIGHUP)
            client.join(timeout=0.3)
    assert server.process.poll() is None, "the server has died\n" + "".join(server.said[-20:])
    faults = [fault for client in clients for fault in client.faults]
    assert not faults, f"{len(faults)} answers that are not as they should be, as {faults[:3]}"
    statuses = {}
    for client in clients:
        for status, number in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + number
    return dict(sorted(statuses.items()))


def wait_for_new_item(server, world):
    """Tells of an item, and returns when lists have it."""
    domain, of = next(iter(world.domains().items()))
    told = {"items": [{"domain": domain, "item": "the last"}], "events": [{"domain": domain, "user": of["users"][0], "item": "the last"}]}
    assert server.ask("/observe", told)[1]["added_items"] == 1
    until = time.monotonic() + SECONDS
    while not server.ask("/recommend", {"domains": [domain], "only_items": {domain: ["the last"]}})[1]["lists"][0]["items"]:
        assert time.monotonic() < until and server.process.poll() is None, "".join(server.said[-20:])
        time.sleep(0.05)


def right_requests(world):
    """Bodies of every kind of list, of the people with the first keys."""
    for name, of in world.domains().items():
        for n, user in enumerate(of["users"][:20]):
            more = [{}, {"why": 2}, {"min_degree": n % 7, "exclude": "none"}, {"where": f"price > {n} and brand != 'b'"},
                    {"domains": [name], "at_most": "2:brand", "only_items": {name: of["items"][:40]}, "why": 1}][n % 5]
            yield json.dumps({"user": user, "k": 5, **more})


def check(program, options):
    with World(program) as world:
        token = world.folder / "token"
        token.write_text(TOKEN)
        attributes = []
        for name, of in world.domains().items():
            path = world.folder / f"{name}.csv"
            path.write_text("item_id,price,brand\n" + "".join(f"{item},{n},{'abc'[n % 3]}\n" for n, item in enumerate(of["items"])))
            attributes.append(f"{name}={path}")
        with Server(world, f"--token_file={token}", "--timeout=2", "--connections=32",
                    f"--attributes={','.join(attributes)}", token=TOKEN) as server:
            expected = {}
            client = server.client()
            for body in right_requests(world):
                client.connection.request("POST", "/recommend", body, {**client.headers, "Content-Type": "application/json"})
                answer = client.connection.getresponse()
                expected[body] = answer.read()
                assert answer.status == 200, expected[body]
            client.close()
            send(server, world, options.requests, options, options.seed, expected)
            before = memory_mib(server)
            statuses = send(server, world, options.requests, options, options.seed + 1000, expected)
            after = memory_mib(server)
            assert after < before + options.most_mib, f"memory grew from {before:.0f} to {after:.0f} MiB"
            send(server, world, options.requests // 2, options, options.seed + 2000, expected, has_new_items=True)
            wait_for_new_item(server, world)
            said = "".join(server.said)
            assert "new items now" in said and "answers stay from" not in said, said[-2000:]
            assert server.ask("/ready")[0] == 200
            assert server.end() == 0
    print(f"{options.requests:,} requests and as many again, {statuses}; memory {before:.0f} MiB, then {after:.0f}; then half as many while "
          f"{said.count(' now')} models came")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--requests", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--most_mib", type=float, default=30)
    programs.add_seed_options(parser)
    arguments = parser.parse_args()
    arguments.requests = arguments.requests or (300_000 if arguments.all else 3000)
    print(f"seed {arguments.seed}")
    check(str(Path(arguments.program).resolve()), arguments)
