"""Reads a checkpoint as its format page describes it, with h5py and json alone.

usage: read_with_h5py.py CHECKPOINT ROWS
The tensor `table` must hold row * 10 + column, with -value and value^2 as its Adam moments.
"""

import json
import pathlib
import sys

import h5py
import numpy as np


def main():
    folder, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "micrec checkpoint", manifest["format"]
    assert manifest["format_version"] == 1
    assert manifest["step"] == 30 and manifest["rows"] == rows
    described = {tensor["name"]: tensor for tensor in manifest["tensors"]}
    assert described["table"]["shape"] == [rows, 4], described["table"]

    parts = {"value": np.full((rows, 4), np.nan, np.float32)}
    parts["adam_m"], parts["adam_v"] = parts["value"].copy(), parts["value"].copy()
    seen = np.zeros(rows, int)
    for number, shard in enumerate(manifest["shards"]):
        path = folder / shard["file"]
        assert path.stat().st_size == shard["bytes"]
        with h5py.File(path) as file:
            assert file.attrs["format"] == "micrec checkpoint shard"
            assert file.attrs["shard"] == number and file.attrs["step"] == 30
            group = file["tensors/table"]
            assert group.attrs["description"] == "row * 10 + column"
            row = group["row"][:]
            assert row.dtype == np.int64 and len(row) == shard["rows"]
            assert (np.diff(row) > 0).all()
            seen[row] += 1
            for name, part in parts.items():
                assert group[name].dtype == np.float32
                part[row] = group[name][:]
            assert ("scale" in file["tensors"]) == (number == 0), "replicated: in shard 0 only"
            if number == 0:
                assert file["tensors/scale/value"][0] == 0.25
    assert (seen == 1).all(), "each row once"
    expected = np.arange(rows, dtype=np.float32)[:, None] * 10 + np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(parts["value"], expected)
    np.testing.assert_array_equal(parts["adam_m"], -expected)
    np.testing.assert_array_equal(parts["adam_v"], expected * expected)


if __name__ == "__main__":
    main()
