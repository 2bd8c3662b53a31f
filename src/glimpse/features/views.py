"""Views: the square crop of each stored frame, in the modalities RGB, RGB difference and optical flow.

OpenCV and NumPy only, so that a model runs without torch. Features, training, evaluate and predict share this code.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self

import cv2
import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import MID_GREY, frame_difference, from_jpeg, resize
from glimpse.features.flow import compute_flow

if TYPE_CHECKING:
    from glimpse.core.settings import FeatureSettings

MOTION_QUANTILE = 0.08  # share of the motion that the box may leave out on each side
BOX_MARGIN = 1.35  # side of the box, relative to the extent of the motion
MIN_BOX = 0.4  # smallest side of the box, relative to the frame's short side
NOISE_FLOOR = 2  # grey levels of difference that count as no motion
SMOOTHING = 0.5  # weight of the previous box in the next one


class Box(NamedTuple):
    """A square in a frame: its centre and its side, in pixels."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class ViewConfig:
    """How frames are cropped (`motion` or `center`), to how many pixels a side, and which modalities are used."""

    size: int
    crop: str
    rgb_diff: bool
    flow: bool

    @classmethod
    def from_settings(cls, features: "FeatureSettings") -> Self:
        return cls(features.input_size, features.crop, features.rgb_diff, features.flow)

    @property
    def num_images(self) -> int:
        """Modalities that the backbone encodes: RGB, and RGB difference."""
        return 1 + self.rgb_diff

    @property
    def num_modalities(self) -> int:
        """Modalities of a view: those, and flow as the last."""
        return self.num_images + self.flow


@dataclass(frozen=True)
class ClipViews:
    """Frames of one clip with all their modalities and crop boxes; the clean views are computed once."""

    config: ViewConfig
    modalities: list[list[np.ndarray]]  # of each frame: BGR (height, width, 3), RGB first
    boxes: list[Box]

    @property
    def frames(self) -> list[np.ndarray]:
        """The frames as they are stored, BGR (height, width, 3)."""
        return [images[0] for images in self.modalities]

    @cached_property
    def clean(self) -> np.ndarray:
        """The clean view of each frame: uint8 RGB (frames, modalities, size, size, 3)."""
        size = self.config.size
        return np.stack(
            [crop_frame(images, box, size) for images, box in zip(self.modalities, self.boxes, strict=True)]
        )


def prepare_frames(
    stored: StoredClip, config: ViewConfig, positions: Collection[int] | None = None, previous: Box | None = None
) -> ClipViews:
    """Decode the stored frames at `positions` (all if None) and compute their modalities and crop boxes.

    `previous`: the box of the frame before the first stored one, as in `track_motion`.
    """
    positions = range(len(stored.frames)) if positions is None else positions
    frames = [from_jpeg(stored.frames[position]) for position in positions]
    track = config.crop == "motion"
    if not (track or config.num_modalities > 1):
        return ClipViews(config, [[frame] for frame in frames], [_center_box(frame) for frame in frames])
    diffs = [from_jpeg(diff) for diff in stored.diffs[: max(positions) + 1]]
    boxes = track_motion(diffs, previous) if track else [_center_box(diff) for diff in diffs]
    modalities = [
        _modalities(frame, diffs[position], config) for frame, position in zip(frames, positions, strict=True)
    ]
    return ClipViews(config, modalities, [boxes[position] for position in positions])


def crop_frame(images: list[np.ndarray], box: Box, size: int) -> np.ndarray:
    """Crop the modalities of one frame, BGR, to the model's input: uint8 RGB (modalities, size, size, 3)."""
    return np.array([crop_resize(image, box, size) for image in images])[..., ::-1].copy()


def _modalities(frame: np.ndarray, diff: np.ndarray, config: ViewConfig) -> list[np.ndarray]:
    """The modalities of a BGR frame, from its stored difference to the frame shortly before."""
    images = [frame, *[diff] * config.rgb_diff]
    if config.flow:
        previous = frame_difference(frame, diff)  # frame - (frame - previous), up to saturation and JPEG
        images.append(compute_flow(previous, frame))
    return images


def track_motion(diffs: Iterable[np.ndarray], previous: Box | None = None) -> list[Box]:
    """The smoothed box around the motion in each of a clip's BGR frame differences.

    Causal: a box depends on its own frame and earlier ones. `previous` is the box before the first frame, if any.
    """
    boxes: list[Box] = []
    for diff in diffs:
        box = _motion_box(diff)
        if previous is not None:
            box = Box(*(SMOOTHING * np.array(previous) + (1 - SMOOTHING) * np.array(box)))
        boxes.append(box)
        previous = box
    return boxes


def _motion_box(diff: np.ndarray) -> Box:
    """The box around the motion in one frame difference; the centre box where nothing moves."""
    motion = cv2.GaussianBlur(np.abs(diff.astype(np.float32) - MID_GREY).max(2), (5, 5), 0)
    motion = np.clip(motion - 1.5 * np.median(motion) - NOISE_FLOOR, 0, None)
    if not motion.any():
        return _center_box(diff)
    (left, right), (top, bottom) = _span(motion.sum(0)), _span(motion.sum(1))
    short_side = min(diff.shape[:2])
    side = np.clip(BOX_MARGIN * max(right - left, bottom - top), MIN_BOX * short_side, short_side)
    return Box((left + right) / 2, (top + bottom) / 2, side)


def _span(amounts: np.ndarray) -> tuple[np.intp, np.intp]:
    """The positions along an axis between which all but MOTION_QUANTILE of the amounts on either side lie."""
    shares = amounts.cumsum() / amounts.sum()
    return np.searchsorted(shares, MOTION_QUANTILE), np.searchsorted(shares, 1 - MOTION_QUANTILE)


def _center_box(frame: np.ndarray) -> Box:
    """The largest centred square of a frame."""
    height, width = frame.shape[:2]
    return Box(width / 2, height / 2, min(height, width))


def clamp_box(frame: np.ndarray, box: Box) -> tuple[int, int, int]:
    """Move a box inside a frame; returns its left and top edge and its side, in whole pixels."""
    side = min(round(box.side), *frame.shape[:2])
    left = round(min(max(box.x - side / 2, 0), frame.shape[1] - side))
    top = round(min(max(box.y - side / 2, 0), frame.shape[0] - side))
    return left, top, side


def crop_resize(frame: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Crop a BGR frame to a box, moved inside the frame, and resize it to `size` x `size` pixels."""
    left, top, side = clamp_box(frame, box)
    return resize(frame[top : top + side, left : left + side], (size, size))
