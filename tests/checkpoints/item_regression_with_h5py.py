"""Writes and reads a file of coefficients as its format page describes it, with h5py alone.

usage: item_regression_with_h5py.py write FILE     the golden file's contents
       item_regression_with_h5py.py check FILE     that a file of micrec has them too
"""

import sys
import zlib

import h5py
import numpy as np

FINGERPRINT = "0123456789abcdef0123456789abcdef"
SETTINGS = '{"lambda": 150.0, "neighbours": 70}'
ITEMS = 7
# By target: {source: value}; the second and the last target have none.
COEFFICIENTS = [{1: 0.5, 6: -0.25}, {}, {0: 1e-30, 1: -2.0, 3: 3.0, 4: 0.125}, {5: 7.0}, {0: -0.0}, {2: 1.5, 3: 2.5}, {}]


def contents():
    value = [number for row in COEFFICIENTS for _, number in sorted(row.items())]
    source = [item for row in COEFFICIENTS for item in sorted(row)]
    offsets = np.cumsum([0] + [len(row) for row in COEFFICIENTS])
    return {"offsets": np.array(offsets, "<i8"), "source": np.array(source, "<i4"), "value": np.array(value, "<f4")}


def write(path):
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "micrec item regression"
        file.attrs["format_version"] = np.int64(1)
        file.attrs["dataset_fingerprint"] = FINGERPRINT
        file.attrs["settings"] = SETTINGS
        file.attrs["items"] = np.int64(ITEMS)
        for name, elements in contents().items():
            file[name] = elements
            file[name].attrs["crc32"] = np.int64(zlib.crc32(elements.tobytes()))


def check(path):
    with h5py.File(path) as file:
        assert set(file) == {"offsets", "source", "value"}, set(file)
        assert dict(file.attrs) == {"format": "micrec item regression", "format_version": 1, "items": ITEMS,
                                    "dataset_fingerprint": FINGERPRINT, "settings": SETTINGS}, dict(file.attrs)
        for name, expected in contents().items():
            found = file[name][:]
            assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes(), (name, found)
            assert file[name].attrs["crc32"] == zlib.crc32(found.tobytes()), name


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](sys.argv[2])
