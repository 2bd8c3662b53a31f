"""Stage `features`: what the frozen backbone makes of every candidate frame, once, for all trainings to come.

Reads data/frames/ and data/clips.csv. Writes data/features.npy: float16 (clips, 1 + looks, candidates, width),
clips in the order of clips.csv, the clean look first. Run: python src/features.py
"""

from glimpse.core.settings import read  # isort: split

import hashlib
import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from glimpse.core import sampling
from glimpse.core.files import remember, remembered, whole
from glimpse.core.frame_store import Frames, Stored, code_of
from glimpse.core.tables import read_table
from glimpse.features import augment, backbone, flow
from glimpse.features import extractor as engine
from glimpse.features import flow_histograms as movement
from glimpse.features import views as looks
from glimpse.features.augment import Transforms, augmented_look, mirror_allowed, transforms
from glimpse.features.backbone import load_backbone, pretrained
from glimpse.features.extractor import frozen, pick_device, seen, versions
from glimpse.features.views import Look, pictures_of, plain

CACHE = Path(".cache/features")
SEED = 0  # of the looks: not the setting, so that trainings with other seeds share them
ONE_DRAWS = threading.Lock()  # torchvision draws from torch's one generator, so looks are made one at a time


def entry_of(clip: str, stored: Stored, settings: list) -> Path:
    """Where a clip's features are kept: named by its frames, its name (which draws its looks) and the settings."""
    key = hashlib.sha256(repr([clip, settings]).encode())
    for jpeg in stored.jpegs + stored.changes:
        key.update(jpeg)
    return CACHE / key.hexdigest()[:2] / f"{key.hexdigest()[:40]}.npy"


def look_at(
    clip: str,
    entry: Path,
    frames: Frames,
    run: Callable[[np.ndarray], np.ndarray],
    look: Look,
    change: Transforms,
    count: int,
) -> None:
    """Look at one clip, clean and in `count` augmented looks, and keep the features, float16 (1 + count, candidates,
    width)."""
    pictures = pictures_of(frames.stored(clip), look)
    features = [seen(run, plain(pictures, look.size), look)]
    for number in range(count):
        with ONE_DRAWS:
            augmented = augmented_look(pictures, look, change, SEED, clip, number)
        features.append(seen(run, augmented, look))
    made = io.BytesIO()
    np.save(made, np.stack(features))
    remember(entry, made.getvalue())


def kept(entry: Path) -> np.ndarray | None:
    """A clip's features that were kept; None if there are none, or they are damaged."""
    content = remembered(entry)
    return None if content is None else np.load(io.BytesIO(content))


def gather(entries: list[Path], path: Path | str) -> tuple[int, ...]:
    """Write the features of all clips into one array file; returns its shape."""

    def held(entry: Path) -> np.ndarray:
        features = kept(entry)
        if features is None:
            raise SystemExit(f"features: {entry}: gone or damaged meanwhile: run `dvc repro` again")
        return features

    shape = (len(entries), *held(entries[0]).shape)
    with whole(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for entry in entries:
            file.write(held(entry).tobytes())
    return shape


def main() -> None:
    chosen = read("features").features
    table = read_table("data/clips.csv", ["clip", "action"])
    clips, frames = table["clip"].tolist(), Frames("data/frames")
    mirror = mirror_allowed(chosen.mirror, table["action"].unique())
    if not mirror and chosen.mirror == "auto":
        print("features: no mirrored looks, since names of actions say left or right")
    device = pick_device()
    look = Look.of(chosen)
    code = code_of(augment, backbone, engine, flow, looks, movement, sampling)
    settings = [code, chosen.weights, look, chosen.looks, mirror, chosen.precision, SEED, device.type, versions()]
    entries = {clip: entry_of(clip, frames.stored(clip), settings) for clip in clips}
    new = [clip for clip in clips if kept(entries[clip]) is None]
    if new:
        torch.set_num_threads(1)  # a core looks at a clip of its own
        cv2.setNumThreads(1)
        run = frozen(load_backbone(pretrained(chosen.weights)), device, chosen.precision)
        change = transforms(chosen.size, mirror)
        at = partial(look_at, frames=frames, run=run, look=look, change=change, count=chosen.looks)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looked = pool.map(at, new, [entries[clip] for clip in new])
            for _ in tqdm(looked, "features", len(new), unit="clip", disable=None):
                pass
    shape = gather([entries[clip] for clip in clips], "data/features.npy")
    size = f"{shape[0]} clips ({len(new)} new) x {shape[1]} looks x {shape[2]} frames"
    print(f"features: {size} in data/features.npy")


if __name__ == "__main__":
    main()
