"""Clips that look alike: copies of one another, re-encoded, scaled, cropped by a twentieth, brighter or trimmed.

A clip's thumbnails have a perceptual hash each, whole and in five crops: the difference hash (dHash), near-equal for
pictures that look alike whatever their size, codec or brightness. Two clips are alike if a quarter of the one's frames
have a near frame in the other, by their hashes and then pixel by pixel. A still camera in one place makes many clips
near, whoever is in them: there, what moves must match too, frame by frame.
"""

from functools import lru_cache

import cv2
import numpy as np

from glimpse.core.frame_store import from_jpeg

HIGH, WIDE = 48, 64  # of a thumbnail, pixels
CORNERS = ((1, 1), (0, 0), (0, 3), (2, 0), (2, 3))  # of the crops: top and left
CROPS = [(0, 0, HIGH, WIDE)] + [(top, left, top + 46, left + 61) for top, left in CORNERS]
CANDIDATE_PAIRS = [(0, crop) for crop in range(len(CROPS))] + [(crop, 0) for crop in range(1, len(CROPS))]
MAX_HASH_DISTANCE = 0.1  # share of a hash's 64 bits that may differ
MAX_FRAME_DISTANCE = 0.9  # correlation of two pictures, from which they are the same
MOVES_ALIKE, OWN_MOVES_ALIKE = 0.87, 0.93  # correlation of what moves, from which clips of one place are the same
MIN_SHARED = 0.1  # share of all clips that are near one: from there on its place says nothing
MIN_SHARED_FRAMES = 4  # and no fewer than so many clips
MIN_CONTRAST = 0.01  # of the thumbnails' contrast: less movement than that is noise
MAX_TRIM = [(start / 20, end / 20) for start in range(6) for end in range(4)]  # shares cut off at the start and end


def thumbnail(jpeg: bytes) -> np.ndarray:
    """A stored frame's JPEG as a grey thumbnail, uint8 (48, 64)."""
    grey = from_jpeg(jpeg, cv2.IMREAD_REDUCED_GRAYSCALE_2)  # half the size: twice as fast
    return cv2.resize(grey, (WIDE, HIGH), interpolation=cv2.INTER_AREA)


def near_duplicates(thumbnails: np.ndarray) -> list[tuple[int, int, float]]:
    """The pairs of clips that are alike, [(first, second, share of bits that differ)], first < second.

    `thumbnails`: uint8 (clips, frames, 48, 64).
    """
    hashes = np.stack([dhashes(one) for one in thumbnails])
    contrasts = lru_cache(1000)(lambda clip: _contrasts(thumbnails[clip]))  # 0.4 MB a clip
    near = []
    for first in range(len(hashes) - 1):
        apart = _hash_distance(hashes[first], hashes[first + 1 :])
        for second in np.flatnonzero(apart <= MAX_HASH_DISTANCE) + first + 1:
            if _frame_pairs(contrasts(first), contrasts(second)) >= MAX_FRAME_DISTANCE:
                near.append((first, int(second), float(apart[second - first - 1])))
    fellows = np.bincount([clip for pair in near for clip in pair[:2]], minlength=len(hashes))
    shared = fellows >= max(MIN_SHARED_FRAMES, MIN_SHARED * len(hashes))

    def same(first: int, second: int) -> bool:
        place_tells = not (shared[first] or shared[second])
        return place_tells or _same_motion(contrasts(first), contrasts(second))

    return [pair for pair in near if same(*pair[:2])]


def dhashes(thumbnails: np.ndarray) -> np.ndarray:
    """The difference hashes of thumbnails (frames, 48, 64), in all crops: uint64 (crops, frames)."""
    rows = []
    for crop in CROPS:
        small = _crop_thumbnails(thumbnails, crop, (9, 8))
        bits = (small[:, :, 1:] > small[:, :, :-1]).reshape(len(small), 64)
        rows.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    return np.stack(rows)


def _crop_thumbnails(thumbnails: np.ndarray, crop: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Thumbnails (frames, 48, 64) cropped and scaled to `size` (width, height)."""
    top, left, bottom, right = crop
    return np.stack([cv2.resize(one[top:bottom, left:right], size, interpolation=cv2.INTER_AREA) for one in thumbnails])


def _hash_distance(clip: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far each of `others` (clips, crops, frames) is from `clip` (crops, frames): the share of bits, (clips,).

    Of the frames of either, each against its nearest in the other, the quarter that fits best counts.
    """
    best = np.ones(len(others))
    quarter = clip.shape[1] // 4
    for mine, theirs in CANDIDATE_PAIRS:
        bits = np.bitwise_count(clip[mine][None, :, None] ^ others[:, theirs, None, :])  # (clips, frames, frames)
        for nearest in (bits.min(2), bits.min(1)):
            best = np.minimum(best, np.partition(nearest, quarter, axis=1)[:, quarter] / 64)
    return best


def _frame_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of two clips' pictures from their contrasts: as `_apart`, but pixel by pixel."""
    quarter = first.shape[1] // 4
    best = -1.0
    for mine, theirs in CANDIDATE_PAIRS:
        matches = first[mine] @ second[theirs].T
        best = max(best, *(-np.partition(-matches.max(axis), quarter)[quarter] for axis in (0, 1)))
    return best


def _same_motion(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether what moves in two clips of one place is the same, all frames together, from their contrasts.

    What moves differs from the place: from the mean of both clips, which keeps who stands still apart, or, for a copy
    that is cropped oddly and so has edges at other pixels, from each clip's own. Correlations, the best over all crops
    and over what may have been trimmed from either.
    """
    frames = first.shape[1]
    at = np.arange(frames)
    starts, spans = np.array([(start, 1 - start - end) for start, end in MAX_TRIM]).T[..., None]
    moved = np.round(starts * (frames - 1) + at * spans).astype(int)  # (trims, frames)
    for mine, theirs in CANDIDATE_PAIRS:
        here, there = first[mine].mean(0), second[theirs].mean(0)
        both = (here + there) / 2
        for place, other, least in ((both, both, MOVES_ALIKE), (here, there, OWN_MOVES_ALIKE)):
            a, b = first[mine] - place, second[theirs] - other
            matches = a @ b.T
            much, more = (
                np.square(one).sum(1) + MIN_CONTRAST**2 for one in (a, b)
            )  # movement of each frame, (frames,)
            forth = matches[at, moved].sum(1) / np.sqrt(much.sum() * more[moved].sum(1))
            back = matches[moved, at].sum(1) / np.sqrt(more.sum() * much[moved].sum(1))
            if max(forth.max(), back.max()) >= least:
                return True
    return False


def _contrasts(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails in all crops as vectors of length 1 around 0: float32 (crops, frames, 768).

    Brightness and contrast are gone; a picture of one colour is about 0 and like none.
    """
    flat = np.stack([_crop_thumbnails(thumbnails, crop, (32, 24)) for crop in CROPS]).astype(np.float32)
    flat = flat.reshape(*flat.shape[:2], -1)
    flat -= flat.mean(2, keepdims=True)
    return flat / (np.linalg.norm(flat, axis=2, keepdims=True) + 5)
