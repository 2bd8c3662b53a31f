"""Stored frames: JPEGs in tar files, one tar per clip in `.cache/` and sixteen shards in `data/frames/`.

A clip's shard follows from its name alone, so an added clip changes one shard. `tar tf` lists what a shard holds:
"wave/anna/take 1.mp4/07.jpg" is stored frame 7 of that clip, "07-diff.jpg" its difference to the frame 0.08 s before.
"""

import hashlib
import io
import json
import mmap
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from glimpse.core.files import cache_read, cache_write


@dataclass
class StoredClip:
    """One clip's stored frames: the JPEG of each frame and of its difference to the frame shortly before."""

    frames: list[bytes]
    diffs: list[bytes]
    seconds: float = 0.0  # length of the clip; 0.0: unknown, as of a clip read from a shard

    @property
    def all_jpegs(self) -> list[bytes]:
        """The JPEGs in the order in which they are stored: a frame, its difference, the next frame."""
        return [jpeg for pair in zip(self.frames, self.diffs, strict=True) for jpeg in pair]


def add_clip(tar: tarfile.TarFile, folder: str, jpegs: Iterable[bytes], properties: bytes = b"") -> None:
    """Add a clip's JPEGs, in the order of `StoredClip.all_jpegs`, after a file of its properties, if there are any.

    Owner, mode and time are fixed, so that equal frames make equal bytes.
    """
    files = {"clip.json": properties} if properties else {}
    files |= {f"{folder}{i // 2:02d}{'-diff' if i % 2 else ''}.jpg": jpeg for i, jpeg in enumerate(jpegs)}
    for name, content in files.items():
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def write_entry(path: Path | str, properties: dict, jpegs: Iterable[bytes]) -> None:
    """Write one clip's cache entry: its properties (JSON-serialisable) and its JPEGs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        add_clip(tar, "", jpegs, json.dumps(properties, sort_keys=True).encode())
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
        self._offsets: dict[Path, dict[str, list[tuple[int, int]]]] = {}

    def load(self, clip: str) -> StoredClip:
        """Load a clip's stored frames."""
        shard = self.folder / shard_name(clip)
        if shard not in self._offsets:
            self._offsets[shard] = self._index(shard)
        if clip not in self._offsets[shard]:
            raise SystemExit(f"{shard}: holds no frames of {clip}: run `dvc repro frames`")
        with open(shard, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            jpegs = [content[offset : offset + size] for offset, size in self._offsets[shard][clip]]
        return StoredClip(jpegs[::2], jpegs[1::2])

    @staticmethod
    def _index(shard: Path) -> dict[str, list[tuple[int, int]]]:
        """{clip: [(offset, size) of each of its JPEGs in the shard]}."""
        offsets: dict[str, list[tuple[int, int]]] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    clip = member.name.rpartition("/")[0]
                    offsets.setdefault(clip, []).append((member.offset_data, member.size))
        except (OSError, tarfile.TarError) as error:
            raise SystemExit(f"{shard}: can't be read ({error}): run `dvc repro frames`") from None
        return offsets
