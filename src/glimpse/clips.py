"""The data set on disk: <action>/<clip> or <action>/<group>/<clip>, and which of its files are clips.

A clip is known by its path inside the data set, with forward slashes: "wave/anna/take 1.mp4".
"""

import os
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = frozenset(".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split())


@dataclass(frozen=True)
class Found:
    """One clip of the data set: its name there, its action, and the folder that groups it ("" if none)."""

    clip: str
    action: str
    folder: str


def find(dataset):
    """The clips of a data set in the order of their names, and what is no clip: [Found], {name: reason}.

    Nothing is opened. A data set that isn't there, or is no folder, ends the program with one line.
    """
    root = Path(dataset)
    if not root.is_dir():
        raise SystemExit(f"dataset: {dataset} is not a folder: expected one folder of clips per action in it")
    found, ignored = [], {}
    for folder, folders, files in os.walk(root, followlinks=True):
        place = Path(folder).relative_to(root)
        for name in [name for name in folders if name.startswith(".")]:
            ignored[spelled(place / name)] = "hidden folder"
            folders.remove(name)
        for name in files:
            clip = place / name
            reason = _why_not(clip)
            if reason:
                ignored[spelled(clip)] = reason
            else:
                found.append(Found(clip.as_posix(), clip.parts[0], "/".join(clip.parts[1:-1])))
        if len(place.parts) == 2:  # links that lead back up would be followed for ever
            for name in folders:
                ignored[spelled(place / name)] = "folder deeper than <action>/<group>/<clip>"
            folders.clear()
    return sorted(found, key=lambda one: one.clip), dict(sorted(ignored.items()))


def spelled(path):
    """A path as text that can be written down, with \\x.. for bytes that are not UTF-8."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def _why_not(clip):
    """Why a file, by its path inside the data set, is no clip; None if it is one by its name."""
    if spelled(clip) != clip.as_posix():
        return "a name that is not in UTF-8: rename it"
    if clip.name.startswith("."):
        return "hidden file"
    if not clip.suffix:
        return "no extension"
    if clip.suffix.lower() not in EXTENSIONS:
        return f"not the extension of a video: {clip.suffix}"
    if len(clip.parts) == 1:
        return "not in the folder of an action"
    return None


def looks_like_a_clip(path):
    """Whether a file, outside of any data set, has the name of a clip."""
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in EXTENSIONS
