"""Writing files so that they are whole or not there: beside their place, then renamed into it."""

import contextlib
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO


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
            if pid.isdecimal() and _ended(int(pid)):
                left.unlink(missing_ok=True)
        with open(beside, mode, encoding=encoding, newline=newline) as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _ended(pid: int) -> bool:
    """Whether a process is known to have ended."""
    try:
        import psutil  # comes with DVC; whoever has nothing but an exported model may lack it
    except ImportError:
        return False
    return not psutil.pid_exists(pid)


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
