#!/usr/bin/env python3
"""How well lists of similar items find what people meet next: of the lists that `micrec similar` makes, and of the cosine
of final rows whatever the domains.

    similar_items.py PROGRAM RUN DATASET [QUERIES]

For every pair of domains, people with training interactions in the first and held-out ones in the second: one item of the
former, drawn, is asked about, and a list of 20 items is compared with the latter. Prints the mean recall.
"""

import collections
import csv
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

K = 20


def items_of(data, domain, splits):
    keys = [key.decode() for key in data[f"domains/{domain}/users/key"][:]]
    items = collections.defaultdict(list)
    for split in splits:
        group = data[f"domains/{domain}/{split}"]
        for user, item in zip(group["user"][:], group["item"][:]):
            items[keys[user]].append(item)
    return items


def main():
    program, run, dataset = sys.argv[1:4]
    queries = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
    folder = Path(tempfile.mkdtemp())
    subprocess.run([program, "export", f"--run_dir={run}", f"--out={folder / 'e.h5'}"], check=True)
    random = np.random.default_rng(0)
    with h5py.File(dataset) as data, h5py.File(folder / "e.h5") as exported:
        domains = sorted(data["domains"])
        keys = {name: [key.decode() for key in data[f"domains/{name}/items/key"][:]] for name in domains}
        rows = {name: exported[f"domains/{name}/items/embedding"][:] for name in domains}
        rows = {name: values / np.linalg.norm(values, axis=1, keepdims=True) for name, values in rows.items()}
        seen = {name: items_of(data, name, ["train"]) for name in domains}
        later = {name: items_of(data, name, ["valid", "test"]) for name in domains}
    print(f"{'from':10} {'to':10} {'cosine':>8} {'similar':>8}")
    for source in domains:
        for target in domains:
            people = sorted(set(seen[source]) & set(later[target]))
            people = [people[n] for n in random.permutation(len(people))[:queries]]
            asked = np.array([random.choice(seen[source][person]) for person in people])
            relevant = [set(later[target][person]) for person in people]
            cosines = rows[source][asked] @ rows[target].T
            if source == target:
                cosines[np.arange(len(asked)), asked] = -2
            by_cosine = [set(best[:K]) for best in np.argsort(-cosines, axis=1)]
            (folder / "items.txt").write_text("".join(f"{source}:{keys[source][item]}\n" for item in sorted(set(asked))))
            printed = subprocess.run([program, "similar", f"--run_dir={run}", f"--items={folder / 'items.txt'}",
                                      f"--domain={target}", f"--k={K}"], check=True, capture_output=True, text=True).stdout
            number = {key: n for n, key in enumerate(keys[target])}
            listed = collections.defaultdict(set)
            for row in csv.DictReader(io.StringIO(printed)):
                listed[row["like"]].add(number[row["item_id"]])
            by_similar = [listed[f"{source}:{keys[source][item]}"] for item in asked]
            recalls = [np.mean([len(found & wanted) / min(K, len(wanted)) for found, wanted in zip(lists, relevant)])
                       for lists in (by_cosine, by_similar)]
            print(f"{source:10} {target:10} {recalls[0]:8.4f} {recalls[1]:8.4f}")


if __name__ == "__main__":
    main()
