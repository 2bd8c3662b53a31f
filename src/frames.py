"""Stage `frames`: decode every clip of the data set once and keep its candidate frames.

Reads the folder `dataset`. Writes data/frames/ (JPEGs in tar shards), data/clips.csv (a row per usable clip) and
data/rejected.csv (a row per file that isn't one, with the reason). Run: python src/frames.py [--workers N]
"""

from glimpse.settings import read  # isort: split

import argparse
import multiprocessing
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import pandas as pd
from tqdm import tqdm

from glimpse import clips, looks, sampling, store, video
from glimpse.files import whole_folder, write_table

CACHE = Path(".cache/frames")
SAMPLE = 8  # clips decoded first, to tell how long the rest will take


def decode(path, candidates, size):
    """Decode one clip into the cache, or find it there; returns the entry's path and its measures.

    The measures of a clip that can't be used are {"reason": …}.
    """
    try:
        key = store.content_key(path, candidates, size, store.code_of(video, looks, sampling, store))
    except OSError as error:
        return None, {"reason": f"can't be read: {error.strerror}"}
    entry = CACHE / key[:2] / f"{key}.tar"
    known = store.read_entry(entry)
    if known:
        return entry, known[0]
    try:
        clip = video.read_clip(path, candidates, size)
    except video.Unreadable as reason:
        measures, pictures = {"reason": str(reason)}, []
    else:
        pictures = store.Stored.encode(clip).pictures
        measures = {"frames": clip.frames, "fps": clip.fps, "width": clip.width, "height": clip.height}
    store.write_entry(entry, measures, pictures)
    return entry, measures


def decode_all(paths, candidates, size, workers):
    """`decode` over all paths, side by side and in their order; says beforehand how long it may take."""
    entries = [None] * len(paths)
    sample = list(sampling.evenly(len(paths), min(SAMPLE, len(paths)))) if paths else []
    rest = sorted(set(range(len(paths))) - set(sample))
    context = multiprocessing.get_context("spawn")  # a fork would copy threads, OpenCV's too, in whatever state
    with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:

        def submit(positions):
            chosen = [paths[position] for position in positions]
            many = len(chosen)
            results = pool.map(decode, chosen, [candidates] * many, [size] * many, chunksize=4 if many > 64 else 1)
            yield from zip(positions, results, strict=True)

        began = time.perf_counter()
        for position, result in submit(sample):
            entries[position] = result
        spent = time.perf_counter() - began
        if rest:
            ahead = len(rest) / len(sample)
            disk = sum(entry.stat().st_size for entry, _ in (entries[p] for p in sample) if entry) * (ahead + 1)
            print(f"frames: about {spent * ahead / 60:.1f} min and {2 * disk / 1e6:.0f} MB of disk ahead", flush=True)
        for position, result in tqdm(submit(rest), total=len(rest), desc="frames", unit="clip", disable=None):
            entries[position] = result
    return entries


def write_shards(folder, names, entries):
    """The frames of all clips in shards in a new `folder`."""
    shards = {}
    for name, entry in sorted(zip(names, entries, strict=True)):
        shards.setdefault(store.shard_name(name), []).append((name, entry))
    with whole_folder(folder) as made:
        for shard, held in shards.items():
            with open(made / shard, "wb") as file, store.new_tar(file) as tar:
                for name, entry in held:
                    store.add_clip(tar, f"{name}/", store.read_entry(entry)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that decode side by side")
    workers = max(1, parser.parse_args().workers)
    settings = read("dataset", "candidates", "store_size")
    found, rejected = clips.find(settings.dataset)
    actions = sorted({one.action for one in found})
    print(f"frames: {len(found)} clips of {len(actions)} actions in {settings.dataset}", flush=True)
    paths = [os.path.join(settings.dataset, one.clip) for one in found]
    entries = decode_all(paths, settings.candidates, settings.store_size, workers)

    rows, usable = [], []
    for one, (entry, measures) in zip(found, entries, strict=True):
        if "reason" in measures:
            rejected[one.clip] = measures["reason"]
            continue
        seconds = round(measures["frames"] / measures["fps"], 3) if measures["fps"] else ""
        rows.append({"clip": one.clip, "action": one.action, "folder": one.folder, "seconds": seconds, **measures})
        usable.append(entry)
    for name, reason in sorted(rejected.items())[:10]:
        print(f"frames: not used: {name}: {reason}")
    if len(rejected) > 10:
        print(f"frames: not used: {len(rejected) - 10} more, all in data/rejected.csv")
    write_table("data/rejected.csv", pd.DataFrame(sorted(rejected.items()), columns=["clip", "reason"]))
    counts = Counter(row["action"] for row in rows)
    if len(counts) < 2:
        raise SystemExit(
            f"dataset: {settings.dataset} has usable clips of {len(counts)} actions ({', '.join(counts) or 'none'}): "
            "at least 2 are needed, one folder of clips each"
        )
    write_shards(Path("data/frames"), [row["clip"] for row in rows], usable)
    columns = ["clip", "action", "folder", "frames", "fps", "width", "height", "seconds"]
    write_table("data/clips.csv", pd.DataFrame(rows, columns=columns))
    print(f"frames: {len(rows)} clips of {len(counts)} actions, {settings.candidates} frames each, in data/frames/")


if __name__ == "__main__":
    main()
