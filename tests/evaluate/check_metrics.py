"""Computes the metrics of `micrec evaluate` again with numpy, from files alone, and compares.

    check_metrics.py DATASET.h5 EMBEDDINGS.h5 METRICS.json [--tolerance=1e-6]

METRICS.json is what `micrec evaluate` printed, EMBEDDINGS.h5 what `micrec export` wrote from the same
checkpoint, with item regression or without. All users and items of the dataset are let in. Compares the whole of every domain ("all")
and the mean; ends with 1 where a metric differs by more than the tolerance.
"""

import argparse
import json
import sys

import h5py
import numpy as np


def lists_of(group, users):
    """The items of every user of a split."""
    items = [[] for _ in range(users)]
    for user, item in zip(group["user"][:], group["item"][:]):
        items[user].append(item)
    return items


def metrics_of(ranks, cutoffs):
    """All metrics of one user; ranks are those of the relevant items, from 0."""
    ranks = np.sort(np.asarray(ranks))
    result = {}
    for k in cutoffs:
        hits = ranks[ranks < k]
        places = min(len(ranks), k)
        result[f"recall@{k}"] = len(hits) / len(ranks)
        result[f"precision@{k}"] = len(hits) / k
        result[f"hit_rate@{k}"] = float(len(hits) > 0)
        result[f"mrr@{k}"] = 1 / (hits[0] + 1) if len(hits) else 0.0
        result[f"map@{k}"] = np.sum(np.arange(1, len(hits) + 1) / (hits + 1)) / places
        ideal = np.sum(1 / np.log2(np.arange(places) + 2))
        result[f"ndcg@{k}"] = np.sum(1 / np.log2(hits + 2)) / ideal
    return result


def linear_term(datasets, exported, name):
    """The sum of the coefficients of every item over the history of every user: (items, users)."""
    offsets = exported["item_regression/offset"][:]
    people = datasets["people"]
    history = np.zeros((len(people["key"]), offsets[-1]), np.float64)
    for begin, domain in zip(offsets, exported["item_regression/domain"].asstr()[:]):
        person = user_to_person(people[domain][:], len(datasets["domains"][domain]["users/key"]))
        for split in ("train", "later"):
            pairs = datasets["domains"][domain][split]
            history[person[pairs["user"][:]], begin + pairs["item"][:]] = 1
    regression = exported["domains"][name]["item_regression"]
    half_life = regression.attrs.get("half_life", 0)
    if "history" in exported["item_regression"]:
        newer = newer_interactions(datasets, exported, history.shape)
        check_exported_histories(exported["item_regression/history"], history, newer)
        if half_life > 0:
            history *= (2.0 ** -np.minimum(newer / half_life, 30)).astype(np.float32)
    data, indices, indptr = (regression[part][:] for part in ("data", "indices", "indptr"))
    dense = np.zeros(regression["shape"][:], np.float64)
    for row in range(len(dense)):
        part = slice(indptr[row], indptr[row + 1])
        dense[row, indices[part]] = data[part]
    person = user_to_person(people[name][:], len(datasets["domains"][name]["users/key"]))
    return dense @ history[person].T


def newer_interactions(datasets, exported, shape):
    """How many interactions of the person in the domain are later than each: (people, items of all domains)."""
    newer = np.zeros(shape, np.int64)
    for begin, domain in zip(exported["item_regression/offset"][:], exported["item_regression/domain"].asstr()[:]):
        groups = [datasets["domains"][domain][split] for split in ("train", "later")]
        user, item, time = (np.concatenate([group[name][:] for group in groups]) for name in ("user", "item", "timestamp"))
        person = user_to_person(datasets["people"][domain][:], len(datasets["domains"][domain]["users/key"]))
        for n in range(len(user)):
            newer[person[user[n]], begin + item[n]] = np.sum(time[user == user[n]] > time[n])
    return newer


def check_exported_histories(group, history, newer):
    """What was exported of histories is what the dataset has."""
    people, items = np.nonzero(history)
    if not (np.array_equal(group["indptr"][:], np.concatenate([[0], np.cumsum(np.count_nonzero(history, axis=1))]))
            and np.array_equal(group["indices"][:], items) and np.array_equal(group["newer"][:], newer[people, items])):
        raise SystemExit("the exported histories are not those of the dataset")


def user_to_person(user_of_person, users):
    person = np.zeros(users, np.int64)
    known = np.nonzero(user_of_person >= 0)[0]
    person[user_of_person[known]] = known
    return person


def evaluate(dataset, embeddings, split, cutoffs, linear=None):
    """Metrics of one domain, averaged over the users with relevant items."""
    users = embeddings["users/embedding"][:]
    items = embeddings["items/embedding"][:]
    weights = embeddings["item_regression"].attrs if linear is not None else None
    if not (dataset["users/key"][:] == embeddings["users/key"][:]).all():
        raise SystemExit("the files have different users")
    relevant = lists_of(dataset[split], len(users))
    earlier = ["train", "later"] + (["valid"] if split == "test" else [])
    masks = [lists_of(dataset[name], len(users)) for name in earlier]
    totals, count = {}, 0
    for user, wanted in enumerate(relevant):
        if not wanted:
            continue
        scores = items @ users[user]
        if linear is not None:
            scores = weights["embeddings"] * scores + weights["regression"] * linear[:, user]
        for mask in masks:
            scores[mask[user]] = -np.inf
        # A stable sort of the falling scores: equal ones stay in the order of their numbers.
        order = np.argsort(-scores, kind="stable")
        rank_of = np.empty(len(items), dtype=np.int64)
        rank_of[order] = np.arange(len(items))
        for name, value in metrics_of(rank_of[wanted], cutoffs).items():
            totals[name] = totals.get(name, 0.0) + value
        count += 1
    return count, {name: total / count for name, total in totals.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("embeddings")
    parser.add_argument("metrics")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    arguments = parser.parse_args()

    with open(arguments.metrics, encoding="utf-8") as file:
        report = json.load(file)
    cutoffs = sorted({int(name.split("@")[1]) for name in report["mean"]})
    compared, wrong, largest = 0, 0, 0.0

    def compare(where, expected, got):
        nonlocal compared, wrong, largest
        difference = abs(expected - got)
        largest = max(largest, difference)
        compared += 1
        if not difference <= arguments.tolerance:
            wrong += 1
            print(f"{where}: numpy {expected:.9f}, micrec {got:.9f}", file=sys.stderr)

    means = {}
    with h5py.File(arguments.dataset) as dataset, h5py.File(arguments.embeddings) as embeddings:
        if dataset.attrs["fingerprint"] != embeddings.attrs["dataset_fingerprint"]:
            raise SystemExit("the embeddings were computed on another dataset")
        for name, domain in report["domains"].items():
            exported = embeddings["domains"][name]
            linear = None
            if "item_regression" in exported:
                linear = linear_term(dataset, embeddings, name)
            count, metrics = evaluate(
                dataset["domains"][name], exported, report["split"], cutoffs, linear
            )
            got = domain["slices"]["all"]
            if got["users"] != count:
                raise SystemExit(f"{name}: numpy found {count} users, micrec {got['users']}")
            if count == 0:
                continue
            for metric, value in metrics.items():
                compare(f"{name} {metric}", value, got[metric])
                means.setdefault(metric, []).append(value)
    for metric, values in means.items():
        compare(f"mean {metric}", sum(values) / len(values), report["mean"][metric])

    if wrong:
        raise SystemExit(f"{wrong} of {compared} metrics differ, by up to {largest:.2e}")
    print(f"{compared} metrics agree, largest difference {largest:.2e}")


if __name__ == "__main__":
    main()
