"""The data set on disk: <action>/<clip> or <action>/<group>/<clip>, and which of its files are clips.

The name of a clip is its path inside the data set, with forward slashes: "wave/anna/take 1.mp4".
"""

import os
from pathlib import Path
from typing import NamedTuple

EXTENSIONS = frozenset(".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split())
NOT_UTF8 = "its name is not text in UTF-8: rename it"


class ClipFile(NamedTuple):
    """A clip of the data set: its name, its action, and the folder that groups it ("" if there is none)."""

    name: str
    action: str
    folder: str


def find_clips(dataset: Path | str) -> tuple[list[ClipFile], dict[str, str]]:
    """Find the clips of a data set, sorted by name, and what is not a clip: {name: reason}. No file is opened.

    Exits with one line if the data set does not exist or is no folder.
    """
    root = Path(dataset)
    if not root.is_dir():
        raise SystemExit(f"dataset: {dataset} is not a folder: expected a folder that contains one folder per action")
    clips: list[ClipFile] = []
    ignored: dict[str, str] = {}

    def ignore(path: Path | str, reason: str) -> None:
        ignored[Path(path).relative_to(root).as_posix().encode(errors="backslashreplace").decode()] = reason

    walk = os.walk(root, followlinks=True, onerror=lambda e: ignore(e.filename, f"can't be read: {e.strerror}"))
    for parent, folders, files in walk:
        folder = Path(parent)
        parts = folder.relative_to(root).parts
        if not folders and not files and parts:
            ignore(folder, "empty folder")
        for name in [*folders]:
            if reason := _reason_to_skip_folder(folder / name, len(parts)):
                ignore(folder / name, reason)
                folders.remove(name)
        for name in files:
            if reason := _reason_to_skip_file(name, len(parts)):
                ignore(folder / name, reason)
            else:
                clips.append(ClipFile("/".join([*parts, name]), parts[0], "/".join(parts[1:])))
    return sorted(clips), dict(sorted(ignored.items()))


def _reason_to_skip_folder(folder: Path, depth: int) -> str:
    """Why a folder is not searched, "" if it is; `depth`: levels between its parent and the data set."""
    is_loop = folder.is_symlink() and any(folder.samefile(parent) for parent in list(folder.parents)[: depth + 1])
    rules = [
        (folder.name.startswith("."), "hidden folder"),
        (not is_utf8(folder.name), NOT_UTF8),
        (is_loop, "a link to a folder above it"),
        (depth == 2, "folder deeper than <action>/<group>/<clip>"),
    ]
    return next((reason for applies, reason in rules if applies), "")


def _reason_to_skip_file(name: str, depth: int) -> str:
    """Why a file is no clip, "" if it is one by its name; `depth`: levels between its folder and the data set."""
    suffix = Path(name).suffix
    rules = [
        (name.startswith("."), "hidden file"),
        (not is_utf8(name), NOT_UTF8),
        (not suffix, "no extension"),
        (suffix.lower() not in EXTENSIONS, f"not the extension of a video: {suffix}"),
        (depth == 0, "not in the folder of an action"),
    ]
    return next((reason for applies, reason in rules if applies), "")


def is_utf8(name: str) -> bool:
    """Whether a file name can be encoded; on Linux it may be any bytes."""
    return name.encode(errors="ignore").decode() == name


def has_clip_name(name: Path | str) -> bool:
    """Whether a name or path has the extension of a clip and is not hidden."""
    name = Path(name)
    return not name.name.startswith(".") and name.suffix.lower() in EXTENSIONS


def is_clip_file(path: Path) -> bool:
    """Whether a path, inside or outside of a data set, is a file with the name of a clip."""
    return path.is_file() and has_clip_name(path)
