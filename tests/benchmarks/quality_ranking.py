"""Ranks by whatever gives scores, judged by the rules of `micrec evaluate`, and writes what `evaluate --per_user` writes.

    quality_ranking.py rank DATASET.h5 EMBEDDINGS.h5 OUT.h5 [--split=test] [--k=10,20,50]
    quality_ranking.py same A.h5 B.h5

rank    ranks by what `micrec export` wrote: a score is the dot product of two rows, and where there is item regression
        the mix of that with the sum of an item's coefficients over all that the person did, in every domain.
same    compares every metric of every user of two such files; ends with 1 where one differs by more than 1e-9.

Needs numpy and h5py, and scipy for exports with item regression. All users and items of the data set are let in; slices of held-out users and items are not made.
"""

import argparse
import sys

import h5py
import numpy as np

BLOCK = 256  # users scored at a time
DEGREES = [(0, "items_degree_0"), (1, "items_degree_1_3"), (4, "items_degree_4_7"), (8, "items_degree_8_15"),
           (16, "items_degree_16_31"), (32, "items_degree_32_up")]


class Lists:
    """Items of every user: user u has items[offsets[u]:offsets[u + 1]], rising."""

    def __init__(self, users, user, item):
        order = np.lexsort((item, user))
        self.user, self.items = user[order], item[order]
        self.offsets = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=users))])

    def of(self, user):
        return self.items[self.offsets[user]:self.offsets[user + 1]]


class Domain:
    """One domain of a data set, as micrec prepares it."""

    def __init__(self, file, name):
        group = file["domains"][name]
        self.name = name
        self.keys = group["users/key"].asstr()[:]
        self.users, self.items = len(self.keys), len(group["items/key"])
        self.pairs = {split: (group[split]["user"][:].astype(np.int64), group[split]["item"][:].astype(np.int64))
                      for split in ("train", "valid", "test", "later")}
        self.features, self.present = {}, {}
        for modality in group.get("features", {}):
            self.features[modality] = group["features"][modality]["value"][:]
            self.present[modality] = group["features"][modality]["present"][:].astype(bool)

    def with_pairs(self, **splits):
        """The same domain with other interactions in some splits."""
        other = object.__new__(Domain)
        other.__dict__.update(self.__dict__, pairs={**self.pairs, **splits})
        return other

    def joined(self, splits):
        return tuple(np.concatenate([self.pairs[split][n] for split in splits]) for n in (0, 1))

    def known(self):
        """What users have done before anything is to be found: (user, item)."""
        return self.joined(["train", "later"])

    def masked(self, split):
        return Lists(self.users, *self.joined(["train", "later"] + (["valid"] if split == "test" else [])))

    def relevant(self, split):
        return Lists(self.users, *self.pairs[split])


def open_domains(path):
    """The domains of a data set in the order of their numbers, and its attributes."""
    with h5py.File(path) as file:
        return [Domain(file, name) for name in file.attrs["domains"].split(",")], dict(file.attrs)


def ranks_of_positives(domain, split, scores):
    """Users with relevant items, and the rank from 0 of every relevant item of them, by (user, item).

    scores(users) gives a row of scores a user, (users, items) float32. Masked items are no candidates; of equal scores
    the smaller item number comes first.
    """
    relevant, masked = domain.relevant(split), domain.masked(split)
    users = np.unique(relevant.user)
    ranks = np.empty(len(relevant.items), dtype=np.int64)
    for begin in range(0, len(users), BLOCK):
        block = users[begin:begin + BLOCK]
        rows = scores(block)
        if not np.isfinite(rows).all():
            raise SystemExit(f"{domain.name}: scores are not finite, so items cannot be ranked")
        for row, user in zip(rows, block):
            row[masked.of(user)] = -np.inf
            wanted = relevant.of(user)
            own = row[wanted][:, None]
            ties = (row[None, :] == own) & (np.arange(len(row))[None, :] < wanted[:, None])
            ranks[relevant.offsets[user]:relevant.offsets[user + 1]] = (row[None, :] > own).sum(1) + ties.sum(1)
    return users, relevant, ranks


def metrics_of(ranks, cutoffs):
    """All metrics of one user, in the order of evaluate/metrics.h; ranks are those of the relevant items, from 0."""
    ranks = np.sort(ranks)
    values = {}
    for k in cutoffs:
        hits = ranks[ranks < k]
        best = min(len(ranks), k)
        values[f"recall@{k}"] = len(hits) / len(ranks)
        values[f"ndcg@{k}"] = (1 / np.log2(hits + 2.0)).sum() / (1 / np.log2(np.arange(best) + 2.0)).sum()
        values[f"precision@{k}"] = len(hits) / k
        values[f"hit_rate@{k}"] = float(len(hits) > 0)
        values[f"mrr@{k}"] = 1 / (hits[0] + 1.0) if len(hits) else 0.0
        values[f"map@{k}"] = (np.arange(1, len(hits) + 1) / (hits + 1.0)).sum() / best
    return values


def views_of(domain):
    """Which relevant items count in a slice: name -> (items) bool."""
    degree = np.bincount(domain.pairs["train"][1], minlength=domain.items)
    views = {"all": np.ones(domain.items, bool)}
    ends = [lowest for lowest, _ in DEGREES[1:]] + [np.inf]
    for (lowest, name), end in zip(DEGREES, ends):
        views[name] = (degree >= lowest) & (degree < end)
    for modality in sorted(domain.present):
        views["items_with_" + modality] = domain.present[modality]
        views["items_without_" + modality] = ~domain.present[modality]
    return views


def slices_of(domain, split, scores, cutoffs):
    """Slice -> (rows among the users with relevant items, their positives, metric -> values), and those users."""
    users, relevant, ranks = ranks_of_positives(domain, split, scores)
    slices = {}
    for name, view in views_of(domain).items():
        rows, positives, values = [], [], {}
        for row, user in enumerate(users):
            own = slice(relevant.offsets[user], relevant.offsets[user + 1])
            chosen = ranks[own][view[relevant.items[own]]]
            if len(chosen) == 0:
                continue
            rows.append(row)
            positives.append(len(chosen))
            for metric, value in metrics_of(chosen, cutoffs).items():
                values.setdefault(metric, []).append(value)
        if rows:
            slices[name] = (np.array(rows, np.int32), np.array(positives, np.int32), values)
    return users, slices


def write(path, domains, attributes, model, split, cutoffs, score_of):
    """Writes the file of metrics by user. score_of(domain) gives the scores of its users."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "micrec metrics by user"
        file.attrs["format_version"] = np.int64(1)
        file.attrs["model"] = model
        file.attrs["checkpoint"] = ""
        file.attrs["dataset_fingerprint"] = attributes["fingerprint"]
        file.attrs["split"] = split
        file.attrs["split_rule"] = attributes["split"]
        file.attrs["hold_out"] = attributes["hold_out"]
        file.attrs["k"] = ",".join(map(str, cutoffs))
        for domain in domains:
            users, slices = slices_of(domain, split, score_of(domain), cutoffs)
            group = file.create_group(f"domains/{domain.name}")
            group.attrs["candidates"] = np.int64(domain.items)
            group.attrs["slices"] = ",".join(name for name in slices if name != "all")
            group.create_dataset("user", data=list(domain.keys[users]), dtype=h5py.string_dtype())
            for name, (rows, positives, values) in slices.items():
                place = group if name == "all" else group.create_group(f"slices/{name}")
                if name != "all":
                    place["row"] = rows
                place["positives"] = positives
                for metric, column in values.items():
                    place[metric] = np.array(column)


def mean_of(domain, split, scores, metric="ndcg", k=20):
    """The mean of one metric over the users of a split."""
    users, relevant, ranks = ranks_of_positives(domain, split, scores)
    return np.mean([metrics_of(ranks[relevant.offsets[u]:relevant.offsets[u + 1]], [k])[f"{metric}@{k}"] for u in users])


def dot_products(users, items):
    """Scores by embeddings, added as the program adds them: a fused multiplication and addition a column, in order."""
    columns = items.astype(np.float64).T

    def scores(block):
        rows = users[block].astype(np.float64)
        total = np.zeros((len(block), columns.shape[1]), np.float32)
        for k, column in enumerate(columns):
            total = (total + rows[:, k:k + 1] * column).astype(np.float32)
        return total

    return scores


class Regression:
    """The linear term of one domain: coefficients by source item, and what each of its users' people did."""

    def __init__(self, file, domain, histories):
        import scipy.sparse as sp  # of exports with item regression alone

        group = file[f"domains/{domain.name}/item_regression"]
        self.embeddings, self.factor = group.attrs["embeddings"], group.attrs["regression"]
        by_target = sp.csr_matrix((group["data"][:], group["indices"][:], group["indptr"][:]), tuple(group["shape"][:]))
        self.by_source = by_target.tocsc()
        self.histories = [histories[key] for key in domain.keys]

    def mixed(self, block, products):
        """float32 sums in rising order of the sources; then one fused multiplication and addition."""
        scores = np.empty_like(products)
        for row, user in enumerate(block):
            total = np.zeros(products.shape[1], np.float32)
            for source in self.histories[user]:
                entries = slice(*self.by_source.indptr[source:source + 2])
                total[self.by_source.indices[entries]] += self.by_source.data[entries]
            scores[row] = self.factor * total.astype(np.float64) + products[row] if self.embeddings else total
        return scores


def histories_of(file, domains):
    """Person -> items of all domains, as the export numbers them together, rising."""
    numbering = file["item_regression"]
    first = dict(zip(numbering["domain"].asstr()[:], numbering["offset"][:]))
    histories = {}
    for domain in domains:
        for user, item in zip(*domain.known()):
            histories.setdefault(domain.keys[user], set()).add(first[domain.name] + item)
        for key in domain.keys:
            histories.setdefault(key, set())
    return {key: sorted(items) for key, items in histories.items()}


def rank(arguments):
    domains, attributes = open_domains(arguments.dataset)
    with h5py.File(arguments.embeddings) as file:
        if file.attrs["dataset_fingerprint"] != attributes["fingerprint"]:
            raise SystemExit("the embeddings were computed on another data set")
        products = {domain.name: dot_products(*[file[f"domains/{domain.name}/{kind}/embedding"][:]
                                                for kind in ("users", "items")]) for domain in domains}
        linear = {}
        if "item_regression" in file:
            histories = histories_of(file, domains)
            linear = {domain.name: Regression(file, domain, histories) for domain in domains}

    def scores_of(domain):
        product, regression = products[domain.name], linear.get(domain.name)
        return (lambda block: regression.mixed(block, product(block))) if regression else product

    write(arguments.out, domains, attributes, "embeddings", arguments.split, [int(k) for k in arguments.k.split(",")],
          scores_of)


def columns_of(group):
    """Path -> values of what two files must agree in: users, their positives and metrics, by slice."""
    found = {}
    for name in ("user", "row", "positives"):
        if name in group:
            found[name] = group[name].asstr()[:] if name == "user" else group[name][:]
    found.update({name: group[name][:] for name in group if "@" in name})
    return found


def same(arguments):
    """Slices of both files; those of one alone are named."""
    compared, wrong, users, largest = 0, 0, 0, 0.0
    with h5py.File(arguments.a) as a, h5py.File(arguments.b) as b:
        for attribute in ("dataset_fingerprint", "split", "split_rule", "hold_out"):
            if a.attrs[attribute] != b.attrs[attribute]:
                raise SystemExit(f"{attribute} is {a.attrs[attribute]} and {b.attrs[attribute]}")
        if set(a["domains"]) != set(b["domains"]):
            raise SystemExit("the files have other domains")
        for name in a["domains"]:
            groups = [file["domains"][name] for file in (a, b)]
            slices = [["all"] + [s for s in group.attrs["slices"].split(",") if s] for group in groups]
            for slice_name in slices[0]:
                if slice_name not in slices[1]:
                    print(f"{name}: {slice_name} is in {arguments.a} alone")
                    continue
                one, two = [columns_of(group if slice_name == "all" else group["slices/" + slice_name])
                            for group in groups]
                for column in one:
                    place = f"{name} {slice_name} {column}"
                    if column not in two or len(one[column]) != len(two[column]):
                        raise SystemExit(f"{place}: not the same users, or not in both files")
                    compared += 1
                    if "@" not in column:
                        if (one[column] != two[column]).any():
                            raise SystemExit(f"{place}: differs")
                        continue
                    difference = np.abs(one[column] - two[column])
                    largest, users = max(largest, difference.max(initial=0)), users + (difference > 1e-9).sum()
                    wrong += bool((difference > 1e-9).any())
    if wrong:
        raise SystemExit(f"{wrong} of {compared} columns differ, in {users} values, by up to {largest:.3g}")
    print(f"{compared} columns agree, largest difference {largest:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    ranking = commands.add_parser("rank")
    for name in ("dataset", "embeddings", "out"):
        ranking.add_argument(name)
    ranking.add_argument("--split", default="test", choices=["valid", "test"])
    ranking.add_argument("--k", default="10,20,50")
    ranking.set_defaults(run=rank)
    comparing = commands.add_parser("same")
    comparing.add_argument("a")
    comparing.add_argument("b")
    comparing.set_defaults(run=same)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
