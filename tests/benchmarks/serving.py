#!/usr/bin/env python3
"""How long micrec serve takes for a list, and whether its lists are those of micrec recommend to the last digit.

    serving.py PROGRAM RUN_DIR [--people=1000] [--connections=1,16] [--k=20] [--threads=1] [--domain=NAME] [--seed=0]

People of the run's data set are sent as people that nobody knows, by their history of training in every domain; each asks
for the list of one domain (--domain: all lists of that one). recommend makes the same lists from files of the same
histories, in one call; its time is told beside.
"""

import argparse
import csv
import ctypes
import http.client
import json
import os
import random
import re
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
    def __init__(self, options, log):
        self.process = subprocess.Popen(
            [options.program, "serve", f"--run_dir={options.run_dir}", "--port=0", f"--threads={options.threads}",
             f"--log={log}"], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on http://[^ ]*:(\d+)", line):
                self.port = int(found.group(1))
                return
        sys.exit("the server did not start")

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


if __name__ == "__main__":
    main()
