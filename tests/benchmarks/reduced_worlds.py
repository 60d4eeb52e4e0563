"""Datasets from which something was taken away, and models trained on them: what one_domain.py and scarce_domain.py share.

Needs numpy and h5py.
"""

import argparse
import csv
import subprocess
from pathlib import Path

import h5py
import numpy as np

TRAIN = "--batch=8192 --max_steps=360 --lr=0.01 --lr_decay --validate_every=0 --validate_every_steps=60"
STEPLESS = {"popularity", "item_regression"}


def read(dataset):
    """Domain -> split -> (person, item) keys, and domain -> modality -> (item keys, rows) of those present."""
    pairs, features = {}, {}
    with h5py.File(dataset) as file:
        for domain in file.attrs["domains"].split(","):
            group = file["domains"][domain]
            users, items = group["users/key"].asstr()[:], group["items/key"].asstr()[:]
            pairs[domain] = {split: list(zip(users[group[split]["user"][:]], items[group[split]["item"][:]]))
                             for split in ("train", "valid", "test")}
            features[domain] = {}
            for modality in group.get("features", {}):
                present = group["features"][modality]["present"][:].astype(bool)
                features[domain][modality] = (items[present], group["features"][modality]["value"][:][present])
    return pairs, features


def prepare(program, dataset, pairs, features):
    """Makes the dataset of these pairs, split as they say, from files in its folder; where it is there, it is left."""
    if dataset.exists():
        return
    words, described = [], []
    for domain, splits in pairs.items():
        path = dataset.with_name(f"{dataset.stem}_{domain}.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["user_id", "item_id", "x_label"])
            for label, split in enumerate(("train", "valid", "test")):
                out.writerows([user, item, label] for user, item in splits[split])
        words.append(f"{domain}={path}")
        for modality, (keys, rows) in features[domain].items():
            path = dataset.with_name(f"{dataset.stem}_{domain}_{modality}.h5")
            with h5py.File(path, "w") as file:
                file.create_dataset("key", data=list(keys), dtype=h5py.string_dtype())
                file["value"] = rows
            described.append(f"{modality}:{domain}={path}")
    flags = ["--split=column", f"--out={dataset}"] + ([f"--features={','.join(described)}"] if described else [])
    subprocess.run([program, "prepare", *flags, *words], check=True, stderr=open(dataset.with_suffix(".log"), "w"))


def figures(program, dataset, name, flags, common):
    """Domain -> person -> NDCG@20 at test of a model trained on the dataset, kept beside it under a name."""
    run = dataset.with_name(name.replace(" ", "_"))
    per_user = run.with_suffix(".h5")
    if not per_user.exists():
        subprocess.run(["rm", "-rf", run], check=True)
        model = next(flag.split("=", 1)[1] for flag in flags if flag.startswith("--model="))
        common = [] if model in STEPLESS else common
        with open(run.with_suffix(".log"), "w") as log:
            subprocess.run([program, "train", f"--dataset={dataset}", f"--run_dir={run}", *common, *flags],
                           check=True, stdout=log, stderr=log)
            subprocess.run([program, "evaluate", f"--run_dir={run}", "--split=test", f"--per_user={per_user}"],
                           check=True, stdout=log, stderr=log)
    with h5py.File(per_user) as file:
        return {domain: dict(zip(group["user"].asstr()[:], group["ndcg@20"][:])) for domain, group in file["domains"].items()}


def arguments(description, models, share):
    """A parser of what both scripts take: the first words, and flags with these defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=share)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", default=models)
    parser.add_argument("--train", default=TRAIN)
    return parser


def beside(values, first):
    """The mean of values, and the difference to others of the same people with twice its standard error."""
    if first is None:
        return f"{values.mean():.4f}"
    difference = values - first
    return f"{values.mean():.4f} ({difference.mean():+.4f} ± {2 * difference.std(ddof=1) / np.sqrt(len(difference)):.4f})"
