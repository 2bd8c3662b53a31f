"""Writing files so that they are whole or not there: beside their place, then renamed into it."""

import contextlib
import glob
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import psutil  # comes with DVC


@contextlib.contextmanager
def whole(path: Path | str, mode: str = "w") -> Iterator[IO]:
    """Open a file that appears at `path` when the block ends, and not at all if the block fails.

    What stood at `path`, a read-only link into DVC's cache too, is replaced and never written into. What killed
    processes left beside it goes.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            pid = left.name.split(".")[-2]
            if pid.isdecimal() and not psutil.pid_exists(int(pid)):
                left.unlink(missing_ok=True)
        with open(beside, mode, encoding=encoding, newline=newline) as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """A new folder to fill, which takes the place of the one at `path` when the block ends, and is gone if it fails.

    Never inside `path`, where DVC would take what a killed process leaves for a part of its output.
    """
    path = Path(path).resolve()  # through a link, if it is one
    beside = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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


def remember(path: Path | str, content: bytes) -> None:
    """Write bytes into a cache, their check sum behind them."""
    with whole(path, "wb") as file:
        file.write(content)
        file.write(hashlib.sha256(content).digest())


def remembered(path: Path | str) -> bytes | None:
    """Bytes from a cache; None if there are none, or they are damaged."""
    with contextlib.suppress(OSError):
        content = Path(path).read_bytes()
        if hashlib.sha256(content[:-32]).digest() == content[-32:]:
            return content[:-32]
    return None
