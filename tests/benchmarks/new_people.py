#!/usr/bin/env python3
"""How well people are served who came after training, beside a model that was trained with them.

    new_people.py PROGRAM FOLDER DOMAIN=INTERACTIONS.csv.gz:TEXT.h5 [...]  [--given=1,3,all] [--people=700] [--train="FLAGS"]

A sample of people who have at least 6 interactions in every domain is taken out of the data; a fifth of what each did in a domain, in a
random order, is asked for later. A model is trained on the rest; it is told so many interactions of each domain as histories
(recommend --history) and as what was observed (--observed); for each such number another model is trained with these interactions.
Both recommend 20 items of the whole catalogue to these people. Printed are NDCG@20, its ratio
to that of the trained model, and the 95% interval of the ratio over resampled people. Work goes to FOLDER, and what is there already is
not done again.
"""

import argparse
import csv
import io
import random
import subprocess
from pathlib import Path

import numpy as np

from new_items import gains_of, read_domain, write_pairs

LEAST = 6  # interactions of a person in each domain
SAMPLES = 2000


class Domain:
    """Interactions of the people who are known, and of each new one those that may be given and those that are asked for."""

    def __init__(self, pairs, features, new, seed):
        self.features = features
        self.rest = [(user, item) for user, item in pairs if user not in new]
        known = {item for _, item in self.rest}
        done = {}
        for user, item in pairs:
            if user in new and item in known:
                done.setdefault(user, []).append(item)
        self.given, self.wanted = {}, {}
        for user in sorted(done):
            items = done[user]
            random.Random(f"{seed} {user}").shuffle(items)
            asked = max(1, len(items) // 5)
            self.wanted[user], self.given[user] = set(items[:asked]), items[asked:]

    def pairs(self, count):
        return [(user, item) for user, items in self.given.items() for item in items[:count]]


def sample_people(domains, count, seed):
    done = [{} for _ in domains]
    for times, (_, pairs, _) in zip(done, domains):
        for user, _ in pairs:
            times[user] = times.get(user, 0) + 1
    able = sorted(user for user in done[0] if all(times.get(user, 0) >= LEAST for times in done))
    return set(random.Random(seed).sample(able, min(count, len(able))))


class Comparison:
    def __init__(self, options):
        self.program, self.folder, self.flags = options.program, Path(options.folder), options.train.split()
        self.folder.mkdir(parents=True, exist_ok=True)
        domains = [read_domain(argument) for argument in options.domains]
        self.new = sample_people(domains, options.people, options.seed)
        self.domains = {name: Domain(pairs, features, self.new, options.seed) for name, pairs, features in domains}

    def micrec(self, *words):
        return subprocess.run([self.program, *map(str, words)], check=True, capture_output=True, text=True).stdout

    def run_on(self, name, count):
        """A model trained on what others did, and so many interactions of the new people in each domain."""
        dataset, run = self.folder / f"{name}.h5", self.folder / name
        if not dataset.exists():
            inputs = []
            for domain, of in self.domains.items():
                draw = random.Random(1)
                validated = {pair for pair in of.rest if draw.random() < 0.1}
                path = self.folder / f"{name}.{domain}.csv"
                write_pairs(path, of.rest + of.pairs(count), lambda pair, of=validated: 1 if pair in of else 0)
                inputs.append(f"{domain}={path}")
            features = ",".join(f"text:{domain}={of.features}" for domain, of in self.domains.items())
            self.micrec("prepare", f"--out={dataset}", "--core=0", "--split=column", f"--features={features}", *inputs)
        if not (run / "checkpoints/best.json").exists():
            self.micrec("train", f"--dataset={dataset}", f"--run_dir={run}", *self.flags)
        return run

    def given_files(self, count):
        files = {}
        for domain, of in self.domains.items():
            files[domain] = self.folder / f"given{count}.{domain}.csv"
            write_pairs(files[domain], of.pairs(count))
        return files

    def lists(self, run, *flags):
        rows = csv.DictReader(io.StringIO(self.micrec("recommend", f"--run_dir={run}", "--k=20", *flags)))
        lists = {domain: {} for domain in self.domains}
        for row in rows:
            lists[row["domain"]].setdefault(row["user_id"], []).append(row["item_id"])
        return lists

    def gains(self, lists):
        """NDCG@20 of each new person, by domain."""
        return {domain: gains_of(lists[domain], of.wanted) for domain, of in self.domains.items()}

    def ways(self, run, count):
        """What serves the new people by the model without them, and how."""
        files = self.given_files(count)
        users = f"--users={','.join(sorted(self.new))}"
        every = ",".join(f"{domain}={path}" for domain, path in files.items())
        yield "--history", self.gains(self.lists(run, f"--history={every}"))
        yield "--observed", self.gains(self.lists(run, f"--observed={every}", users))


def interval(served, trained, seed=0):
    """Of the ratio of two means over the same people."""
    draws = np.random.default_rng(seed).integers(0, len(served), (SAMPLES, len(served)))
    return np.percentile(served[draws].mean(1) / trained[draws].mean(1), [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--given", default="1,3,all")
    parser.add_argument("--people", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", default="--batch=8192 --lr=0.01 --max_steps=360 --lr_decay --validate_every=0 "
                                           "--validate_every_steps=60")
    options = parser.parse_args()
    comparison = Comparison(options)
    run = comparison.run_on("without", 0)
    print(f"{len(comparison.new)} people; {'given':>5} {'by':>10} {'domain':>10} {'served':>7} {'trained':>7} {'ratio':>6}  95% interval")
    users = f"--users={','.join(sorted(comparison.new))}"
    for word in options.given.split(","):
        count = None if word == "all" else int(word)
        trained = comparison.gains(comparison.lists(comparison.run_on(f"with_{word}", count), users))
        for way, gains in comparison.ways(run, count):
            for domain, served in gains.items():
                low, high = interval(served, trained[domain])
                mean, other = served.mean(), trained[domain].mean()
                print(f"{word:>17} {way:>10} {domain:>10} {mean:7.4f} {other:7.4f} {mean / other:6.2f}  {low:.2f} to {high:.2f}",
                      flush=True)


if __name__ == "__main__":
    main()
