"""Stored frames: JPEGs in tar files, one tar per clip in `.cache/` and sixteen shards in `data/frames/`.

A clip's shard follows from its name alone, so an added clip changes one shard. `tar tf` lists what a shard holds:
"wave/anna/take 1.mp4/07.jpg" is stored frame 7 of that clip, "07-change.jpg" its difference to the frame 0.08 s before.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from glimpse.core.files import cache_read, cache_write

JpegOffsets = dict[str, list[tuple[int, int]]]  # of a shard: {clip: [(offset, size) of each JPEG]}


@dataclass
class StoredClip:
    """One clip's stored frames: the JPEG of each frame and of its difference to the frame shortly before."""

    frames: list[bytes]
    diffs: list[bytes]
    seconds: float = 0.0  # length of the clip; 0.0: unknown, as of a clip read from a shard

    @classmethod
    def from_jpegs(cls, jpegs: list[bytes]) -> Self:
        """From JPEGs in the order in which they are stored: a frame, its difference, the next frame."""
        return cls(jpegs[::2], jpegs[1::2])

    @property
    def all_jpegs(self) -> list[bytes]:
        """The JPEGs in the order in which they are stored."""
        return [jpeg for pair in zip(self.frames, self.diffs, strict=True) for jpeg in pair]


def new_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Open a tar for writing into a file; PAX format, for names of any length and alphabet."""
    return tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an open tar; owner, mode and time are fixed, so that equal frames make equal bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def add_clip(tar: tarfile.TarFile, folder: str, jpegs: Iterable[bytes]) -> None:
    """Add a clip's JPEGs, in the order of `StoredClip.all_jpegs`, to a folder of an open tar."""
    for index, jpeg in enumerate(jpegs):
        add_member(tar, f"{folder}{index // 2:02d}{'-change' if index % 2 else ''}.jpg", jpeg)


def write_entry(path: Path | str, properties: dict, jpegs: Iterable[bytes] = ()) -> None:
    """Write one clip's cache entry: its properties (JSON-serialisable) and its JPEGs."""
    content = io.BytesIO()
    with new_tar(content) as tar:
        add_member(tar, "clip.json", json.dumps(properties, sort_keys=True).encode())
        add_clip(tar, "", jpegs)
    cache_write(path, content.getvalue())


def read_entry(path: Path | str) -> tuple[dict, list[bytes]] | None:
    """Read a cache entry's properties and JPEGs; None if it does not exist or is damaged."""
    content = cache_read(path)
    if content is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        properties, *jpegs = [file.read() for file in map(tar.extractfile, tar) if file]
    return json.loads(properties), jpegs


def shard_name(clip: str) -> str:
    """Name of the shard that holds a clip: "0.tar" to "f.tar", from a hash of the clip's name."""
    return hashlib.sha256(clip.encode()).hexdigest()[0] + ".tar"


class FrameStore:
    """Read access to `data/frames/` by clip. Indexes each shard once, when its first clip is loaded."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._offsets: dict[Path, JpegOffsets] = {}

    def load(self, clip: str) -> StoredClip:
        """Load a clip's stored frames."""
        shard = self.folder / shard_name(clip)
        if shard not in self._offsets:
            self._offsets[shard] = self._index(shard)
        offsets = self._offsets[shard].get(clip)
        if offsets is None:
            raise SystemExit(f"{shard}: holds no frames of {clip}: run `dvc repro frames`")
        with open(shard, "rb") as file:
            jpegs = []
            for offset, size in offsets:
                file.seek(offset)
                jpegs.append(file.read(size))
        return StoredClip.from_jpegs(jpegs)

    @staticmethod
    def _index(shard: Path) -> JpegOffsets:
        """Where the JPEGs of each clip lie in a shard."""
        offsets: JpegOffsets = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    clip = member.name.rpartition("/")[0]
                    offsets.setdefault(clip, []).append((member.offset_data, member.size))
        except (OSError, tarfile.TarError) as error:
            raise SystemExit(f"{shard}: can't be read ({error}): run `dvc repro frames`") from None
        return offsets
