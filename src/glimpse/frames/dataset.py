"""The data set on disk: <action>/<clip> or <action>/<group>/<clip>, and which of its files are clips.

A clip is known by its path inside the data set, with forward slashes: "wave/anna/take 1.mp4".
"""

import os
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = frozenset(".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split())
NOT_UTF8 = "its name is not text in UTF-8: rename it"


@dataclass(frozen=True)
class ClipFile:
    """One clip of the data set: its name there, its action, and the folder that groups it ("" if none)."""

    clip: str
    action: str
    folder: str


def find_clips(dataset: Path | str) -> tuple[list[ClipFile], dict[str, str]]:
    """The clips of a data set in the order of their names, and what is no clip: [Found], {name: reason}.

    Nothing is opened. A data set that isn't there, or is no folder, ends the program with one line.
    """
    root = Path(dataset)
    if not root.is_dir():
        raise SystemExit(f"dataset: {dataset} is not a folder: expected one folder of clips per action in it")
    found, ignored = [], {}

    def ignore(path: Path | str, reason: str) -> None:
        ignored[Path(path).relative_to(root).as_posix().encode(errors="backslashreplace").decode()] = reason

    def unreadable(error: OSError) -> None:
        ignore(error.filename, f"can't be read: {error.strerror}")

    for folder, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        place = Path(folder)
        depth = len(place.relative_to(root).parts)
        if not folders and not files and depth:
            ignore(place, "empty folder")
        for name in [*folders]:
            reason = _why_not_into(place / name, depth)
            if reason:
                ignore(place / name, reason)
                folders.remove(name)
        for name in files:
            clip = place.relative_to(root) / name
            reason = _why_not(clip)
            if reason:
                ignore(place / name, reason)
            else:
                found.append(ClipFile(clip.as_posix(), clip.parts[0], "/".join(clip.parts[1:-1])))
    return sorted(found, key=lambda one: one.clip), dict(sorted(ignored.items()))


def _why_not_into(folder: Path, depth: int) -> str | None:
    """Why a folder, in one that is `depth` below the data set, is not looked into; None if it is."""
    if folder.name.startswith("."):
        return "hidden folder"
    if not is_utf8(folder.name):
        return NOT_UTF8
    if folder.is_symlink() and any(folder.samefile(above) for above in list(folder.parents)[: depth + 1]):
        return "a link to a folder above it"
    if depth == 2:
        return "folder deeper than <action>/<group>/<clip>"
    return None


def _why_not(clip: Path) -> str | None:
    """Why a file, by its path inside the data set, is no clip; None if it is one by its name."""
    if clip.name.startswith("."):
        return "hidden file"
    if not is_utf8(clip.name):
        return NOT_UTF8
    if not clip.suffix:
        return "no extension"
    if clip.suffix.lower() not in EXTENSIONS:
        return f"not the extension of a video: {clip.suffix}"
    if len(clip.parts) == 1:
        return "not in the folder of an action"
    return None


def is_utf8(name: str) -> bool:
    """Whether a name can be written down; on Linux it may be any bytes."""
    return name.encode(errors="ignore").decode() == name


def has_clip_name(name: Path | str) -> bool:
    """Whether a file with this name, or path, is meant to be a clip."""
    name = Path(name)
    return not name.name.startswith(".") and name.suffix.lower() in EXTENSIONS


def is_clip_file(path: Path) -> bool:
    """Whether a file, outside of any data set, has the name of a clip."""
    return path.is_file() and has_clip_name(path)
