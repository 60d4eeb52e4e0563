#!/usr/bin/env python3
"""How long an epoch of micrec takes beside the same model by others, in turns, so that all see the same load.

    epoch_peers.py PROGRAM DATASET.h5 [--threads=2] [--rounds=5] [--steps=6] [--batch=2048] [--models=lightgcn,inmo,mf]

lightgcn   PyTorch Geometric's LightGCN: its own layer over edges, and over a sparse matrix of rows, which is faster;
           RecBole's, as its package has it
inmo       the sums of INMO (Wu et al., SIGIR 2022) written down with torch.sparse: rows of templates, three layers,
           the ranking loss and the self-enhanced one
mf         RecBole's BPR, which has neither graph nor layers; and, named as such, what HEAT (arXiv:2304.07334) published
           for SimpleX on gowalla, another loss with many negatives a triple, as if its 128 cores were these threads

Rows are 64 wide, layers 3, Adam; a step is the propagation of the whole graph, forward and backward, and a batch of
triples. RecBole's loss has a penalty on rows of the tables beside. A round is STEPS steps of each; what is told is the
median over rounds of a round's median step, times the steps of an epoch. One domain: DATASET is gowalla's published
split as `micrec prepare --split=files` makes it.
epoch_peers.requirements.txt has the packages.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import scipy.sparse as sp
import torch

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from lightgcn_peer import SymmetricProduct

LAYERS, WIDTH = 3, 64
WARM_STEPS = 2
HEAT_SECONDS, HEAT_CORES = 2.13, 128  # an epoch of SimpleX on gowalla


def read_graph(path):
    """Training interactions of the only domain, and how many users and items it has."""
    with h5py.File(path) as file:
        if len(file["domains"]) != 1:
            sys.exit(f"{path} has {len(file['domains'])} domains; expected one")
        (domain,) = file["domains"].values()
        user = torch.from_numpy(domain["train/user"][:]).long()
        item = torch.from_numpy(domain["train/item"][:]).long()
        return user, item, len(domain["users/key"]), len(domain["items/key"])


def to_rows(row, column, value, shape):
    """A sparse matrix by rows."""
    return torch.sparse_coo_tensor(torch.stack([row, column]), value, shape).coalesce().to_sparse_csr()


class Product(torch.autograd.Function):
    """A matrix times rows, its transpose being there too."""

    @staticmethod
    def forward(context, matrix, transpose, rows):
        context.transpose = transpose
        return matrix @ rows

    @staticmethod
    def backward(context, gradient):
        return None, None, context.transpose @ gradient


def ranking_loss(rows, user, positive, negative):
    user, positive, negative = rows[user], rows[positive], rows[negative]
    return torch.nn.functional.softplus((user * negative).sum(1) - (user * positive).sum(1)).mean()


class Peer:
    """A model whose step is timed: parameters, and rows of all nodes from them."""

    def __init__(self, graph, batch):
        self.user, self.item, self.users, self.items = graph
        self.nodes = self.users + self.items
        self.batch = batch
        both = torch.stack([torch.cat([self.user, self.item + self.users]),
                            torch.cat([self.item + self.users, self.user])])
        degree = torch.bincount(both[0], minlength=self.nodes).float()
        self.edges = both
        self.norm = (degree[both[0]] * degree[both[1]]).rsqrt()
        self.adjacency = to_rows(both[0], both[1], self.norm, (self.nodes, self.nodes))

    def triples(self):
        chosen = torch.randint(len(self.user), (self.batch,))
        return self.user[chosen], self.item[chosen] + self.users, torch.randint(self.items, (self.batch,)) + self.users

    def mean_of_layers(self, rows):
        total = rows
        for _ in range(LAYERS):
            rows = SymmetricProduct.apply(self.adjacency, rows)
            total = total + rows
        return total / (LAYERS + 1)

    def step(self):
        self.optimizer.zero_grad()
        self.loss(*self.triples()).backward()
        self.optimizer.step()


class GeometricLightGCN(Peer):
    """PyTorch Geometric's, by messages along edges or by a sparse matrix."""

    def __init__(self, graph, batch, by_matrix):
        super().__init__(graph, batch)
        from torch_geometric.nn import LightGCN

        self.model = LightGCN(self.nodes, WIDTH, LAYERS)
        self.over = self.edges
        if by_matrix:
            # Its propagation normalises by itself; the sparse matrix has to be of ones then.
            self.over = to_rows(self.edges[0], self.edges[1], torch.ones(self.edges.shape[1]), (self.nodes, self.nodes))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def loss(self, user, positive, negative):
        return ranking_loss(self.model.get_embedding(self.over), user, positive, negative)


class RecBole(Peer):
    """A model of RecBole's package, LightGCN or BPR, on the graph instead of on files of RecBole's own."""

    class Data:
        """The few members of RecBole's data set that its models ask for."""

        def __init__(self, graph):
            self.user, self.item, self.users, self.items = graph

        def num(self, field):
            return {"user": self.users, "item": self.items}[field]

        def inter_matrix(self, form):
            ones = np.ones(len(self.user), np.float32)
            return sp.coo_matrix((ones, (self.user.numpy(), self.item.numpy())), (self.users, self.items)).asformat(form)

    def __init__(self, graph, batch, name):
        super().__init__(graph, batch)
        from recbole.model import general_recommender

        sp.dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)  # newer versions of scipy have it no more
        settings = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": "cpu", "embedding_size": WIDTH,
                    "n_layers": LAYERS, "reg_weight": 1e-5, "require_pow": False}
        self.model = getattr(general_recommender, name)(settings, self.Data(graph))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def loss(self, user, positive, negative):
        return self.model.calculate_loss({"user": user, "item": positive - self.users, "neg_item": negative - self.users})


class PlainInmo(Peer):
    """INMO with every node a template: each node's row is the weighted sum of its neighbours' templates and a token's."""

    def __init__(self, graph, batch):
        super().__init__(graph, batch)
        degree = torch.bincount(self.edges[0], minlength=self.nodes).float() + 1
        own = torch.arange(self.nodes)
        row, column = torch.cat([self.edges[0], own]), torch.cat([self.edges[1], torch.full_like(own, self.nodes)])
        column[len(self.edges[0]):] += (own >= self.users).long()  # the token of users, then that of items
        weight = degree[row].rsqrt()
        self.templates = to_rows(row, column, weight, (self.nodes, self.nodes + 2))
        self.transpose = to_rows(column, row, weight, (self.nodes + 2, self.nodes))
        self.table = torch.nn.Parameter(0.1 * torch.randn(self.nodes + 2, WIDTH))
        self.form = torch.nn.Parameter(torch.ones(WIDTH))
        self.optimizer = torch.optim.Adam([self.table, self.form], lr=1e-3)

    def loss(self, user, positive, negative):
        rows = self.mean_of_layers(Product.apply(self.templates, self.transpose, self.table))
        return (ranking_loss(rows, user, positive, negative)
                + 0.01 * ranking_loss(self.table * self.form, user, positive, negative))


def seconds_of_peer(peer, steps):
    times = []
    for _ in range(steps + WARM_STEPS):
        begin = time.perf_counter()
        peer.step()
        times.append(time.perf_counter() - begin)
    return median(times[WARM_STEPS:])


def seconds_of_micrec(options, model, folder, number):
    """The median step of a run, by its lines of progress of one step each."""
    run = Path(folder) / f"{model}.{number}"
    subprocess.run([options.program, "train", f"--dataset={options.dataset}", f"--run_dir={run}", f"--model={model}",
                    "--item_regression=off", f"--batch={options.batch}", f"--max_steps={10 * options.steps}", "--validate_every=0",
                    "--log_every=5", "--save_every_minutes=0", f"--threads={options.threads}"], check=True, capture_output=True)
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return median([line["seconds"] / 5 for line in lines if line["kind"] == "step"][1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("dataset")
    for name, default in (("threads", 2), ("rounds", 5), ("steps", 6), ("batch", 2048)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--models", default="lightgcn,inmo,mf")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    graph = read_graph(options.dataset)
    steps = math.ceil(len(graph[0]) / options.batch)

    with tempfile.TemporaryDirectory() as folder:
        for model in options.models.split(","):
            peers = {"lightgcn": {"PyTorch Geometric, edges": lambda: GeometricLightGCN(graph, options.batch, False),
                                  "PyTorch Geometric, sparse matrix": lambda: GeometricLightGCN(graph, options.batch, True),
                                  "RecBole": lambda: RecBole(graph, options.batch, "LightGCN")},
                     "inmo": {"torch.sparse": lambda: PlainInmo(graph, options.batch)},
                     "mf": {"RecBole's BPR": lambda: RecBole(graph, options.batch, "BPR")}}[model]
            peers = {name: make() for name, make in peers.items()}
            own, times = [], {name: [] for name in peers}
            for number in range(options.rounds):
                own.append(seconds_of_micrec(options, model, folder, number))
                for name, peer in peers.items():
                    times[name].append(seconds_of_peer(peer, options.steps))
            print(f"{model}: an epoch of {steps} steps of {options.batch} triples, {options.threads} threads, "
                  f"median of {options.rounds}")
            print(f"  {'micrec':<36} {1e3 * median(own):9.1f} ms a step {steps * median(own):9.1f} s")
            for name, seconds in times.items():
                ratio = median(there / here for there, here in zip(seconds, own))
                print(f"  {name:<36} {1e3 * median(seconds):9.1f} ms a step {steps * median(seconds):9.1f} s, "
                      f"{ratio:.1f} times micrec's", flush=True)
            if model == "mf":
                seconds = HEAT_SECONDS * HEAT_CORES / options.threads
                print(f"  HEAT's SimpleX, not measured: {HEAT_SECONDS} s published for {HEAT_CORES} cores, which is {seconds:.0f} s for "
                      f"{options.threads} if cores scale", flush=True)


if __name__ == "__main__":
    main()
