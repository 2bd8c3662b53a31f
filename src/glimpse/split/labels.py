"""Tables that users write, one row per clip: data/groups.csv, and data/labels.csv with label corrections.

`split` corrects the action of a clip where it is not the name of its folder; the clip stays where it is, and is not
decoded again.
"""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from glimpse.core.files import read_table, write_table

WRITE_LOCK = threading.Lock()  # of two requests at the same time, the second adds to what the first wrote


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
    return dict(zip(table["clip"], table[column]))


def report_unknown_clips(path: Path | str, table: dict[str, str], clips: Iterable[str]) -> None:
    """Print the clips of a manual table that are not among the usable `clips`."""
    usable = set(clips)
    for clip in table:
        if clip not in usable:
            print(f"split: {path}: {clip} is not among the usable clips, its row has no effect")


def read_corrections(path: Path | str) -> dict[str, str]:
    """Read the corrections {clip: action}; empty if the file does not exist. Exits with one line if it is not valid."""
    return read_manual_table(path, "action")


def write_correction(path: Path | str, changes: Mapping[str, str], folders: Mapping[str, str]) -> dict[str, str]:
    """Add corrections {clip: action} to the file, and return all corrections in it.

    Other rows and columns stay. A clip whose action is that of its folder again loses its row.
    folders: {clip: action of its folder} of the whole data set. Raises ValueError for any other clip or action.
    """
    actions = set(folders.values())
    with WRITE_LOCK:
        corrections = read_corrections(path)
        for clip, action in changes.items():
            if clip not in folders:
                raise ValueError(f"{clip} is not a clip of the data set")
            if action not in actions | set(corrections.values()):
                raise ValueError(f"{action} is not an action of the data set")
            if action == folders[clip]:
                corrections.pop(clip, None)
            else:
                corrections[clip] = action
        table = pd.DataFrame(list(corrections.items()), columns=["clip", "action"])
        if Path(path).exists():
            other_columns = read_table(path, ["clip", "action"]).drop(columns="action")
            table = table.merge(other_columns, on="clip", how="left").fillna("")
        write_table(path, table)
    return corrections
