"""Tables and arrays that stages hand on: CSV files and NumPy's, and one line that says what is wrong with one."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from glimpse.core.files import whole


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """A pandas table as a CSV file, the same bytes on every system."""
    with whole(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


def read_table(path: Path | str, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV file as a pandas table of text (nothing is guessed: an action may be called NA or 01).

    A missing file or column ends the program with one line that names it.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to make it") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise SystemExit(f"{path}: not a CSV table in UTF-8: {' '.join(str(error).split())}") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise SystemExit(f"{path}: has no column {', '.join(missing)}: its first line must name the columns")
    return table


def read_array(path: Path | str, *shape: int | None) -> np.ndarray:
    """A NumPy file, read from the disk as it is used; `shape` is what it must be, None where any number will do.

    A file that is missing, damaged or of another shape ends the program with one line that names it.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to make it") from None
    except Exception as error:  # many kinds, for bytes that are no array
        raise SystemExit(f"{path}: damaged ({type(error).__name__}): run `dvc repro` to make it anew") from None
    if len(shape) != array.ndim or any(wanted not in (None, held) for wanted, held in zip(shape, array.shape)):
        wanted = ", ".join("any" if one is None else str(one) for one in shape)
        raise SystemExit(f"{path}: its shape is {array.shape}, expected ({wanted}): run `dvc repro` to make it anew")
    return array
