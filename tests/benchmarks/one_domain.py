#!/usr/bin/env python3
"""How well people are served in a domain where nothing of them is known, out of what they did in another.

    one_domain.py PROGRAM DATASET.h5 FOLDER [--share=0.2] [--seed=0] [--models="NAME=FLAGS|NAME=FLAGS"] [--train="FLAGS"]

Of the people who have training interactions in every domain, a share loses those of one domain, another share those of the next, and
so on; what they have there to be found at test stays. The dataset is made anew so, every model is trained on it, and the people who
lost a domain are ranked for in that domain. Prints a table: NDCG@20 of each model by domain, and the difference to popularity with
twice its standard error over people. Settings are chosen by the validation of the others. Work goes to FOLDER; what is there already
is not done again. Needs numpy and h5py.
"""

import argparse
import csv
import subprocess
from pathlib import Path

import h5py
import numpy as np

MODELS = ("popularity=--model=popularity|embeddings and ridge map=--model=micrec --item_regression=off|"
          "regression alone=--model=item_regression|micrec=--model=micrec")
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


def choose(pairs, share, seed):
    """Domain -> the people who lose it: so large a share of those who have training in all, nobody in two domains."""
    people = sorted(set.intersection(*({user for user, _ in splits["train"]} for splits in pairs.values())))
    order = np.random.default_rng(seed).permutation(len(people))
    size = round(share * len(people))
    if size * len(pairs) > len(people):
        raise SystemExit(f"--share={share} of {len(people)} people in each of {len(pairs)} domains is more than all; give less")
    return {domain: {people[n] for n in order[place * size:(place + 1) * size]} for place, domain in enumerate(pairs)}


def prepare(program, folder, pairs, features, lost):
    if (folder / "one_domain.h5").exists():
        return
    words, described = [], []
    for domain, splits in pairs.items():
        path = folder / f"{domain}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["user_id", "item_id", "x_label"])
            for label, split in enumerate(("train", "valid", "test")):
                out.writerows([user, item, label] for user, item in splits[split]
                              if split == "test" or user not in lost[domain])
        words.append(f"{domain}={path}")
        for modality, (keys, rows) in features[domain].items():
            with h5py.File(folder / f"{domain}_{modality}.h5", "w") as file:
                file.create_dataset("key", data=list(keys), dtype=h5py.string_dtype())
                file["value"] = rows
            described.append(f"{modality}:{domain}={folder / f'{domain}_{modality}.h5'}")
    flags = ["--split=column", f"--out={folder / 'one_domain.h5'}"] + ([f"--features={','.join(described)}"] if described else [])
    subprocess.run([program, "prepare", *flags, *words], check=True, stderr=open(folder / "prepare.log", "w"))


def figures(program, folder, name, flags, common):
    """Domain -> person -> NDCG@20."""
    run, per_user = folder / name.replace(" ", "_"), folder / f"{name.replace(' ', '_')}.h5"
    if not per_user.exists():
        subprocess.run(["rm", "-rf", run], check=True)
        model = next(flag.split("=", 1)[1] for flag in flags if flag.startswith("--model="))
        common = [] if model in STEPLESS else common
        with open(f"{run}.log", "w") as log:
            subprocess.run([program, "train", f"--dataset={folder / 'one_domain.h5'}", f"--run_dir={run}", *common, *flags],
                           check=True, stdout=log, stderr=log)
            subprocess.run([program, "evaluate", f"--run_dir={run}", "--split=test", f"--per_user={per_user}"],
                           check=True, stdout=log, stderr=log)
    with h5py.File(per_user) as file:
        return {domain: dict(zip(group["user"].asstr()[:], group["ndcg@20"][:])) for domain, group in file["domains"].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--train", default=TRAIN)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    pairs, features = read(options.dataset)
    lost = choose(pairs, options.share, options.seed)
    prepare(options.program, options.folder, pairs, features, lost)
    tested = {domain: sorted({user for user, _ in splits["test"]} & lost[domain]) for domain, splits in pairs.items()}
    print("| | " + " | ".join(f"{domain}, {len(users):,} people" for domain, users in tested.items()) + " |")
    print("|---|" + "--:|" * len(tested))
    first = None
    for model in options.models.split("|"):
        name, flags = model.split("=", 1)
        of = figures(options.program, options.folder, name, flags.split(), options.train.split())
        values = {domain: np.array([of[domain][user] for user in users]) for domain, users in tested.items()}
        cells = [f"{of_domain.mean():.4f}" for of_domain in values.values()]
        if first is None:
            first = values
        else:
            for place, (domain, of_domain) in enumerate(values.items()):
                difference = of_domain - first[domain]
                cells[place] += f" ({difference.mean():+.4f} ± {2 * difference.std(ddof=1) / np.sqrt(len(difference)):.4f})"
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
