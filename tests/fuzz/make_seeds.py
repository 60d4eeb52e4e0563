#!/usr/bin/env python3
"""Writes the seeds of every reader: small good files of each kind that it takes, and a few that are nearly good.

usage: make_seeds.py FOLDER MICREC     (FOLDER is tests/fuzz/seeds; MICREC the program, which makes the dataset)

Inputs that once broke a reader lie beside them, named found-...; they are left alone.
"""

import bz2
import gzip
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden/checkpoint-version-1/step-000000000120"
GOLDEN_COEFFICIENTS = GOLDEN.parents[1] / "item-regression-version-1/item_regression.h5"

CSV = {
    "header": b"user_id,item_id,timestamp,rating\nu1,i1,1400000000,5\nu1,i2,1400000001.5,3.5\nu2,i1,1400000002,1\n",
    "quoted": b'user_id,item_id,note\n"u,1","i ""2""","two\nlines"\nu2,i1,\n',
    "crlf": b"\xef\xbb\xbfUserId,ProductId,Score,Time\r\nA1,B000000001,5.0,1303862400\r\n",
    "amazon": b"A2XYZ,B00ABCDEFG,4.0,1393545600\nA2XYZ,0123456789,5.0,1393545601\n",
    "amazon2023": b"user_id,parent_asin,rating,timestamp\nAE,B01,5.0,1677449243000\n",
    "movielens": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\nné,1029,3.0,1260759179\n".encode(),
    "wrong-time": b"user_id,item_id,timestamp\nu1,i1,2014-05-06\n",
    "no-item": b"user_id,itm_id\nu1,i1\n",
    "recbole": b"user_id:token,item_id:token,rating:float,timestamp:float\n1,2,3.0,881250949.0\n",
    "label": b"userID,itemID,rating,timestamp,x_label\n0,3,5.0,1400000000,0\n0,4,4,1400000001,2\n",
    "joined": b"user_id,item_id\nu1,i1\n\xef\xbb\xbfuser_id,item_id\nu2,i1\nuser_id,item_id\n",
    "swallowed": b'user_id,item_id,note\nu1,i2,"great\nu2,i1,fine\nu3,i1,"\n',
    "announced": b"sep=;\r\nuser_id;item_id;timestamp\r\nu;i;5\r\n",
    "returns": b"user_id,item_id\ru1,i1\ru2,\"i\n2\"\r",
}
JSON = {
    "amazon2014": b'{"reviewerID": "A1", "asin": "0000013714", "overall": 4.0, "unixReviewTime": 1393545600}\n'
                  b'{"reviewerID": "A2", "asin": "0000013714", "overall": 5.0, "unixReviewTime": 1393545601}\n',
    "amazon2023": b'{"rating": 5.0, "user_id": "AE", "parent_asin": "B01", "asin": "B00", "timestamp": 1677449243000}\n',
    "plain": b'{"user_id": 7, "item_id": "i \\u00e9 \\n", "rating": null, "more": [{"a": [1, -2e9, true]}]}\n\n'
             b'{"item_id": 1.5, "user_id": "u"}\n',
    "array": b'[{"user_id": 1, "item_id": 2}]\n',
    "no-user": b'{"item": 1, "usr": 2}\n',
    "python": b"{'user_id': 'A', 'item_id': None}\n",
    "two": b'{"user_id": 1, "item_id": 2} {"user_id": 1, "item_id": 3}\n',
    "label": b'{"user_id": 1, "item_id": 18446744073709551615, "x_label": "test"}\n',
}
TXT = {
    "split": b"0 1 2 3\n1 5\n2\n3 12 7 9\n",
    "tabs": b"10\t20 30\r\n\n11 20",
    "wrong": b"0 1 two\n",
    "table": b"1\t10\t5\t881250949\n2\t10\t3\t881250950\n1\t11\t1\t881250951\n",
    "doubtful": b"1 10 5 881250949\n",
    "header": b"user_id item_id\na x\na y\n",
    "colons": b"1::1193::5::978300760\n1::661::3::978302109\n",
}
FLAGFILE = {
    "all": b"# Flags\n--fuzzed_count=10\n--fuzzed-rate=0.25\n--nofuzzed_switch\n--fuzzed_word=green\n"
           b"--fuzzed_sizes=1,2,30\n",
    "wrong": b"--fuzzed_count=1e3\n--fuzzed_rat=1\n--flagfile=x\n",
    "nested": b"  --fuzzed_switch  \r\n--flagfile=\n--fuzzed_word=gren\n",
}
METRICS = {
    "run": b'{"kind":"step","step":10,"epoch":1,"loss":0.5}\n{"kind":"save","step":10}\n{"kind":"step","step":30}\n'
           b'{"kind":"test","step":10}\n{"kind":"end","step":10}\n',
    "cut": b'{"kind":"validation","step":20,"mean":{"ndcg@20":null}}\n{"kind":"st',
}
ATTRIBUTES = {
    "comma": b'item_id,price,brand\na,1.5,"Acme, ""A"""\nb,,x\nnobody,3,y\n',
    "semicolons": b" item_id ;title;\r\n a ; A pan ;1\r\nb;;\r\n",
    "asin": b"title\tparent_asin\tn\nA\ta\t1e300\nB\tb\tinf\n",
    "objects": b'{"item_id": "a", "title": "A \\u00e9"}\n\n{"asin": "b", "title": null}\n',
    "twice": b"item_id,x,x\na,1,2\n",
    "short": b"item_id,x\na\n",
}
WHERE = {
    "all": b"price < 20 and brand in (\"x\", 'y \"z') or not ([day] >= '2024-01-01' and price is not missing)",
    "numbers": b"PRICE = 1 OR price != -1.5e3 AND price NOT IN (1, 2.5)",
    "kinds": b"price = 'a'",
    "end": b"price < 20 and",
    "deep": b"not (" * 120,
    "unknown": b"colour = 'red'",
}
OBSERVED = {
    "events": [{"format": "micrec observed events", "format_version": 1}, {"events": [["food", "u", "a"], ["toys", "u", "b"]]}],
    "items": [{"format": "micrec observed events", "format_version": 1},
              {"events": [["food", "u", "n"]],
               "items": [{"domain": "food", "item": "n", "features": {"text": [0.1, -3e38]}, "title": "A pan"}]},
              {"events": [], "items": [{"domain": "food", "item": "m"}]}],
    "newer": [{"format": "micrec observed events", "format_version": 2}],
    "wrong": [{"format": "micrec observed events", "format_version": 1}, {"events": [["food", "u"]]}],
}
REQUESTS = {
    "recommend": {"user": "p0001", "history": {"domain0": ["i0000-0", "what"]}, "domains": ["domain0"], "k": 3, "why": 2,
                  "exclude": "all", "only_items": {"domain0": ["i0001-1", "i0002-0"]}, "exclude_items": {"domain0": ["i0003-1"]},
                  "where": "price < 2 or brand = 'b'", "at_most": "1:brand", "min_degree": 1},
    "nobody": {"k": 50, "exclude": "none", "min_degree": 2},
    "score": {"user": "p0001", "items": {"domain0": ["i0001-1", "i0001-1"], "domain1": ["i0002-0"]}},
    "similar": {"items": {"domain0": ["i0001-1"]}, "domains": ["domain1", "domain0"], "k": 4, "at_most": "2:brand"},
    "events": {"events": [{"domain": "domain0", "user": "p0001", "item": "i0003-1"}, {"domain": "domain1", "user": "u", "item": "n"}]},
    "items": {"items": [{"domain": "domain0", "item": "n", "title": "A pan", "features": {"text": [1, -2.5, 0, 1e38, 5, 6, 7],
                                                                                         "image": [0, 0, 0, 0, 0]}},
                        {"domain": "domain1", "item": "m"}],
              "events": [{"domain": "domain1", "user": "p0001", "item": "m"}]},
    "find": {"domain": "domain0", "q": "i00", "k": 2},
    "line": {"route": "recommend", "user": "p0002", "k": 2},
    "line-observe": {"route": "observe", "items": [{"domain": "domain0", "item": "n", "features": {"text": [1, 1, 1, 1, 1, 1, 1]}}]},
    "model": {},
    "wrong": {"k": -1, "usr": "x", "history": {"domain9": [7]}},
}


def write_requests(folder):
    for name, request in REQUESTS.items():
        (folder / f"{name}.json").write_text(json.dumps(request))
    (folder / "long-name.json").write_text(json.dumps({"a\n" * 3000: 1}))
    (folder / "long-domain.json").write_text(json.dumps({"domains": ["d\t" * 3000]}))
    (folder / "long-word.json").write_text('{"user": "' + "x" * 9000)
    (folder / "deep.json").write_text("[" * 9000)
    (folder / "bytes.json").write_bytes(b'{"user": "\xff\xfe"}')


def write_observed(folder):
    """Without digests, which the reader adds in one of its variants."""
    for name, lines in OBSERVED.items():
        (folder / f"{name}.log").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_all(folder, ending, contents):
    for name, data in contents.items():
        (folder / f"{name}{ending}").write_bytes(data)


def npy(version, header, data):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def write_npy(folder):
    for kind in ("<f2", "<f4", "<f8"):
        np.save(folder / f"{kind[1:]}.npy", np.arange(6, dtype=kind).reshape(3, 2))
    np.save(folder / "fortran.npy", np.asfortranarray(np.ones((2, 3), "<f4")))
    np.save(folder / "line.npy", np.ones(4, "<f4"))
    header = b"{'descr': \"<f4\", 'fortran_order': False, 'shape': (0, 3,), }"
    (folder / "version2.npy").write_bytes(npy(2, header, b""))


def write_features(folder):
    values = np.arange(6, dtype="f4").reshape(3, 2)
    texts = h5py.string_dtype()
    for version in ("earliest", "latest"):
        with h5py.File(folder / f"variable-{version}.h5", "w", libver=version) as file:
            file["key"] = np.array(["a", "bb", "item 3"], dtype=texts)
            file["value"] = values
    with h5py.File(folder / "fixed.h5", "w") as file:
        file["key"] = np.array([b"a", b"bb", b"ccc"])
        file["value"] = values.astype("f2")
    with h5py.File(folder / "compressed.h5", "w") as file:
        file.create_dataset("key", data=np.array(["a", "b", "c"], dtype=texts), chunks=(2,), compression="gzip")
        file.create_dataset("value", data=values.astype("f8"), chunks=(2, 2), compression="gzip", shuffle=True)
    # What has no checksum of its own behind what has one, and what is elsewhere.
    for name, version, block in ("index", "v110", None), ("user-block", "earliest", 512):
        with h5py.File(folder / f"{name}.h5", "w", libver=(version, "v110"), userblock_size=block) as file:
            file.create_dataset("key", data=np.array(["a", "b", "c"], dtype=texts), chunks=(2,), maxshape=(None,))
            file.create_dataset("value", data=values, chunks=(2, 1), maxshape=(None, None), compression="gzip")
    with h5py.File(folder / "links.h5", "w", libver="v110") as file:
        for number in range(9):
            file[f"{number}"] = h5py.SoftLink("value")
        file["a/names"] = np.array(["a", "b", "c"], dtype=texts)
        file["key"], file["value"] = h5py.SoftLink("b/./names"), values
        file["b"], file["away"] = h5py.SoftLink("/a"), h5py.ExternalLink("away.h5", "/value")
        file.create_dataset("raw", shape=(3,), dtype="f4", external=[("away.bin", 0, 12)])
        layout = h5py.VirtualLayout(shape=(3, 2), dtype="f4")
        layout[:] = h5py.VirtualSource("away.h5", "value", shape=(3, 2))
        file.create_virtual_dataset("virtual", layout)
    with h5py.File(folder / "newer.h5", "w", libver="latest") as file:
        file["key"] = np.array([b"a", b"bb", b"ccc"])
        file.create_dataset("value", data=values, chunks=(2, 2), compression="gzip")
    with h5py.File(folder / "checked.h5", "w") as file:
        file["key"], file["value"] = np.array(["a", "b", "c"], dtype=texts), values
        file["key"].attrs["crc32"] = zlib.crc32(b"a\0b\0c\0")
        file["value"].attrs["crc32"] = zlib.crc32(values)


def copy_plainly(source, copy):
    """The same contents without chunks and filters, as another program would write them."""
    def add(name, thing):
        if isinstance(thing, h5py.Dataset):
            is_text = h5py.check_string_dtype(thing.dtype) is not None
            copy[name] = np.array([text.encode() for text in thing.asstr()[:]]) if is_text else thing[:]
        else:
            copy.require_group(name)
        for key, value in thing.attrs.items():
            copy[name].attrs[key] = np.bytes_(value) if isinstance(value, str) else value

    add("/", source)
    source.visititems(add)


def write_dataset(folder, program):
    with tempfile.TemporaryDirectory() as scratch:
        lines = [f"u{user},i{item},{1400000000 + item}\n" for user in range(6) for item in range(user % 2, 6)]
        Path(scratch, "food.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
        with h5py.File(Path(scratch, "text.h5"), "w") as file:
            file["key"] = np.array([b"i0", b"i1", b"i3"])
            file["value"] = np.ones((3, 2), "f4")
        subprocess.run([program, "prepare", "--out=small.h5", "--hold_out=users:0.3", "--seed=1",
                        "--features=text:food=text.h5", "food=food.csv"],
                       cwd=scratch, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        whole = Path(scratch, "small.h5")
        shutil.copy(whole, folder / "prepared.h5")
        for version in ("earliest", "latest"):  # with no checksums in the structure, and with
            with h5py.File(whole) as source, h5py.File(folder / f"plain-{version}.h5", "w", libver=version) as copy:
                copy_plainly(source, copy)


def write_partition(folder, dataset):
    with h5py.File(dataset) as file:
        lines = [f"food,{kind},{key},{number % 2}\n" for kind in ("user", "item")
                 for number, key in enumerate(file[f"domains/food/{kind}s/key"].asstr()[:])]
    whole = "domain,kind,key,part\n" + "".join(lines)
    write_all(folder, ".csv", {"whole": whole.encode(), "cut": whole[:-20].encode(), "twice": (whole + lines[0]).encode(),
                               "packed": gzip.compress(whole.encode(), mtime=0),
                               "quoted": whole.replace("u1,", '"u1",').replace("\n", "\r\n").encode()})


def write_manifest(folder):
    shutil.copy(GOLDEN / "manifest.json", folder / "golden.json")
    manifest = json.loads((GOLDEN / "manifest.json").read_text())
    manifest["best_metric"] = "-inf"
    manifest["tensors"] = manifest["tensors"][:1]
    (folder / "edited.json").write_text(json.dumps(manifest))


def write_coefficients(folder):
    """The golden file, and copies of it with numbers that cannot be and checksums that fit them."""
    shutil.copy(GOLDEN_COEFFICIENTS, folder / "golden.h5")
    for name, dataset, place, number in (("falling", "offsets", 4, 1), ("beyond", "offsets", 3, 1 << 40),
                                         ("outside", "source", 5, 99), ("negative", "source", 0, -1),
                                         ("not-finite", "value", 2, np.nan)):
        path = folder / f"{name}.h5"
        shutil.copy(GOLDEN_COEFFICIENTS, path)
        with h5py.File(path, "r+") as file:
            file[dataset][place] = number
            file[dataset].attrs.modify("crc32", np.int64(zlib.crc32(file[dataset][:].tobytes())))
    with h5py.File(GOLDEN_COEFFICIENTS) as source, h5py.File(folder / "latest.h5", "w", libver="latest") as copy:
        copy_plainly(source, copy)


def main(folder, program):
    for name in ("csv", "tsv", "json", "adjacency", "gzip", "npy", "keys", "features", "dataset", "partition", "manifest",
                 "best", "shard", "coefficients", "metrics", "flagfile", "attributes", "where", "observed", "requests"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
    write_all(folder / "csv", ".csv", CSV)
    write_all(folder / "tsv", ".tsv", {name: data.replace(b",", b"\t") for name, data in CSV.items()})
    write_all(folder / "json", ".jsonl", JSON)
    write_all(folder / "adjacency", ".txt", TXT)
    packed = gzip.compress(CSV["header"], mtime=0)
    write_all(folder / "gzip", ".gz", {"whole": packed, "cut": packed[:-9], "twice": packed + packed,
                                       "plain": CSV["header"], "stored": gzip.compress(CSV["amazon"], 0, mtime=0),
                                       "inside": gzip.compress(packed, mtime=0), "joined": packed + CSV["header"]})
    (folder / "gzip/whole.bz2").write_bytes(bz2.compress(CSV["header"]))
    (folder / "gzip/whole.xz").write_bytes(lzma.compress(CSV["header"]))
    # Frames of a literal block each, as the zstd program would not be here for sure.
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes([len(CSV["amazon"])])
    block = (len(CSV["amazon"]) << 3 | 1).to_bytes(3, "little") + CSV["amazon"]
    (folder / "gzip/whole.zst").write_bytes(frame + block)
    (folder / "gzip/skipped.zst").write_bytes(b"\x50\x2a\x4d\x18\x02\0\0\0ab" + frame + block)
    write_npy(folder / "npy")
    write_all(folder / "keys", ".txt", {"three": b"a\nb\nc\n", "crlf": b"\xef\xbb\xbfa\r\nb\r\nc", "twice": b"a\na\nb\n",
                                        "packed": gzip.compress(b"a\nb\nc\n", mtime=0)})
    write_features(folder / "features")
    write_dataset(folder / "dataset", program)
    write_partition(folder / "partition", folder / "dataset/prepared.h5")
    write_manifest(folder / "manifest")
    write_all(folder / "best", ".json", {"named": b'{"checkpoint": "step-000000000900"}\n', "other": b'{"checkpoint": 9}'})
    shutil.copy(GOLDEN / "shard-00000.h5", folder / "shard/golden.h5")
    write_coefficients(folder / "coefficients")
    write_all(folder / "metrics", ".jsonl", METRICS)
    write_all(folder / "flagfile", ".txt", FLAGFILE)
    write_all(folder / "attributes", ".csv", ATTRIBUTES)
    write_all(folder / "where", ".txt", WHERE)
    write_observed(folder / "observed")
    write_requests(folder / "requests")


if __name__ == "__main__":
    main(Path(sys.argv[1]), str(Path(sys.argv[2]).resolve()))
