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
from glimpse.core.files import atomic_write, cache_read, cache_write
from glimpse.core.frame_store import FrameStore, StoredClip, source_hash
from glimpse.core.files import read_table
from glimpse.features import augment, backbone, flow
from glimpse.features import extractor as engine
from glimpse.features import flow_histograms as movement
from glimpse.features import views as looks
from glimpse.features.augment import Transforms, augmented_views, build_transforms, hflip_allowed
from glimpse.features.backbone import load_backbone, pretrained_weights
from glimpse.features.extractor import extract_features, frozen_extractor, pick_device, versions
from glimpse.features.views import ViewConfig, crop_views, prepare_frames

CACHE = Path(".cache/features")
SEED = 0  # of the looks: not the setting, so that trainings with other seeds share them
RNG_LOCK = threading.Lock()  # torchvision draws from torch's one generator, so looks are made one at a time


def cache_path(clip: str, stored: StoredClip, settings: list) -> Path:
    """Where a clip's features are kept: named by its frames, its name (which draws its looks) and the settings."""
    key = hashlib.sha256(repr([clip, settings]).encode())
    for jpeg in stored.frames + stored.diffs:
        key.update(jpeg)
    return CACHE / key.hexdigest()[:2] / f"{key.hexdigest()[:40]}.npy"


def extract_clip(
    clip: str,
    entry: Path,
    frames: FrameStore,
    run: Callable[[np.ndarray], np.ndarray],
    look: ViewConfig,
    change: Transforms,
    count: int,
) -> None:
    """Look at one clip, clean and in `count` augmented looks, and keep the features, float16 (1 + count, candidates,
    width)."""
    pictures = prepare_frames(frames.load(clip), look)
    features = [extract_features(run, crop_views(pictures, look.size), look)]
    for number in range(count):
        with RNG_LOCK:
            augmented = augmented_views(pictures, look, change, SEED, clip, number)
        features.append(extract_features(run, augmented, look))
    made = io.BytesIO()
    np.save(made, np.stack(features))
    cache_write(entry, made.getvalue())


def config(entry: Path) -> np.ndarray | None:
    """A clip's features that were kept; None if there are none, or they are damaged."""
    content = cache_read(entry)
    return None if content is None else np.load(io.BytesIO(content))


def gather(entries: list[Path], path: Path | str) -> tuple[int, ...]:
    """Write the features of all clips into one array file; returns its shape."""

    def held(entry: Path) -> np.ndarray:
        features = read_features(entry)
        if features is None:
            raise SystemExit(f"features: {entry}: gone or damaged meanwhile: run `dvc repro` again")
        return features

    shape = (len(entries), *held(entries[0]).shape)
    with atomic_write(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for entry in entries:
            file.write(held(entry).tobytes())
    return shape


def main() -> None:
    chosen = read("features").features
    table = read_table("data/clips.csv", ["clip", "action"])
    clips, frames = table["clip"].tolist(), FrameStore("data/frames")
    mirror = hflip_allowed(chosen.hflip, table["action"].unique())
    if not mirror and chosen.hflip == "auto":
        print("features: no mirrored looks, since names of actions say left or right")
    device = pick_device()
    look = ViewConfig.from_settings(chosen)
    code = source_hash(augment, backbone, engine, flow, looks, movement, sampling)
    settings = [
        code,
        chosen.weights,
        look,
        chosen.augmented_views,
        mirror,
        chosen.precision,
        SEED,
        device.type,
        versions(),
    ]
    entries = {clip: cache_path(clip, frames.load(clip), settings) for clip in clips}
    new = [clip for clip in clips if read_features(entries[clip]) is None]
    if new:
        torch.set_num_threads(1)  # a core looks at a clip of its own
        cv2.setNumThreads(1)
        run = frozen_extractor(load_backbone(pretrained_weights(chosen.weights)), device, chosen.precision)
        change = build_transforms(chosen.input_size, mirror)
        at = partial(extract_clip, frames=frames, run=run, look=look, change=change, count=chosen.augmented_views)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looked = pool.map(at, new, [entries[clip] for clip in new])
            for _ in tqdm(looked, "features", len(new), unit="clip", disable=None):
                pass
    shape = gather([entries[clip] for clip in clips], "data/features.npy")
    size = f"{shape[0]} clips ({len(new)} new) x {shape[1]} looks x {shape[2]} frames"
    print(f"features: {size} in data/features.npy")


if __name__ == "__main__":
    main()
