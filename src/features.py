"""Stage `features`: what the frozen backbone makes of every candidate frame, once, for all trainings to come.

Reads data/frames/ and data/clips.csv. Writes data/features.npy: float16 (clips, 1 + looks, candidates, 1280), clips
in the order of clips.csv, the clean look first. Run: python src/features.py
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from glimpse.augment import augmented_look, mirror_allowed, transform
from glimpse.backbone import WIDTH, load_backbone, pretrained
from glimpse.engine import frozen, pick_device
from glimpse.files import read_table, whole
from glimpse.looks import clean_look
from glimpse.settings import read
from glimpse.store import Frames

CACHE = Path(".cache/features")
PIECE = 10  # frames a core takes at a time
SEED = 0  # of the looks: not the setting, so that trainings with other seeds share them


class Looks(Dataset):
    """All looks of a clip at a time: uint8 (1 + looks, candidates, size, size, 3)."""

    def __init__(self, frames, clips, size, looks, mirror):
        self.frames, self.clips, self.size, self.looks = frames, clips, size, looks
        self.change = transform(size, mirror)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, row):
        clip = self.clips[row]
        jpegs = self.frames.jpegs(clip)
        augmented = [augmented_look(jpegs, self.change, SEED, clip, look) for look in range(self.looks)]
        return torch.from_numpy(np.stack([clean_look(jpegs, self.size), *augmented]))


def entry_of(clip, jpegs, *settings):
    """Where a clip's features are kept: named by its frames, its name (which draws its looks) and the settings."""
    key = hashlib.sha256(repr([clip, settings]).encode())
    for jpeg in jpegs:
        key.update(jpeg)
    return CACHE / key.hexdigest()[:2] / f"{key.hexdigest()[:40]}.npy"


def look_at(loader, run, cores):
    """The features of each clip that the loader brings: float16 (1 + looks, candidates, 1280)."""
    with ThreadPoolExecutor(cores) as pool:
        for looks in loader:
            frames = looks.flatten(0, 1).numpy()
            pieces = np.split(frames, range(PIECE, len(frames), PIECE)) if cores > 1 else [frames]
            yield np.concatenate(list(pool.map(run, pieces))).reshape(*looks.shape[:2], WIDTH)


def main():
    chosen = read("features").features
    table = read_table("data/clips.csv", ["clip", "action"])
    clips, frames = table["clip"].tolist(), Frames("data/frames")
    mirror = mirror_allowed(chosen.mirror, table["action"].unique())
    if not mirror and chosen.mirror == "auto":
        print("features: no mirrored looks, since names of actions say left or right")
    device = pick_device()
    torch.set_num_threads(1)  # clips are looked at side by side instead
    versions = [cv2.__version__, torchvision.__version__, torch.__version__, onnxruntime.__version__, device.type]
    parts = [chosen.weights, chosen.size, chosen.looks, mirror, chosen.precision, *versions]
    entries = [entry_of(clip, frames.jpegs(clip), *parts) for clip in clips]
    todo = [row for row, entry in enumerate(entries) if not entry.exists()]
    if todo:
        run = frozen(load_backbone(pretrained(chosen.weights)), device, chosen.precision)
        wanted = Looks(frames, [clips[row] for row in todo], chosen.size, chosen.looks, mirror)
        cores = os.cpu_count() or 1
        loader = DataLoader(wanted, batch_size=None, num_workers=cores)
        looked = look_at(loader, run, cores if device.type == "cpu" else 1)
        for row, features in zip(todo, tqdm(looked, "features", len(todo), unit="clip", disable=None), strict=True):
            with whole(entries[row], "wb") as file:
                np.save(file, features)
    with whole("data/features.npy", "wb") as file:
        shape = (len(clips), *np.load(entries[0], mmap_mode="r").shape)
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for entry in entries:
            file.write(np.load(entry).tobytes())
    size = f"{shape[0]} clips ({len(todo)} new) x {shape[1]} looks x {shape[2]} frames"
    print(f"features: {size} in data/features.npy")


if __name__ == "__main__":
    main()
