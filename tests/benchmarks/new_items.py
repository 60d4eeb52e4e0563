#!/usr/bin/env python3
"""How well items are served that came after training, beside a model that was trained with them.

    new_items.py PROGRAM FOLDER DOMAIN=INTERACTIONS.csv.gz:TEXT.h5 [...]  [--known=0,1,3,10] [--items=150] [--train="FLAGS"]

Of each domain a sample of items with a text and at least 14 interactions is taken out of the data. A model is trained on the rest; it
serves the items with their text (--items) and so many of their interactions (--observed); for each such number another model is
trained with these interactions. Both recommend 20 items of the whole catalogue to everybody who met one of the items besides the ten
interactions that may be given; NDCG@20 counts those items alone. Work goes to FOLDER, and what is there already is not done again.
"""

import argparse
import csv
import gzip
import io
import random
import subprocess
from pathlib import Path

import h5py
import numpy as np

MOST_GIVEN = 10
SPARE = 4  # interactions of an item that are never given


def read_domain(argument):
    name, files = argument.split("=", 1)
    interactions, features = files.rsplit(":", 1)
    with gzip.open(interactions, "rt", encoding="utf-8") as file:
        pairs = [(row["user_id"], row["item_id"]) for row in csv.DictReader(file)]
    return name, pairs, features


def divide(pairs, with_text, count, seed):
    """The sampled items with their interactions in a random order, and all other interactions."""
    draw = random.Random(seed)
    of_item = {}
    for user, item in pairs:
        of_item.setdefault(item, []).append(user)
    able = sorted(item for item, users in of_item.items() if len(users) >= MOST_GIVEN + SPARE and item in with_text)
    chosen = set(draw.sample(able, min(count, len(able))))
    rest = [(user, item) for user, item in pairs if item not in chosen]
    known = {user for user, _ in rest}
    new = {}
    for item in sorted(chosen):
        users = [user for user in of_item[item] if user in known]
        draw.shuffle(users)
        new[item] = users
    return new, rest


def write_pairs(path, pairs, label_of=None):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["user_id", "item_id"] + (["x_label"] if label_of else []))
        for pair in pairs:
            out.writerow([*pair] + ([label_of(pair)] if label_of else []))


def write_features(path, source, items):
    with h5py.File(source) as data:
        keys = data["key"].asstr()[:]
        rows = np.flatnonzero(np.isin(keys, sorted(items)))
        values = data["value"][:][rows]
    with h5py.File(path, "w") as file:
        file["key"] = np.array(list(keys[rows]), dtype=object)
        file["value"] = values


def gains_of(lists, wanted):
    """NDCG@20 of each of those who want something, in their order."""
    gains = []
    for user, items in wanted.items():
        found = sum(1 / np.log2(rank + 2) for rank, item in enumerate(lists.get(user, [])[:20]) if item in items)
        gains.append(found / sum(1 / np.log2(rank + 2) for rank in range(min(20, len(items)))))
    return np.array(gains)


class Comparison:
    def __init__(self, options):
        self.program, self.folder, self.flags = options.program, Path(options.folder), options.train.split()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.domains = {}
        for argument in options.domains:
            name, pairs, features = read_domain(argument)
            with h5py.File(features) as data:
                with_text = set(data["key"].asstr()[:])
            self.domains[name] = (*divide(pairs, with_text, options.items, options.seed), features)

    def micrec(self, *words):
        return subprocess.run([self.program, *map(str, words)], check=True, capture_output=True, text=True).stdout

    def run_on(self, name, given):
        """A model trained on all but the new items, and so many interactions of theirs."""
        dataset, run = self.folder / f"{name}.h5", self.folder / name
        draw = random.Random(1)
        validated = {name: {pair for pair in rest if draw.random() < 0.1} for name, (_, rest, _) in self.domains.items()}
        if not dataset.exists():
            inputs = []
            for domain, (new, rest, _) in self.domains.items():
                path = self.folder / f"{name}.{domain}.csv"
                write_pairs(path, rest + [(user, item) for item, users in new.items() for user in users[:given]],
                            lambda pair, of=validated[domain]: 1 if pair in of else 0)
                inputs.append(f"{domain}={path}")
            features = ",".join(f"text:{domain}={of[2]}" for domain, of in self.domains.items())
            self.micrec("prepare", f"--out={dataset}", "--split=column", f"--features={features}", *inputs)
        if not (run / "checkpoints/best.json").exists():
            self.micrec("train", f"--dataset={dataset}", f"--run_dir={run}", *self.flags)
        return run

    def given_later(self, given):
        """The flags that serve the new items with so many interactions."""
        items, observed = [], []
        for domain, (new, _, source) in self.domains.items():
            features = self.folder / f"new.{domain}.h5"
            write_features(features, source, new)
            items.append(f"text:{domain}={features}")
            path = self.folder / f"observed{given}.{domain}.csv"
            write_pairs(path, [(user, item) for item, users in new.items() for user in users[:given]])
            observed.append(f"{domain}={path}")
        return [f"--items={','.join(items)}"] + ([f"--observed={','.join(observed)}"] if given else [])

    def rate(self, run, *flags):
        rows = csv.DictReader(io.StringIO(self.micrec("recommend", f"--run_dir={run}", "--k=20", *flags)))
        lists = {}
        for row in rows:
            lists.setdefault(row["domain"], {}).setdefault(row["user_id"], []).append(row["item_id"])
        metrics = {}
        for domain, (new, _, _) in self.domains.items():
            wanted = {}
            for item, users in new.items():
                for user in users[MOST_GIVEN:]:
                    wanted.setdefault(user, set()).add(item)
            metrics[domain] = float(gains_of(lists[domain], wanted).mean())
        return metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--known", default="0,1,3,10")
    parser.add_argument("--items", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", default="--batch=8192 --lr=0.01 --max_steps=360 --lr_decay --validate_every=0 "
                                           "--validate_every_steps=60")
    comparison = Comparison(parser.parse_args())
    known = [int(number) for number in parser.parse_args().known.split(",")]
    served_by = comparison.run_on("without", 0)
    print(f"{'interactions':>12} {'domain':>10} {'served':>8} {'trained':>8} {'ratio':>6}")
    for given in known:
        served = comparison.rate(served_by, *comparison.given_later(given))
        trained = comparison.rate(comparison.run_on(f"with{given}", given)) if given else {}
        for domain, value in served.items():
            other = f"{trained[domain]:8.4f} {value / trained[domain]:6.2f}" if trained else "       -      -"
            print(f"{given:>12} {domain:>10} {value:8.4f} {other}", flush=True)


if __name__ == "__main__":
    main()
