"""Grey thumbnails of stored frames: what near duplicates are found by."""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from tqdm import tqdm

from glimpse.core.frame_store import FrameStore
from glimpse.core.image import from_jpeg
from glimpse.core.sampling import evenly_spaced

HEIGHT, WIDTH = 48, 64  # pixels
MAX_FRAMES = 20  # frames per clip that are compared


def all_thumbnails(clips: list[str], store: FrameStore) -> np.ndarray:
    """Thumbnails of all clips: uint8 (clips, frames, 48, 64)."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        thumbnails = pool.map(lambda clip: clip_thumbnails(store.load(clip).frames), clips)
        return np.stack(list(tqdm(thumbnails, "duplicates", len(clips), unit="clip", disable=None)))


def clip_thumbnails(jpegs: list[bytes]) -> np.ndarray:
    """Thumbnails of up to MAX_FRAMES frames, evenly spaced over a clip's stored frames: uint8 (frames, 48, 64)."""
    positions = evenly_spaced(len(jpegs), min(MAX_FRAMES, len(jpegs)))
    grey = [from_jpeg(jpegs[position], cv2.IMREAD_REDUCED_GRAYSCALE_2) for position in positions]  # half size: faster
    return np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in grey])
