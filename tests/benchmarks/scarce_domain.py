#!/usr/bin/env python3
"""What the other domains bring to one that has little: a domain keeps a share of its training, and models are compared in it.

    scarce_domain.py PROGRAM DATASET.h5 FOLDER DOMAIN [--share=0.25] [--seed=0] [--models="NAME=FLAGS|NAME=FLAGS"] [--train="FLAGS"]

Of DOMAIN's training interactions a share is drawn with a seed; its validation and test and all other domains stay as they are. Every
model is trained on the dataset made so, and the last, "the domain alone", with the flags of the first on DOMAIN without the others.
Prints a table: NDCG@20 in DOMAIN, and the difference to the first model with twice its standard error over people. Work goes to
FOLDER; what is there already is not done again. Needs numpy and h5py.
"""

import numpy as np
from reduced_worlds import arguments, beside, figures, prepare, read

MODELS = ("micrec=--model=micrec|without item regression=--model=micrec --item_regression=off|regression alone=--model=item_regression|"
          "without crossing columns in the regression=--model=micrec --regression_cross=0|"
          "without the contrastive loss=--model=micrec --contrastive_weight=0")


def thin_out(pairs, share, seed):
    """A share of the pairs, in their order."""
    kept = np.random.default_rng(seed).permutation(len(pairs))[:round(share * len(pairs))]
    return [pairs[place] for place in sorted(kept)]


def main():
    parser = arguments(__doc__, MODELS, share=0.25)
    parser.add_argument("domain")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    pairs, features = read(options.dataset)
    if options.domain not in pairs:
        raise SystemExit(f"{options.dataset} has no domain {options.domain}; it has {', '.join(pairs)}")
    pairs[options.domain]["train"] = thin_out(pairs[options.domain]["train"], options.share, options.seed)
    together, alone = options.folder / "together.h5", options.folder / "alone.h5"
    prepare(options.program, together, pairs, features)
    prepare(options.program, alone, {options.domain: pairs[options.domain]}, features)

    models = [(together, *model.split("=", 1)) for model in options.models.split("|")]
    models.append((alone, "the domain alone", models[0][2]))
    print(f"| | {options.domain}, {len(pairs[options.domain]['train']):,} training interactions |\n|---|--:|", flush=True)
    first = users = None
    for dataset, name, flags in models:
        of = figures(options.program, dataset, name, flags.split(), options.train.split())[options.domain]
        users = users or sorted(of)
        values = np.array([of[user] for user in users])
        print(f"| {name} | {beside(values, first)} |", flush=True)
        first = values if first is None else first


if __name__ == "__main__":
    main()
