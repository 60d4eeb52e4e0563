#!/usr/bin/env python3
"""Writes tables of interactions with hostile fields through Python's csv module, and what stands in them.

usage: csv_dialects.py FOLDER FILES SEED

FOLDER/expected.jsonl has an object a file: its name, how it is to be read (columns, separator, quotes), its rows
[user, item, time, rating], and whether nothing in it is hostile ("tame": it must be read). A time is a whole number as
text, null where there is no such column, and "" where no reader of 64 bits can have it. Where Python itself reads other
rows than it wrote (a line end without quotes), those are there too ("also").
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import math
import random
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

TAME = ["u1", "B00012", "item 7", "né", "00a", "x_y", "AB-3", "日本", "a.b", "o'clock"]
HOSTILE = ['"', '""', '"x', 'x"', '"x"', 'say "hi"', ",", "\t", ";", "|", "::", "\n", "\r", "\r\n", "\ufeff", "\ufeffk",
           "\0", "a\0b", " ", " lead", "trail ", "", "user_id", "item_id", "rating", "null", "NaN", "{", "[1]", "#", "\\",
           "\\\"", "'", "a,b", "a\tb", "two\nlines", "a\r\nb", "sep=;", "9" * 40, "1e400", "-0", "\u2028", "\x1f", "\x7f",
           "u1,i1,5", "u1\ti1\t5", "\n\n", '",\n"', '"\n', '\n"']
TIMES = ["0", "-1", "1400000000", "1400000000000", "1400000000.75", "1.4e9", "9223372036854775807", "-9223372036854775808"]
HOSTILE_TIMES = ["9223372036854775808", "1" * 40, "1e400", "nan", "inf", "", " 5", "5 ", "+5", "0x10", "1,5", "1_000",
                 "2014-05-06", "½", "٣"]
RATINGS = ["5", "3.5", "0", "-1", "1e-3", ""]
HOSTILE_RATINGS = ["nan", "inf", "1e400", "4,5", "good", "+4", " 4", "1" * 30]
NOTES = ["fine", "", "n2", "so so"]
NAMES = {"user": ["user_id", "userId", "reviewerID"], "item": ["item_id", "asin", "movieId"],
         "time": ["timestamp", "unixReviewTime"], "rating": ["rating", "overall"]}
PACKED = {"": lambda data: data, ".gz": lambda data: gzip.compress(data, 1, mtime=0), ".bz2": bz2.compress,
          ".xz": lzma.compress}


def hostile(rng):
    return "".join(rng.choice(HOSTILE if rng.random() < 0.6 else TAME) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def whole(time):
    """As a 64-bit reader has it, or ""."""
    try:
        value = Decimal(time.strip(" \t"))
        if not value.is_finite():
            return ""
        number = math.floor(value)
    except (InvalidOperation, OverflowError):
        return ""
    return str(number) if -2**63 <= number < 2**63 else ""


def table(rng, tame):
    """Roles of the columns, rows of texts."""
    roles = ["user", "item"] + [role for role in ("time", "rating", "note", "note") if rng.random() < 0.5]
    if rng.random() < 0.5:
        rng.shuffle(roles)
    spicy = 0 if tame else rng.choice([0.02, 0.1, 0.4])

    def field(role):
        is_hostile = rng.random() < spicy
        if role == "time":
            return rng.choice(HOSTILE_TIMES if is_hostile else TIMES)
        if role == "rating":
            return rng.choice(HOSTILE_RATINGS if is_hostile else RATINGS)
        return hostile(rng) if is_hostile else rng.choice(TAME if role != "note" else NOTES)
    return roles, [[field(role) for role in roles] for _ in range(rng.choice([1, 2, 3, 10, 30]))]


def dialect(rng):
    kind = rng.choice(["excel", "excel-tab", "unix", "other", "other"])
    if kind != "other":
        chosen = csv.get_dialect(kind)
        how = {name: getattr(chosen, name) for name in ("delimiter", "quotechar", "lineterminator", "quoting")}
    else:
        how = {"delimiter": rng.choice([",", ",", "\t", ";", "|"]), "quotechar": '"',
               "quoting": rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE])}
    how["lineterminator"] = rng.choice(["\n", "\r\n", "\r"])
    if how["quoting"] == csv.QUOTE_NONE:
        how["quotechar"] = None
    return how


def write(rng, number, folder):
    tame = rng.random() < 0.3
    roles, rows = table(rng, tame)
    how = dialect(rng)
    has_header = rng.random() < 0.7
    header = [rng.choice(NAMES[role]) if role in NAMES else f"note{at}" for at, role in enumerate(roles)]
    out = io.StringIO(newline="")
    try:
        writer = csv.writer(out, **how)
        writer.writerows(([header] if has_header else []) + rows)
    except csv.Error:  # without quotes some fields cannot be written
        return write(rng, number, folder)
    text = out.getvalue()

    tabs = how["delimiter"] == "\t"
    quotes = "auto"
    if how["quoting"] == csv.QUOTE_NONE:
        quotes = "none"
    elif tabs and (rng.random() < 0.5 or any("\n" in field or "\r" in field for row in rows for field, role in
                                             zip(row, roles) if role == "note")):
        # A quote in a table of tabs is a character unless it is said what it is; a text with line ends that nobody
        # reads as a key would then look like lines of its own.
        quotes = "twice"
    separator = "" if how["delimiter"] in ",\t" and rng.random() < 0.7 else how["delimiter"]
    place = {role: roles.index(role) for role in NAMES if role in roles}
    columns = "" if has_header else ",".join(str(place[role] + 1) if role in place else "" for role in NAMES).rstrip(",")

    def value(row, role):
        if role not in place:
            return None
        return whole(row[place[role]]) if role == "time" else row[place[role]]
    expected = [[value(row, role) for role in NAMES] for row in rows]
    also = []
    try:
        back = [row for row in csv.reader(io.StringIO(text, newline=""), **how) if row][has_header:]
        if back != rows and all(len(row) == len(roles) for row in back):
            also = [[value(row, role) for role in NAMES] for row in back]
    except csv.Error:
        pass
    # At the beginning of a file the mark is the encoding's.
    first_role = roles[0]
    if not has_header and text.startswith("\ufeff") and first_role in ("user", "item"):
        at = ("user", "item").index(first_role)
        expected[0][at] = expected[0][at][1:]

    packed = rng.choice(["", "", ".gz", ".bz2", ".xz"])
    name = f"{number:05d}.{'tsv' if tabs else 'csv'}{packed}"
    mark = b"\xef\xbb\xbf" if rng.random() < 0.1 and not text.startswith("\ufeff") else b""
    (folder / name).write_bytes(PACKED[packed](mark + text.encode()))
    # All keys in quotes, in a table of tabs: that is asked about.
    asked = tabs and quotes == "auto" and how["quoting"] in (csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
    return {"file": name, "columns": columns, "separator": separator, "quotes": quotes, "rows": expected, "also": also,
            "lines": text.count("\n") + text.count("\r") + 1, "tame": tame and not asked}


def main(folder, files, seed):
    with open(folder / "expected.jsonl", "w", encoding="utf-8") as out:
        for number in range(files):
            out.write(json.dumps(write(random.Random(f"{seed} {number}"), number, folder)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
