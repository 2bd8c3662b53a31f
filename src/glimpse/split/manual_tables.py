"""Tables that users write: data/groups.csv and data/labels.csv, one row per clip."""

from collections.abc import Iterable
from pathlib import Path

from glimpse.core.files import read_table


def read_manual_table(path: Path | str, column: str) -> dict[str, str]:
    """Read {clip: value of `column`}; empty if the file does not exist. Exits with one line if it is not valid."""
    if not Path(path).exists():
        return {}
    table = read_table(path, ["clip", column])
    repeated = table["clip"][table["clip"].duplicated()]
    if len(repeated):
        raise SystemExit(f"{path}: {repeated.iloc[0]} has more than one row: expected one row per clip")
    empty = table["clip"][table[column].str.strip() == ""]
    if len(empty):
        raise SystemExit(f"{path}: {empty.iloc[0]} has no {column}")
    return dict(zip(table["clip"], table[column], strict=True))


def report_unknown_clips(path: Path | str, table: dict[str, str], clips: Iterable[str]) -> None:
    """Print the clips of a manual table that are not among the usable `clips`."""
    usable = set(clips)
    for clip in table:
        if clip not in usable:
            print(f"split: {path}: {clip} is not among the usable clips, its row has no effect")
