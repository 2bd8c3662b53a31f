"""Decodes all clips of a data set in parallel, each once: results are cached in `.cache/frames/`."""

import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
from tqdm import tqdm

from glimpse.core import frame_store, image, sampling
from glimpse.core.files import atomic_folder, cache_key, source_hash
from glimpse.core.parallel import ProcessPool
from glimpse.frames import decoder
from glimpse.frames.find_clips import ClipFile, has_clip_name

CACHE = Path(".cache/frames")
SAMPLE = 8  # clips decoded first, to estimate how long the others will take
AHEAD = 1000  # results that may wait in memory for one clip that takes long
DAMAGED_BELOW = 0.8  # decoded fraction of a damaged clip; files without damage may also declare too many frames
CLIP_COLUMNS = ["clip", "action", "folder", "frames", "fps", "width", "height", "seconds", "decoded_fraction"]


class DecodeResult(NamedTuple):
    """A clip's cache entry and its properties; or {"reason": …} as properties if the clip cannot be used."""

    entry: Path | None
    properties: dict


def decode(path: str, candidates: int, size: int) -> DecodeResult:
    """Decode one clip into the cache, unless its entry exists.

    candidates: number of stored frames; size: their short side in pixels.
    """
    try:
        decoder.sniff_file(path)
        key = cache_key(path, candidates, size, cv2.__version__, _code_hash())
    except OSError as error:
        return _rejected(f"can't be read: {error.strerror}")
    except decoder.UnreadableClip as error:
        return _rejected(str(error))
    entry = CACHE / key[:2] / f"{key}.tar"
    if cached := frame_store.read_entry(entry):
        return DecodeResult(entry, cached[0])
    try:
        clip = decoder.read_clip(path, candidates, size)
        properties = {name: getattr(clip, name) for name in ("frames", "declared_frames", "fps", "width", "height")}
        jpegs = decoder.store_clip(clip).all_jpegs
    except decoder.UnreadableClip as error:
        properties, jpegs = {"reason": str(error)}, []
    frame_store.write_entry(entry, properties, jpegs)
    return DecodeResult(entry, properties)


@cache
def _code_hash() -> str:
    """Hash of the code that the stored bytes depend on."""
    return source_hash(decoder, image, sampling, frame_store)


def _rejected(reason: str) -> DecodeResult:
    return DecodeResult(None, {"reason": reason})


def decode_all(paths: list[str], candidates: int, size: int, workers: int, timeout: float) -> list[DecodeResult]:
    """Decode all clips in parallel; results are in the order of `paths`. Prints an estimate of time and disk space.

    A clip that crashes its decoder, or takes more than `timeout` seconds, is rejected; that result is not cached.
    """
    first = sampling.evenly_spaced(len(paths), min(SAMPLE + workers, len(paths))).tolist() if paths else []
    rest = sorted(set(range(len(paths))) - set(first))
    with ProcessPool(workers, timeout) as pool:
        decode_clip = partial(decode, candidates=candidates, size=size)
        stream = pool.map(decode_clip, [paths[index] for index in first + rest], _rejected, AHEAD)
        results: dict[int, DecodeResult] = dict(zip(first[:workers], stream))
        started = time.perf_counter()  # by now every process has started
        results |= zip(first[workers:], stream)
        if rest:
            seconds = (time.perf_counter() - started) / SAMPLE * len(rest)
            size_of_first = sum(result.entry.stat().st_size for result in results.values() if result.entry)
            megabytes = 2 * size_of_first / len(first) * len(paths) / 1e6  # in the cache and in data/frames/
            print(f"frames: needs about {seconds / 60:.1f} min and {megabytes:.0f} MB of disk space", flush=True)
        results |= zip(tqdm(rest, desc="frames", unit="clip", disable=None), stream)
    return [results[index] for index in range(len(paths))]


def select_clips(
    clips: list[ClipFile], results: list[DecodeResult], min_decoded: float
) -> tuple[list[dict], list[Path], dict[str, str]]:
    """Select the clips that are used: rows of data/clips.csv, their cache entries, and {clip: reason} of the others.

    Of files with the same bytes the first by name is used.
    """
    rows, rejected = [], {}
    used: dict[Path, ClipFile] = {}
    for clip, (entry, properties) in zip(clips, results, strict=True):
        if entry is None or "reason" in properties:
            rejected[clip.name] = properties["reason"]
            continue
        frames, declared, fps = properties["frames"], properties["declared_frames"], properties["fps"]
        fraction = min(1.0, frames / declared) if declared else 1.0
        if fraction < min_decoded:
            rejected[clip.name] = f"{frames} of {declared} frames could be decoded"
        elif entry in used:
            same_action = used[entry].action == clip.action
            rejected[clip.name] = f"duplicate of {used[entry].name}{'' if same_action else ', under another action'}"
        else:
            used[entry] = clip
            row = {"clip": clip.name, "action": clip.action, "folder": clip.folder, **properties}
            seconds = round(frames / fps, 3) if fps else ""
            rows.append(row | {"seconds": seconds, "decoded_fraction": round(fraction, 3)})
    return rows, list(used), rejected


def check(rejected: dict[str, str], used: int, on_bad_clip: str) -> None:
    """Exit with one line if more clips are rejected than used, or if any is rejected and `on_bad_clip` is "fail".

    rejected: {name: reason}; files without the name of a clip do not count. used: number of usable clips.
    """
    bad = {name: reason for name, reason in rejected.items() if has_clip_name(name)}
    if len(bad) > used:
        kinds = {name: re.sub(r"\d+|(duplicate of).*", r"\1", reason) for name, reason in bad.items()}
        kind, count = Counter(kinds.values()).most_common(1)[0]
        example = next(name for name in bad if kinds[name] == kind)
        raise SystemExit(
            f"frames: {len(bad)} of {len(bad) + used} clips can't be used, which is too many; {count} of them for the "
            f"same reason: {example}: {bad[example]}; all reasons are in data/rejected.csv"
        )
    if bad and on_bad_clip == "fail":
        first = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:3])
        more = f"; {len(bad) - 3} more in data/rejected.csv" if len(bad) > 3 else ""
        raise SystemExit(f"frames: {len(bad)} clips can't be used, and on_bad_clip is fail: {first}{more}")


def write_shards(folder: Path | str, clips: Iterable[str], entries: Iterable[Path]) -> None:
    """Write the stored frames of all clips, from their cache entries, as shards into a new `folder`."""
    shards: dict[str, list[tuple[str, Path]]] = {}
    for clip, entry in sorted(zip(clips, entries, strict=True)):
        shards.setdefault(frame_store.shard_name(clip), []).append((clip, entry))
    with atomic_folder(folder) as new_folder:
        for shard, members in shards.items():
            with tarfile.open(new_folder / shard, "w") as tar:
                for clip, entry in members:
                    cached = frame_store.read_entry(entry)
                    if cached is None:
                        raise SystemExit(f"{entry}: deleted or damaged while the stage ran: run `dvc repro` again")
                    frame_store.add_clip(tar, f"{clip}/", cached[1])
