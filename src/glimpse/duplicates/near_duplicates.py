"""Near-duplicate clips: copies that were encoded again, scaled, cropped by a twentieth, brightened or trimmed.

Each thumbnail has a difference hash (dHash), of the whole frame and of five crops; it hardly changes with size, codec
or brightness. Two clips are near duplicates if a quarter of the frames of one match frames of the other, first by
hash, then by the correlation of their pixels. With a fixed camera many clips of different people match like that: for
clips that match many others, the motion must match too, frame by frame.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
from tqdm import tqdm

from glimpse.core.frame_store import FrameStore
from glimpse.core.image import from_jpeg
from glimpse.core.sampling import evenly_spaced

HEIGHT, WIDTH = 48, 64  # of a grey thumbnail, in pixels
MAX_FRAMES = 20  # frames per clip that are compared
CROP_OFFSETS = ((1, 1), (0, 0), (0, 3), (2, 0), (2, 3))  # top and left
CROPS = [(0, 0, HEIGHT, WIDTH)] + [(top, left, top + 46, left + 61) for top, left in CROP_OFFSETS]
CROP_PAIRS = [(0, crop) for crop in range(len(CROPS))] + [(crop, 0) for crop in range(1, len(CROPS))]
MAX_HASH_DISTANCE = 0.1  # fraction of a hash's 64 bits that may differ
MIN_CORRELATION = 0.9  # of the pixels of matching frames
MIN_MOTION_CORRELATION = 0.87, 0.93  # with the mean of both clips as background, and with each clip's own mean
MANY_MATCHES = 4, 0.1  # number of clips, and fraction of all clips: those that match so many show a shared background
MOTION_NOISE = 0.01  # fraction of a thumbnail's contrast: less motion is noise
TRIMS = [(start / 20, end / 20) for start in range(6) for end in range(4)]  # fractions cut off at the start and end


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


def near_duplicates(thumbnails: np.ndarray) -> list[tuple[int, int, float]]:
    """Find near duplicates in `thumbnails`, uint8 (clips, frames, 48, 64).

    Returns [(first, second, fraction of hash bits that differ)], first < second.
    """
    hashes = np.stack([dhashes(clip) for clip in thumbnails])
    contrasts = lru_cache(1000)(lambda clip: _contrasts(thumbnails[clip]))  # 0.4 MB per clip
    matches = []
    for first in range(len(hashes) - 1):
        distances = _hash_distance(hashes[first], hashes[first + 1 :])
        for offset in np.flatnonzero(distances <= MAX_HASH_DISTANCE).tolist():
            second = first + 1 + offset
            if _correlation(contrasts(first), contrasts(second)) >= MIN_CORRELATION:
                matches.append((first, second, float(distances[offset])))
    match_counts = np.bincount([clip for match in matches for clip in match[:2]], minlength=len(hashes))
    shared_background = match_counts >= max(MANY_MATCHES[0], MANY_MATCHES[1] * len(hashes))
    return [
        (first, second, distance)
        for first, second, distance in matches
        if not shared_background[[first, second]].any() or _same_motion(contrasts(first), contrasts(second))
    ]


def dhashes(thumbnails: np.ndarray) -> np.ndarray:
    """Difference hashes of thumbnails (frames, 48, 64) in all crops: uint64 (crops, frames)."""
    small = _crops(thumbnails, 9, 8)
    bits = (small[..., 1:] > small[..., :-1]).reshape(*small.shape[:2], 64)
    return np.packbits(bits, axis=2).view(np.uint64)[..., 0]


def _crops(thumbnails: np.ndarray, width: int, height: int) -> np.ndarray:
    """All crops of thumbnails (frames, 48, 64), resized: uint8 (crops, frames, height, width)."""
    crops = [frame[top:bottom, left:right] for top, left, bottom, right in CROPS for frame in thumbnails]
    resized = [cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.stack(resized).reshape(len(CROPS), -1, height, width)


def _hash_distance(clip: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of hashes (crops, frames) to those of other clips (clips, crops, frames): fraction of bits, (clips,).

    Each frame is compared with its nearest one in the other clip; the first quartile over the frames counts, in the
    direction and the pair of crops that match best.
    """
    best = np.ones(len(others))
    quarter = clip.shape[1] // 4
    for crop, other_crop in CROP_PAIRS:
        bits = np.bitwise_count(clip[crop][None, :, None] ^ others[:, other_crop, None, :])  # (clips, frames, frames)
        for nearest in (bits.min(2), bits.min(1)):
            best = np.minimum(best, np.partition(nearest, quarter, axis=1)[:, quarter] / 64)
    return best


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the pixels of two clips, from their contrasts; frames are compared as in `_hash_distance`."""
    quarter = first.shape[1] // 4
    best = -1.0
    for crop, other_crop in CROP_PAIRS:
        correlations = first[crop] @ second[other_crop].T
        best = max(best, *(-np.partition(-correlations.max(axis), quarter)[quarter] for axis in (0, 1)))
    return best


def _same_motion(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two clips with the same background show the same motion, from their contrasts.

    Motion is the difference to the background. That is the mean of both clips, so that people who stand still differ;
    or each clip's own mean, for copies whose crop moved their edges to other pixels. The best correlation over all
    crops and all trims of either clip counts.
    """
    frames = first.shape[1]
    index = np.arange(frames)
    starts, lengths = np.array([(start, 1 - start - end) for start, end in TRIMS]).T[..., None]
    trimmed = np.round(starts * (frames - 1) + index * lengths).astype(int)  # (trims, frames)
    for crop, other_crop in CROP_PAIRS:
        mean, other_mean = first[crop].mean(0), second[other_crop].mean(0)
        common = (mean + other_mean) / 2
        for backgrounds, minimum in zip([(common, common), (mean, other_mean)], MIN_MOTION_CORRELATION):
            motion, other_motion = first[crop] - backgrounds[0], second[other_crop] - backgrounds[1]
            products = motion @ other_motion.T
            power, other_power = (np.square(m).sum(1) + MOTION_NOISE**2 for m in (motion, other_motion))  # (frames,)
            forward = products[index, trimmed].sum(1) / np.sqrt(power.sum() * other_power[trimmed].sum(1))
            backward = products[trimmed, index].sum(1) / np.sqrt(other_power.sum() * power[trimmed].sum(1))
            if max(forward.max(), backward.max()) >= minimum:
                return True
    return False


def _contrasts(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails in all crops as vectors of mean 0 and length 1: float32 (crops, frames, 768).

    Brightness and contrast are removed; a thumbnail of one colour becomes about 0 and correlates with none.
    """
    flat = _crops(thumbnails, 32, 24).reshape(len(CROPS), len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(2, keepdims=True)
    return flat / (np.linalg.norm(flat, axis=2, keepdims=True) + 5)
