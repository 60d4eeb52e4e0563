"""The dated file of what was measured on a GPU."""

import datetime
import re


def write_record(folder, machine, measurements):
    """Writes FOLDER/<date>-<card>.md and returns its path.

    machine: text by name, "card" among them; measurements: (what, value with its unit) in the order of the file.
    """
    date = datetime.date.today().isoformat()
    card = re.sub(r"[^a-z0-9]+", "-", machine["card"].lower()).strip("-")
    lines = [f"# {machine['card']}, {date}", "", "Measured by `tests/gpu/check.sh`.", "", "| machine | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    lines += ["", "| measured | |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in measurements]
    path = folder / f"{date}-{card}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
