"""Stage `duplicates`: which clips look alike, so that `split` can keep copies of one clip on one side.

Reads data/frames/ and data/clips.csv. Writes data/alike.csv: clip, like, differ (the share of their hashes' bits that
differ), a row per pair. Run: python src/duplicates.py
"""

from glimpse.core.files import read_table, write_table  # isort: split

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import evenly_spaced
from glimpse.duplicates.near_duplicates import near_duplicates, thumbnail

FRAMES = 20  # of a clip that are compared, at most


def thumbnails(jpegs: list[bytes]) -> np.ndarray:
    """Up to FRAMES thumbnails spread evenly over a clip's candidates, uint8 (frames, 48, 64)."""
    return np.stack([thumbnail(jpegs[position]) for position in evenly_spaced(len(jpegs), min(FRAMES, len(jpegs)))])


def main() -> None:
    clips, frames = sorted(read_table("data/clips.csv", ["clip"])["clip"]), FrameStore("data/frames")
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda clip: thumbnails(frames.load(clip).frames), clips)
        pictures = np.stack(list(tqdm(made, "duplicates", len(clips), unit="clip", disable=None)))
    pairs = [(clips[first], clips[second], f"{differ:.4f}") for first, second, differ in near_duplicates(pictures)]
    write_table("data/alike.csv", pd.DataFrame(sorted(pairs), columns=["clip", "like", "differ"]))
    print(f"duplicates: {len(pairs)} pairs of clips look alike, in data/alike.csv")


if __name__ == "__main__":
    main()
