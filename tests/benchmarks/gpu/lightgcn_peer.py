#!/usr/bin/env python3
"""LightGCN as one would write it in PyTorch, for comparison with `micrec train --model=lightgcn` on the same device.

    lightgcn_peer.py TRAIN.txt [--device=cuda] [--steps=200] [--dim=64] [--layers=3] [--batch=2048] [--lr=1e-3] [--l2=1e-4]

TRAIN.txt has lines "user item item ...". Written from He et al. 2020 (arXiv:2002.02126): equations 3 and 4 with
A = D^-1/2 B D^-1/2, the BPR loss of equation 15 over every interaction once an epoch, Adam. It does as fast as PyTorch allows
what the paper says: the product is cuSPARSE's over a CSR matrix, whose backward pass uses that A is its own transpose, and
triples are drawn on the device. Prints a JSON object: milliseconds a step, the first and the last loss.
"""

import argparse
import json
import statistics
import time
import warnings

import torch
from torch.nn.functional import softplus

WARM_UP = 10
BATCHES = 10  # of steps that are timed together; the median of them is told


class SymmetricProduct(torch.autograd.Function):
    """A x, for A that is its own transpose."""

    @staticmethod
    def forward(ctx, matrix, x):
        ctx.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(ctx, gradient):
        return None, ctx.matrix @ gradient


def read_pairs(path):
    users, items = [], []
    with open(path, encoding="ascii") as file:
        for line in file:
            user, *of_user = map(int, line.split())
            users += [user] * len(of_user)
            items += of_user
    return torch.tensor(users), torch.tensor(items)


def normalised_adjacency(users, items, count_of_users, count_of_items, device):
    nodes = count_of_users + count_of_items
    rows = torch.cat([users, items + count_of_users])
    columns = torch.cat([items + count_of_users, users])
    degree = torch.bincount(rows, minlength=nodes).clamp(min=1).double()
    values = (degree[rows] * degree[columns]).rsqrt().float()
    csr = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (nodes, nodes)).coalesce().to_sparse_csr()
    return torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(), csr.values(), (nodes, nodes), device=device)


class Sampler:
    """Triples: every interaction once an epoch, each with an item that its user does not have."""

    def __init__(self, users, items, count_of_items, batch):
        self.users, self.items, self.count_of_items, self.batch = users, items, count_of_items, batch
        self.known = torch.sort(users * count_of_items + items).values
        self.order = torch.empty(0, dtype=torch.long)
        self.at = 0

    def triple(self):
        if self.at >= len(self.order):
            self.order = torch.randperm(len(self.users), device=self.users.device)
            self.at = 0
        chosen = self.order[self.at:self.at + self.batch]
        self.at += self.batch
        users = self.users[chosen]
        negatives = torch.randint(self.count_of_items, users.shape, device=users.device)
        for _ in range(2):  # Of those drawn a third time one in millions is a positive.
            keys = users * self.count_of_items + negatives
            places = torch.searchsorted(self.known, keys).clamp(max=len(self.known) - 1)
            again = torch.randint(self.count_of_items, users.shape, device=users.device)
            negatives = torch.where(self.known[places] == keys, again, negatives)
        return users, self.items[chosen], negatives


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("interactions")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--l2", type=float, default=1e-4)
    options = parser.parse_args()
    torch.manual_seed(1)
    warnings.filterwarnings("ignore", message="Sparse")
    device = torch.device(options.device)

    users, items = read_pairs(options.interactions)
    count_of_users, count_of_items = int(users.max()) + 1, int(items.max()) + 1
    matrix = normalised_adjacency(users, items, count_of_users, count_of_items, device)
    sampler = Sampler(users.to(device), items.to(device), count_of_items, options.batch)
    table = (0.1 * torch.randn(count_of_users + count_of_items, options.dim, device=device)).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=options.lr, fused=True)

    def step():
        triple_users, positives, negatives = sampler.triple()
        layer, total = table, table
        for _ in range(options.layers):
            layer = SymmetricProduct.apply(matrix, layer)
            total = total + layer
        mean = total / (options.layers + 1)
        positives, negatives = positives + count_of_users, negatives + count_of_users
        of_users = mean[triple_users]
        loss = softplus((of_users * mean[negatives]).sum(1) - (of_users * mean[positives]).sum(1)).mean()
        ids = torch.cat([triple_users, positives, negatives])
        loss = loss + options.l2 * table[ids].square().sum() / (2 * len(triple_users))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize()

    first = step().item()
    for _ in range(min(WARM_UP, options.steps)):
        step()
    seconds = []
    for _ in range(BATCHES):
        synchronize()
        start = time.perf_counter()
        count = max(1, options.steps // BATCHES)
        for _ in range(count):
            loss = step()
        synchronize()
        seconds.append((time.perf_counter() - start) / count)
    print(json.dumps({"ms_per_step": 1e3 * statistics.median(seconds), "first_loss": first, "last_loss": loss.item(),
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
