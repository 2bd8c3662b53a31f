"""Stage `frames`: decode every clip of the data set once and keep its candidate frames.

Reads the folder `dataset`. Writes data/frames/ (JPEGs in tar shards), data/clips.csv (a row per usable clip) and
data/rejected.csv (a row per file that isn't one, with the reason).
Run: python src/frames.py [--workers N] [--limit SECONDS]
"""

from glimpse.core.settings import read  # isort: split

import argparse
import os
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from glimpse.core import frame_store as store
from glimpse.core import isolation, sampling
from glimpse.core.files import atomic_folder
from glimpse.core.files import write_table
from glimpse.features import views as looks
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video

CACHE = Path(".cache/frames")
SAMPLE = 8  # clips decoded first, to tell how long the rest will take
AHEAD = 1000  # clips that others may be decoded before, while one takes its time
DAMAGED_BELOW = (
    0.8  # least readable share of a clip that is no damage: some files count frames that only hold the one before
)
Entry = tuple[Path | None, dict]  # of a clip: its path in the cache and its measures; {"reason": …} if it can't be used


def decode(path: str, candidates: int, size: int) -> Entry:
    """Decode one clip into the cache, or find it there."""
    try:
        video.sniff_file(path)
        key = store.cache_key(path, candidates, size, store.source_hash(video, looks, sampling, store))
    except OSError as error:
        return None, {"reason": f"can't be read: {error.strerror}"}
    except video.UnreadableClip as reason:
        return None, {"reason": str(reason)}
    entry = CACHE / key[:2] / f"{key}.tar"
    known = store.read_entry(entry)
    if known:
        return entry, known[0]
    try:
        clip = video.read_clip(path, candidates, size)
    except video.UnreadableClip as reason:
        measures, pictures = {"reason": str(reason)}, []
    else:
        pictures = store.StoredClip.from_clip(clip).all_jpegs
        measures = {name: getattr(clip, name) for name in ("frames", "stated", "fps", "width", "height")}
    store.write_entry(entry, measures, pictures)
    return entry, measures


def decode_all(paths: list[str], candidates: int, size: int, workers: int, limit: float) -> list[Entry]:
    """`decode` over all paths, side by side and in their order; says beforehand how long it may take.

    A clip whose decoder crashes, or takes more than `limit` seconds, is rejected for this once: nothing is cached.
    """
    entries: dict[int, Entry] = {}
    sample = list(sampling.evenly_spaced(len(paths), min(SAMPLE + workers, len(paths)))) if paths else []
    rest = sorted(set(range(len(paths))) - set(sample))
    with isolation.processes(workers, limit) as each:
        chosen = (paths[position] for position in [*sample, *rest])
        work = partial(decode, candidates=candidates, size=size)
        results = each(work, chosen, lambda reason: (None, {"reason": reason}), AHEAD)
        for number, position in enumerate(sample, 1):
            entries[position] = next(results)
            if number == min(workers, len(sample)):
                began = time.perf_counter()  # each process has started
        if rest:
            spent, ahead = time.perf_counter() - began, len(rest) / SAMPLE
            held = sum(entry.stat().st_size for entry, _ in (entries[p] for p in sample) if entry)
            disk = held * len(paths) / len(sample)
            print(f"frames: about {spent * ahead / 60:.1f} min and {2 * disk / 1e6:.0f} MB of disk ahead", flush=True)
        for position in tqdm(rest, desc="frames", unit="clip", disable=None):
            entries[position] = next(results)
    return [entries[position] for position in range(len(paths))]


def select_clips(
    found: list[clips.ClipFile], entries: list[Entry], readable: float
) -> tuple[list[dict], list[Path], dict[str, str]]:
    """Which clips are used: rows of clips.csv, the cache's entry of each, and {clip: reason} of the others.

    Of files with the same bytes the first by name is used.
    """
    rows, rejected = [], {}
    used: dict[Path, clips.ClipFile] = {}
    for one, (entry, measures) in zip(found, entries, strict=True):
        if entry is None or "reason" in measures:
            rejected[one.clip] = measures["reason"]
            continue
        frames, stated = measures["frames"], measures["stated"]
        share = min(1.0, frames / stated) if stated else 1.0
        if share < readable:
            rejected[one.clip] = f"{frames} of {stated} frames could be read"
        elif entry in used:
            other = "" if used[entry].action == one.action else ", under another action"
            rejected[one.clip] = f"duplicate of {used[entry].clip}{other}"
        else:
            used[entry] = one
            seconds = round(frames / measures["fps"], 3) if measures["fps"] else ""
            names = {"clip": one.clip, "action": one.action, "folder": one.folder}
            rows.append({**names, **measures, "seconds": seconds, "min_decoded": round(share, 3)})
    return rows, list(used), rejected


def check(rejected: dict[str, str], used: int, reject: str) -> None:
    """Ends the program with one line if most clips are rejected, {name: reason}, or any is and `reject` is "fail".

    Files that aren't named like clips don't count.
    """
    bad = {name: reason for name, reason in rejected.items() if clips.has_clip_name(name)}
    if len(bad) > used:
        kinds = {name: re.sub(r"\d+|(duplicate of).*", r"\1", reason) for name, reason in bad.items()}
        kind, many = Counter(kinds.values()).most_common(1)[0]
        name = next(name for name in bad if kinds[name] == kind)
        raise SystemExit(
            f"frames: {len(bad)} of {len(bad) + used} clips can't be used, that is too many; {many} of them like this: "
            f"{name}: {bad[name]}; all reasons are in data/rejected.csv"
        )
    if bad and reject == "fail":
        first = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:3])
        more = f"; {len(bad) - 3} more in data/rejected.csv" if len(bad) > 3 else ""
        raise SystemExit(f"frames: {len(bad)} clips can't be used, and reject is fail: {first}{more}")


def write_shards(folder: Path, names: list[str], entries: list[Path]) -> None:
    """The frames of all clips in shards in a new `folder`."""
    shards: dict[str, list[tuple[str, Path]]] = {}
    for name, entry in sorted(zip(names, entries, strict=True)):
        shards.setdefault(store.shard_name(name), []).append((name, entry))
    with atomic_folder(folder) as made:
        for shard, held in shards.items():
            with open(made / shard, "wb") as file, store.new_tar(file) as tar:
                for name, entry in held:
                    known = store.read_entry(entry)
                    if known is None:
                        raise SystemExit(f"frames: {entry}: gone or damaged meanwhile: run `dvc repro` again")
                    store.add_clip(tar, f"{name}/", known[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that decode side by side")
    parser.add_argument("--limit", type=float, default=isolation.LIMIT, help="seconds that decoding a clip may take")
    asked = parser.parse_args()
    if not asked.limit > 0:
        parser.error(f"--limit is {asked.limit:g}, but it takes seconds above 0")
    settings = read("dataset", "candidates", "frame_size", "min_decoded", "on_bad_clip")
    found, rejected = clips.find_clips(settings.dataset)
    actions = sorted({one.action for one in found})
    print(f"frames: {len(found)} clips of {len(actions)} actions in {settings.dataset}", flush=True)
    paths = [os.path.join(settings.dataset, one.clip) for one in found]
    entries = decode_all(paths, settings.candidates, settings.frame_size, max(1, asked.workers), asked.limit)
    rows, usable, bad = select_clips(found, entries, settings.min_decoded)
    rejected = dict(sorted((rejected | bad).items()))
    write_table("data/rejected.csv", pd.DataFrame(rejected.items(), columns=["clip", "reason"]))
    check(rejected, len(rows), settings.on_bad_clip)
    for name, reason in list(rejected.items())[:10]:
        print(f"frames: not used: {name}: {reason}")
    if len(rejected) > 10:
        print(f"frames: not used: {len(rejected) - 10} more, all in data/rejected.csv")
    damaged = sum(row["min_decoded"] < DAMAGED_BELOW for row in rows)
    if damaged:
        print(
            f"frames: {damaged} of the clips used are damaged: column `readable` of data/clips.csv, below {DAMAGED_BELOW}"
        )
    counts = Counter(row["action"] for row in rows)
    if len(counts) < 2:
        raise SystemExit(
            f"dataset: {settings.dataset} has usable clips of {len(counts)} actions ({', '.join(counts) or 'none'}): "
            "at least 2 are needed, one folder of clips each"
        )
    write_shards(Path("data/frames"), [row["clip"] for row in rows], usable)
    columns = ["clip", "action", "folder", "frames", "fps", "width", "height", "seconds", "min_decoded"]
    write_table("data/clips.csv", pd.DataFrame(rows, columns=columns))
    print(f"frames: {len(rows)} clips of {len(counts)} actions, {settings.candidates} frames each, in data/frames/")


if __name__ == "__main__":
    main()
