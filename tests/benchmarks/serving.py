#!/usr/bin/env python3
"""How long micrec serve takes for a list, and whether its lists are those of micrec recommend to the last digit.

    serving.py PROGRAM RUN_DIR [--people=1000] [--connections=1,16] [--k=20] [--threads=1] [--domain=NAME] [--seed=0] [--reloads=0]

People of the run's data set are sent as people that nobody knows, by their history of training in every domain; each asks
for the list of one domain (--domain: all lists of that one). recommend makes the same lists from files of the same
histories, in one call; its time is told beside.

--reloads=N measures N times each, while one client asks on and on: from SIGHUP to the first answer of a newer checkpoint, and from
/observe of a new item, with the features of an old one and an event, to the first list that has it.
"""

import argparse
import csv
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np


def read_histories(dataset, count, seed):
    """Histories of some people by domain: {key: {domain: [item keys]}}."""
    people = {}
    with h5py.File(dataset) as file:
        for name, group in file["domains"].items():
            users = [key.decode() for key in group["users/key"][:]]
            items = [key.decode() for key in group["items/key"][:]]
            for user, item in zip(group["train/user"][:], group["train/item"][:]):
                people.setdefault(users[user], {}).setdefault(name, []).append(items[item])
        domains = list(file["domains"])
    chosen = random.Random(seed).sample(sorted(people), min(count, len(people)))
    return domains, {"new " + key: people[key] for key in chosen}


def lists_of_recommend(options, folder, domains, people):
    """{(person, domain): its lines}, and the seconds of the call."""
    files = []
    for name in domains:
        path = Path(folder) / f"{name}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            rows = [[who, item] for who, history in people.items() for item in history.get(name, [])]
            csv.writer(file).writerows([["user_id", "item_id"]] + rows)
        files.append(f"{name}={path}")
    out = Path(folder) / "lists.csv"
    begin = time.perf_counter()
    subprocess.run([options.program, "recommend", f"--run_dir={options.run_dir}", f"--history={','.join(files)}",
                    f"--k={options.k}", f"--threads={options.threads}", f"--out={out}"], check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    lists = {}
    with open(out, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            lists.setdefault((row["user_id"], row["domain"]), []).append((row["item_id"], row["score"], row["basis"]))
    return lists, seconds


class Server:
    def __init__(self, options, log, run_dir=None, *words):
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [options.program, "serve", f"--run_dir={run_dir or options.run_dir}", "--port=0", f"--threads={options.threads}",
             f"--log={log}", *words], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on http://[^ ]*:(\d+)", line):
                self.port = int(found.group(1))
                break
        else:
            sys.exit("the server did not start")
        self.start_seconds = time.perf_counter() - begin
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def ask(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def memory_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0


def ask_all(port, requests, connections):
    """The answers in order, and the seconds of each."""
    answers, seconds = [None] * len(requests), np.zeros(len(requests))

    def work(first):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for n in range(first, len(requests), connections):
            begin = time.perf_counter()
            connection.request("POST", "/recommend", requests[n], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            seconds[n] = time.perf_counter() - begin
            assert answer.status == 200, body
            answers[n] = body
        connection.close()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, seconds


def count_differences(keys, answers, wanted):
    different = 0
    for key, answer in zip(keys, answers):
        (one,) = json.loads(answer)["lists"]
        lines = [(item["item"], "%.6g" % ctypes.c_float(item["score"]).value, one["basis"]) for item in one["items"]]
        different += lines != wanted[key]
    return different


def asked_until(server, body, is_it):
    """The seconds until an answer is such, those of the server's processor, and the longest that one answer took."""
    begin, cpu = time.perf_counter(), server.cpu_seconds()
    longest = 0
    while True:
        asked = time.perf_counter()
        answer = server.ask("/recommend", body)
        now = time.perf_counter()
        longest = max(longest, now - asked)
        if is_it(answer):
            return now - begin, server.cpu_seconds() - cpu, longest


def some_item(dataset, domain):
    """A user of a domain, and the features that one of its items has of each modality."""
    with h5py.File(dataset) as file:
        group = file["domains"][domain]
        features = {}
        for name, of in group.get("features", {}).items():
            item = int(np.flatnonzero(of["present"][:])[0])
            features[name] = [float(number) for number in of["value"][item]]
        return group["users/key"][0].decode(), features


def tell(what, seconds):
    times, cpu, longest = zip(*seconds)
    print(f"{what}: median {np.median(times):.2f} s of {len(times)} ({min(times):.2f} to {max(times):.2f}), "
          f"{np.median(cpu):.2f} s of the server's processor; the longest answer meanwhile {max(longest) * 1e3:.0f} ms")


def measure_reloads(options, dataset, domain, folder):
    """Each time a newer checkpoint comes into a copy of the run, or a new item to the server."""
    copy = Path(folder) / "run"
    shutil.copytree(options.run_dir, copy)
    newest = sorted((copy / "checkpoints").glob("step-*"))[-1]
    aside = Path(folder) / newest.name
    newest.rename(aside)
    server = Server(options, Path(folder) / "reloads.log", copy, "--checkpoint=newest")
    print(f"start: {server.start_seconds:.2f} s, {server.cpu_seconds():.2f} s of the processor")
    hangups = []
    for _ in range(options.reloads):
        before = server.ask("/recommend", {"k": 1})["checkpoint"]
        (aside if aside.exists() else newest).rename(newest if aside.exists() else aside)
        server.process.send_signal(signal.SIGHUP)
        hangups.append(asked_until(server, {"domains": [domain], "k": 20}, lambda answer: answer["checkpoint"] != before))
    tell("from SIGHUP to an answer of another checkpoint", hangups)
    user, features = some_item(dataset, domain)
    items = []
    for n in range(options.reloads):
        time.sleep(5 * (items or hangups)[-1][0])  # as models are made a fifth of the time
        new = f"a new item {n}"
        server.ask("/observe", {"items": [{"domain": domain, "item": new, "features": features}],
                                "events": [{"domain": domain, "user": user, "item": new}]})
        body = {"domains": [domain], "k": 20, "only_items": {domain: [new]}}
        items.append(asked_until(server, body, lambda answer: answer["lists"][0]["items"]))
    tell("from /observe of a new item to a list with it", items)
    server.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("run_dir")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--connections", default="1,16")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--domain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reloads", type=int, default=0)
    options = parser.parse_args()
    config = (Path(options.run_dir) / "config.txt").read_text()
    dataset = re.search(r"--dataset=(.*)", config).group(1)
    domains, people = read_histories(dataset, options.people, options.seed)
    wanted_domains = [options.domain] if options.domain else domains
    keys = [(who, wanted_domains[n % len(wanted_domains)]) for n, who in enumerate(people)]
    requests = [json.dumps({"history": people[who], "domains": [domain], "k": options.k}) for who, domain in keys]
    with tempfile.TemporaryDirectory() as folder:
        wanted, together = lists_of_recommend(options, folder, domains, people)
        print(f"recommend: {len(wanted):,} lists of {len(people):,} people in {together:.2f} s, loading counted")
        server = Server(options, Path(folder) / "observed.log")
        ask_all(server.port, requests[:50], 1)  # warm
        for connections in map(int, options.connections.split(",")):
            begin, cpu = time.perf_counter(), server.cpu_seconds()
            answers, seconds = ask_all(server.port, requests, connections)
            whole, cpu = time.perf_counter() - begin, server.cpu_seconds() - cpu
            different = count_differences(keys, answers, wanted)
            print(f"{connections:3} connections: median {np.median(seconds) * 1e3:.2f} ms, 99th percentile "
                  f"{np.percentile(seconds, 99) * 1e3:.2f} ms, {len(requests) / whole:,.0f} a second, "
                  f"{cpu / len(requests) * 1e3:.2f} ms of the server's processor each; lists that differ from "
                  f"recommend's: {different}; memory {server.memory_mib():,.0f} MiB")
        server.end()
        if options.reloads:
            measure_reloads(options, dataset, wanted_domains[0], folder)


if __name__ == "__main__":
    main()
