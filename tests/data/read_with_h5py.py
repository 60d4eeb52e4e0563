"""Reads a dataset file with h5py alone, by its format's document, and compares it with a list."""

import sys

import h5py
import numpy as np


def main(dataset_path, expected_path):
    with open(expected_path, encoding="utf-8") as lines:
        expected = sorted(tuple(line.split()) for line in lines)
    found = []
    with h5py.File(dataset_path, "r") as file:
        assert file.attrs["format"] == "micrec dataset"
        assert file.attrs["format_version"] == 3
        assert len(file.attrs["fingerprint"]) == 32
        people = file["people/key"].asstr()[:]
        for name in file.attrs["domains"].split(","):
            domain = file["domains"][name]
            users = domain["users/key"].asstr()[:]
            items = domain["items/key"].asstr()[:]
            assert len(users) == domain.attrs["users"] and len(items) == domain.attrs["items"]
            for split in ("train", "valid", "test", "later"):
                columns = [domain[split][column][:] for column in ("user", "item", "timestamp")]
                found += [(name, split, users[u], items[i], str(t)) for u, i, t in zip(*columns)]

            user_of_person = file["people"][name][:]
            known = user_of_person >= 0
            assert sorted(user_of_person[known]) == list(range(len(users)))
            assert (people[known] == users[user_of_person[known]]).all()

            new, cold = domain["items/new"][:], domain["items/cold"][:]
            held = np.flatnonzero((new == 1) | (cold == 1))
            assert not np.isin(domain["train/item"][:], held).any()
            new_users = np.flatnonzero(domain["users/new"][:])
            assert not np.isin(domain["train/user"][:], new_users).any()

            present = domain["features/text/present"][:]
            value = domain["features/text/value"][:]
            assert domain["features/text"].attrs["present"] == present.sum()
            assert (value[present == 0] == 0).all() and np.isfinite(value).all()
    assert sorted(found) == expected, "the interactions differ"


if __name__ == "__main__":
    main(*sys.argv[1:])
