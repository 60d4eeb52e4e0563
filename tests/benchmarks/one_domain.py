#!/usr/bin/env python3
"""How well people are served in a domain where nothing of them is known, out of what they did in another.

    one_domain.py PROGRAM DATASET.h5 FOLDER [--share=0.2] [--seed=0] [--models="NAME=FLAGS|NAME=FLAGS"] [--train="FLAGS"]

Of the people who have training interactions in every domain, a share loses those of one domain, another share those of the next, and
so on; what they have there to be found at test stays. The dataset is made anew so, every model is trained on it, and the people who
lost a domain are ranked for in that domain. Prints a table: NDCG@20 of each model by domain, and the difference to popularity with
twice its standard error over people. Settings are chosen by the validation of the others. Work goes to FOLDER; what is there already
is not done again. Needs numpy and h5py.
"""

import numpy as np
from reduced_worlds import arguments, beside, figures, prepare, read

MODELS = ("popularity=--model=popularity|embeddings and ridge map=--model=micrec --item_regression=off|"
          "regression alone=--model=item_regression|micrec=--model=micrec")


def choose(pairs, share, seed):
    """Domain -> the people who lose it: so large a share of those who have training in all, nobody in two domains."""
    people = sorted(set.intersection(*({user for user, _ in splits["train"]} for splits in pairs.values())))
    order = np.random.default_rng(seed).permutation(len(people))
    size = round(share * len(people))
    if size * len(pairs) > len(people):
        raise SystemExit(f"--share={share} of {len(people)} people in each of {len(pairs)} domains is more than all; give less")
    return {domain: {people[n] for n in order[place * size:(place + 1) * size]} for place, domain in enumerate(pairs)}


def take_away(pairs, lost):
    """The pairs without training and validation of those who lose a domain."""
    return {domain: {split: found if split == "test" else [pair for pair in found if pair[0] not in lost[domain]]
                     for split, found in splits.items()}
            for domain, splits in pairs.items()}


def main():
    options = arguments(__doc__, MODELS, share=0.2).parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    pairs, features = read(options.dataset)
    lost = choose(pairs, options.share, options.seed)
    dataset = options.folder / "one_domain.h5"
    prepare(options.program, dataset, take_away(pairs, lost), features)
    tested = {domain: sorted({user for user, _ in splits["test"]} & lost[domain]) for domain, splits in pairs.items()}
    print("| | " + " | ".join(f"{domain}, {len(users):,} people" for domain, users in tested.items()) + " |")
    print("|---|" + "--:|" * len(tested))
    first = None
    for model in options.models.split("|"):
        name, flags = model.split("=", 1)
        of = figures(options.program, dataset, name, flags.split(), options.train.split())
        values = {domain: np.array([of[domain][user] for user in users]) for domain, users in tested.items()}
        cells = [beside(of_domain, first and first[domain]) for domain, of_domain in values.items()]
        first = first or values
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
