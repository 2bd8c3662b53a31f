"""Stored frames: JPEGs in tar files, one tar a clip in `.cache/` and sixteen shards in `data/frames/`.

A clip's shard follows from its name, so that an added clip changes one shard; `tar tf` shows what is in it:
"wave/anna/take 1.mp4/07.jpg" is candidate 7 of that clip, "07-change.jpg" what changed to it from shortly before.
"""

import hashlib
import inspect
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

import cv2
import numpy as np

from glimpse.core.files import remember, remembered

JPEG_QUALITY = 95

Places = dict[str, list[tuple[int, int]]]  # in a shard: {clip: [(offset, size) of each JPEG]}


@dataclass
class Stored:
    """One clip's candidates: the JPEG of each, and of its change."""

    jpegs: list[bytes]
    changes: list[bytes]
    seconds: float = 0.0  # how long the clip is; 0.0: not known, as of one in a shard

    @classmethod
    def of(cls, pictures: list[bytes]) -> Self:
        """From the JPEGs in the order they are stored in: a candidate, its change, the next candidate."""
        return cls(pictures[::2], pictures[1::2])

    @classmethod
    def encode(cls, clip: Any) -> Self:
        """From a `Clip` as it was decoded."""
        seconds = clip.frames / clip.fps if clip.fps else 0.0
        return cls([*map(to_jpeg, clip.candidates)], [*map(to_jpeg, clip.changes)], seconds)

    @property
    def pictures(self) -> list[bytes]:
        """The JPEGs in the order they are stored in."""
        return [jpeg for pair in zip(self.jpegs, self.changes, strict=True) for jpeg in pair]


def to_jpeg(frame: np.ndarray) -> bytes:
    """A BGR frame (height, width, 3) as JPEG bytes."""
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def from_jpeg(jpeg: bytes, how: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """The frame in JPEG bytes: BGR (height, width, 3), or as another of OpenCV's IMREAD_… says."""
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how) if jpeg else None
    if frame is None:
        raise SystemExit("data/frames: holds a damaged picture: run `dvc repro frames` to make it anew")
    return frame


def code_of(*modules: ModuleType) -> str:
    """A name for the code of modules: what they made before they were changed is not found again in a cache."""
    key = hashlib.sha256()
    for module in modules:
        key.update(Path(inspect.getfile(module)).read_bytes())
    return key.hexdigest()[:16]


def content_key(path: Path | str, *settings: object) -> str:
    """A name for what is made of a file: changes with its bytes, the settings and OpenCV's version."""
    with open(path, "rb") as file:
        key = hashlib.file_digest(file, "sha256")
    key.update(json.dumps([cv2.__version__, *settings]).encode())
    return key.hexdigest()[:40]


def new_tar(file: IO[bytes]) -> tarfile.TarFile:
    """A tar that writes to an open file; in a format that takes names of any length and alphabet."""
    return tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """One file in an open tar; owner, mode and time are fixed, so that equal frames make equal bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def add_clip(tar: tarfile.TarFile, folder: str, pictures: Iterable[bytes]) -> None:
    """A clip's JPEGs, in the order of `Stored.of`, in a folder of an open tar."""
    for number, jpeg in enumerate(pictures):
        add_member(tar, f"{folder}{number // 2:02d}{'-change' if number % 2 else ''}.jpg", jpeg)


def write_entry(path: Path | str, measures: dict, pictures: Iterable[bytes] = ()) -> None:
    """One clip's entry in the cache: its measures (as JSON can hold them) and its JPEGs."""
    made = io.BytesIO()
    with new_tar(made) as tar:
        add_member(tar, "clip.json", json.dumps(measures, sort_keys=True).encode())
        add_clip(tar, "", pictures)
    remember(path, made.getvalue())


def read_entry(path: Path | str) -> tuple[dict, list[bytes]] | None:
    """An entry's measures and JPEGs; None if there is none or it is damaged."""
    content = remembered(path)
    if content is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        measures, *pictures = [file.read() for file in map(tar.extractfile, tar) if file]
    return json.loads(measures), pictures


def shard_name(clip: str) -> str:
    """The shard a clip stands in, by its name alone: "0.tar" to "f.tar"."""
    return hashlib.sha256(clip.encode()).hexdigest()[0] + ".tar"


class Frames:
    """Read access to `data/frames/` by clip. Opens each shard once and remembers where each JPEG lies in it."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._places: dict[Path, Places] = {}

    def stored(self, clip: str) -> Stored:
        """A clip's `Stored` candidates."""
        shard = self.folder / shard_name(clip)
        if shard not in self._places:
            self._places[shard] = self._index(shard)
        places = self._places[shard].get(clip)
        if places is None:
            raise SystemExit(f"{shard}: holds no frames of {clip}: run `dvc repro frames`")
        with open(shard, "rb") as file:
            pictures = []
            for offset, size in places:
                file.seek(offset)
                pictures.append(file.read(size))
        return Stored.of(pictures)

    @staticmethod
    def _index(shard: Path) -> Places:
        """Where the JPEGs of a shard lie in it."""
        places: Places = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    clip = member.name.rpartition("/")[0]
                    places.setdefault(clip, []).append((member.offset_data, member.size))
        except (OSError, tarfile.TarError) as error:
            raise SystemExit(f"{shard}: can't be read ({error}): run `dvc repro frames`") from None
        return places
