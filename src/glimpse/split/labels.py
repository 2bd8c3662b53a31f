"""Corrections of labels: data/labels.csv, a row for each clip whose action is not the name of its folder.

`split` reads it; the clips stay where they are, and none is decoded again.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from glimpse.core.files import read_table, write_table

WRITE_LOCK = threading.Lock()  # of two people who write at once the second adds to what the first wrote


def read_corrections(path: Path | str) -> dict[str, str]:
    """{clip: action} as they stand in the file; empty if there is none."""
    if not Path(path).exists():
        return {}
    table = read_table(path, ["clip", "action"])
    return dict(zip(table["clip"], table["action"], strict=True))


def write_correction(path: Path | str, wanted: Mapping[str, str], folders: Mapping[str, str]) -> dict[str, str]:
    """Write corrections {clip: action} into the file and return all that stand there then.

    Rows that are there stay, a clip stands there once, and one that gets the action of its folder back loses its row.
    `folders`: {clip: action of its folder} of the whole data set; ValueError where a clip or an action is none of them.
    """
    actions = set(folders.values())
    with WRITE_LOCK:
        held = read_corrections(path)
        for clip, action in wanted.items():
            if clip not in folders:
                raise ValueError(f"{clip} is not a clip of the data set")
            if action not in actions | set(held.values()):
                raise ValueError(f"{action} is not an action of the data set")
            if action == folders[clip]:
                held.pop(clip, None)
            else:
                held[clip] = action
        rows = pd.DataFrame(list(held.items()), columns=["clip", "action"])
        if Path(path).exists():  # other columns, of somebody's own, stay too
            own = read_table(path, ["clip", "action"]).drop(columns="action").drop_duplicates("clip", keep="last")
            rows = rows.merge(own, on="clip", how="left").fillna("")
        write_table(path, rows)
    return held
