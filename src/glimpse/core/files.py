"""Files: atomic writing, CSV tables, NumPy arrays, cache entries below `.cache/`; every error is one line."""

import ast
import contextlib
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def atomic_write(path: Path | str, mode: str = "w") -> Iterator[IO]:
    """Open a file that appears at `path` when the block ends, and not at all if the block fails.

    An existing file, or read-only link into DVC's cache, is replaced and never written into. A killed process may leave
    its temporary file, `.<name>.<process>.part`, beside it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, encoding=encoding, newline=newline) as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a new folder to fill, which replaces the one at `path` when the block ends; it is deleted on failure.

    It is never inside `path`, where DVC would count what a killed process leaves as output.
    """
    path = Path(path).resolve()  # follow a link
    temporary = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_table(path: Path | str, table: "pd.DataFrame") -> None:
    """Write a table as CSV, with the same bytes on every system."""
    with atomic_write(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


def read_table(path: Path | str, columns: Iterable[str]) -> "pd.DataFrame":
    """Read a CSV file as a table of strings; no type is inferred, since an action may be called NA or 01.

    Exits with one line if the file or one of `columns` is missing, or the file is no CSV.
    """
    import pandas as pd  # here, since programs that only run a model do without

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


def read_numbers(path: Path | str, text_columns: Iterable[str], number_columns: Iterable[str]) -> "pd.DataFrame":
    """Read a CSV file whose `number_columns` hold numbers (NaN where empty); anything else in them exits."""
    import pandas as pd

    table = read_table(path, [*text_columns, *number_columns])
    for name in number_columns:
        numbers = pd.to_numeric(table[name], errors="coerce").astype(float)
        if (numbers.isna() & (table[name] != "")).any():
            raise SystemExit(f"{path}: column {name} holds something that is not a number: run `dvc repro`")
        table[name] = numbers
    return table


def load_array(path: Path | str, *shape: int | None) -> np.ndarray:
    """Memory-map a NumPy file of this shape, where None stands for any size.

    Exits with one line if the file is missing, damaged or of another shape.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to make it") from None
    except Exception as error:  # NumPy raises many kinds for bytes that are no array
        raise SystemExit(f"{path}: damaged ({type(error).__name__}): run `dvc repro` to make it anew") from None
    if len(shape) != array.ndim or any(size not in (None, actual) for size, actual in zip(shape, array.shape)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise SystemExit(f"{path}: its shape is {array.shape}, expected ({expected}): run `dvc repro` to make it anew")
    return array


def source_hash(*modules: ModuleType) -> str:
    """Hash of the modules' syntax trees without docstrings: comments, formatting and docstrings do not change it."""
    digest = hashlib.sha256()
    for module in modules:
        tree = ast.parse(Path(inspect.getfile(module)).read_bytes())
        documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        for node in (node for node in ast.walk(tree) if isinstance(node, documented)):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def cache_key(path: Path | str, *parts: object) -> str:
    """Key of what is computed from a file: changes with its bytes and with `parts` (settings, versions, code).

    `parts` must be JSON-serialisable. Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(parts).encode())
    return digest.hexdigest()[:40]


def cache_write(path: Path | str, content: bytes) -> None:
    """Write a cache entry, followed by its checksum."""
    with atomic_write(path, "wb") as file:
        file.write(content + hashlib.sha256(content).digest())


def cache_read(path: Path | str) -> bytes | None:
    """Read a cache entry; None if it does not exist or is damaged."""
    with contextlib.suppress(OSError):
        content = Path(path).read_bytes()
        if hashlib.sha256(content[:-32]).digest() == content[-32:]:
            return content[:-32]
    return None
