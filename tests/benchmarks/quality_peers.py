"""Fits a model of another kind on a prepared data set and ranks by it, judged by the rules of `micrec evaluate`.

    quality_peers.py PEER DATASET.h5 OUT.h5 [--k=10,20,50] [--threads=2] [--seed=0]

PEER    ease     EASE (Steck, WWW 2019), dense, in numpy: B = I - P / diag(P), P = (X'X + alpha^2 F'F + lambda I)^-1. The
                 columns of the features F are rows beside the people's, so that items alike in their texts go together.
        sansa    SANSA (Spisak et al., RecSys 2023), the package of its authors: EASE by sparse approximate inverses, of an
                 exact factor; beyond 25,000 items, where that is as large as a dense one, of an incomplete one
        als      implicit's AlternatingLeastSquares (Hu, Koren and Volinsky, ICDM 2008)

Every domain by itself. Settings are chosen by NDCG@20 of the validation split, one after the other, each over its small
grid until none gets better; a data set without validation lends a tenth of its training for that, drawn with the seed,
and is then fitted on all of it. OUT.h5 is as `micrec evaluate --per_user` writes it, for `micrec compare`; its attributes
say besides which settings were chosen, of how many that were tried, and how many seconds the last fit took. What was
tried is kept in OUT.h5.tried.json, so that a search that was stopped goes on; OUT.h5 appears when it is complete.

quality_peers.requirements.txt has the packages. sansa needs the library SuiteSparse (libsuitesparse-dev), and a BLAS that
is fast (libopenblas0-pthread), as an exact factor takes much longer by the one that comes with it.
"""

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
import scipy.linalg.lapack as lapack
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

import quality_ranking as ranking

MOST_DENSE_ITEMS = 25_000  # a matrix of 2.5 GB


def history(domain):
    user, item = domain.known()
    ones = np.ones(len(user), np.float32)
    return sp.csr_matrix((ones, (user, item)), (domain.users, domain.items))


class Ease:
    """Settings: lambda, and alpha, the weight of the features (0: without them)."""

    def __init__(self, threads, seed):
        self.threads = threads

    def grid(self, domain):
        if domain.items > MOST_DENSE_ITEMS:
            raise SystemExit(f"{domain.name}: {domain.items} items make a dense matrix of "
                             f"{4e-9 * domain.items ** 2:.1f} GB, twice; left out")
        alphas = {"alpha": [4, 2, 8, 1, 16, 32]} if domain.features else {}
        return {"lambda": [450, 150, 1000, 50, 3000], **alphas}

    def fit(self, domain, setting):
        x = history(domain)
        gram = (x.T @ x).toarray(order="F")
        for modality, value in domain.features.items() if setting.get("alpha") else []:
            present = domain.present[modality]
            rows = np.where(present[:, None], value - value[present].mean(0), 0).astype(np.float32)
            gram += np.float32(setting["alpha"] ** 2) * (rows @ rows.T)
        gram[np.diag_indices(domain.items)] += np.float32(setting["lambda"])
        factor, info = lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
        inverse, info_inverse = lapack.spotri(factor, lower=1, overwrite_c=1)
        if info or info_inverse:
            raise SystemExit(f"{domain.name}: the matrix has no Cholesky factor; try a larger lambda")
        weights = mirrored(inverse)
        weights /= -np.diag(weights).copy()[None, :]
        np.fill_diagonal(weights, 0)
        weights = np.ascontiguousarray(weights)
        return lambda users: x[users] @ weights


def mirrored(matrix, step=1024):
    """Fills the upper triangle with the lower, in place."""
    for begin in range(0, len(matrix), step):
        end = min(begin + step, len(matrix))
        corner = np.tril(matrix[begin:end, begin:end])
        matrix[begin:end, begin:end] = corner + np.tril(corner, -1).T
        matrix[begin:end, end:] = matrix[end:, begin:end].T
    return matrix


class Sansa:
    """Settings: lambda, and the density of the matrix of weights."""

    def __init__(self, threads, seed):
        import sansa

        logging.getLogger("sansa").setLevel(logging.WARNING)
        self.package = sansa

    def grid(self, domain):
        return {"lambda": [150, 60, 450], "density": [5e-3, 1e-3, 2e-2]}

    def fit(self, domain, setting):
        x = history(domain)
        exact, incomplete = self.package.CHOLMODGramianFactorizerConfig, self.package.ICFGramianFactorizerConfig
        factorizer = exact() if domain.items <= MOST_DENSE_ITEMS else incomplete()
        model = self.package.SANSA(self.package.SANSAConfig(
            l2=float(setting["lambda"]), weight_matrix_density=setting["density"], gramian_factorizer_config=factorizer,
            lower_triangle_inverter_config=self.package.UMRUnitLowerTriangleInverterConfig(scans=1, finetune_steps=5)))
        model.fit(x)
        return lambda users: np.asarray(model.forward(x[users]).todense(), np.float32)


class Als:
    """Settings: factors, regularization, and alpha, the weight of an interaction beside that of none."""

    def __init__(self, threads, seed):
        import implicit

        self.package, self.threads, self.seed = implicit, threads, seed

    def grid(self, domain):
        return {"alpha": [10, 1, 3, 30], "regularization": [10, 0.1, 1, 30, 100], "factors": [64, 128, 256]}

    def fit(self, domain, setting):
        x = history(domain)
        with threadpool_limits(1, "blas"):
            model = self.package.als.AlternatingLeastSquares(
                factors=setting["factors"], regularization=setting["regularization"], alpha=setting["alpha"],
                iterations=15, num_threads=self.threads, random_state=self.seed)
            model.fit(x, show_progress=False)
        users, items = np.asarray(model.user_factors), np.asarray(model.item_factors)
        return lambda rows: users[rows] @ items.T


PEERS = {"ease": Ease, "sansa": Sansa, "als": Als}


def with_validation(domain, seed):
    """The domain, or one that has a tenth of its training as validation."""
    if len(domain.pairs["valid"][0]):
        return domain
    user, item = domain.pairs["train"]
    held = np.random.default_rng(seed).random(len(user)) < 0.1
    return domain.with_pairs(train=(user[~held], item[~held]), valid=(user[held], item[held]))


class Tried:
    """NDCG@20 on validation of what was tried, kept in a file; `of` says on which data and with which seed."""

    def __init__(self, path, of):
        self.path = path
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.found = kept if kept.get("of") == of else {"of": of, "domains": {}}

    def domain(self, name):
        return self.found["domains"].setdefault(name, {})

    def save(self):
        self.path.write_text(json.dumps(self.found, indent=1))


def choose(peer, domain, seed, kept):
    """The best setting on validation, of how many that were tried, and its NDCG@20 there."""
    lent = with_validation(domain, seed)
    grid = peer.grid(domain)
    setting = {name: values[0] for name, values in grid.items()}
    tried = kept.domain(domain.name)

    def quality(candidate):
        key = json.dumps(candidate)
        if key not in tried:
            started = time.time()
            tried[key] = float(ranking.mean_of(lent, "valid", peer.fit(lent, candidate)))
            kept.save()
            print(f"{domain.name} {candidate}: valid ndcg@20 {tried[key]:.4f}, {time.time() - started:.1f} s",
                  file=sys.stderr, flush=True)
        return tried[key]

    before = None
    while before != setting:
        before = dict(setting)
        for name, values in grid.items():
            setting[name] = max(values, key=lambda value: quality({**setting, name: value}))
    return setting, len(tried), quality(setting)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("dataset")
    parser.add_argument("out")
    parser.add_argument("--k", default="10,20,50")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    domains, attributes = ranking.open_domains(arguments.dataset)
    peer = PEERS[arguments.peer](arguments.threads, arguments.seed)
    kept = Tried(Path(arguments.out + ".tried.json"), f"{attributes['fingerprint']}, seed {arguments.seed}")
    unfinished = arguments.out + ".unfinished"
    chosen, tried, seconds = {}, 0, 0.0
    with threadpool_limits(arguments.threads):
        for domain in domains:
            chosen[domain.name], count, quality = choose(peer, domain, arguments.seed, kept)
            tried += count
            print(f"{domain.name}: {chosen[domain.name]} of {count} settings, valid ndcg@20 {quality:.4f}")

        def score_of(domain):
            nonlocal seconds
            started = time.time()
            scores = peer.fit(domain, chosen[domain.name])
            seconds += time.time() - started
            return scores

        ranking.write(unfinished, domains, attributes, arguments.peer, "test",
                      [int(k) for k in arguments.k.split(",")], score_of)
    with ranking.h5py.File(unfinished, "a") as file:
        file.attrs.update(settings=json.dumps(chosen), settings_tried=tried, fit_seconds=seconds)
    os.replace(unfinished, arguments.out)
    print(f"{arguments.peer}: {tried} settings tried, the chosen ones fitted in {seconds:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
