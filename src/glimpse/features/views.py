"""The clean look: the pictures of stored frames that a model is given when nothing is augmented.

OpenCV and NumPy only, so that whoever runs the model needs no torch for it. Features, evaluate and predict share it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Self

import cv2
import numpy as np

from glimpse.core.frame_store import Stored, from_jpeg
from glimpse.features.flow import flow_of

STILL = 128  # of a change: no difference to the frame before
EDGE = 0.08  # share of the movement on either side that the square around it may leave out
ROOM = 1.35  # sides of that square to the movement's
CLOSEST = 0.4  # of the frame's short side: the smallest square
NOISE = 2  # grey levels of change that are no movement
STEADY = 0.5  # how much of its last place the square keeps from one candidate to the next

Square = tuple[float, float, float]  # x and y of its middle, and its side
Pictures = tuple[list[list[np.ndarray]], list[Square]]  # of each frame: its views, BGR, and the square to look at


@dataclass(frozen=True)
class Look:
    """How frames are looked at: pixels a side; whether the square follows what moves; whether their changes are seen
    too, and their flow."""

    size: int
    follow: bool
    change: bool
    flow: bool

    @classmethod
    def of(cls, features: SimpleNamespace) -> Self:
        """As the settings `features` say."""
        return cls(features.size, features.follow, features.change, features.flow)

    @property
    def seen(self) -> int:
        """Views of one frame that the backbone sees: the frame, and its change."""
        return 1 + self.change

    @property
    def views(self) -> int:
        """Pictures of one frame: those, and last its flow."""
        return self.seen + self.flow


def clean_look(stored: Stored, look: Look, positions: Collection[int] | None = None) -> np.ndarray:
    """Candidates of a `Stored` clip, all or those at `positions`: uint8 RGB (frames, views, size, size, 3).

    The square in the middle, or around what moves; enlarged where it has fewer than `look.size` pixels.
    """
    return plain(pictures_of(stored, look, positions), look.size)


def plain(pictures: Pictures, size: int) -> np.ndarray:
    """What `pictures_of` found, cut out and nothing else: uint8 RGB (frames, views, size, size, 3)."""
    return np.stack([shown(views, square, size) for views, square in zip(*pictures, strict=True)])


def shown(views: list[np.ndarray], square: Square, size: int) -> np.ndarray:
    """What a model is given of one frame: the square of its views, BGR, as uint8 RGB (views, size, size, 3)."""
    return np.array([cut(picture, square, size) for picture in views])[..., ::-1].copy()


def pictures_of(
    stored: Stored, look: Look, positions: Collection[int] | None = None, last: Square | None = None
) -> Pictures:
    """The frames at `positions` with their changes and flow, and the square of each. `last`: as in `follow`."""
    positions = range(len(stored.jpegs)) if positions is None else positions
    frames = [from_jpeg(stored.jpegs[position]) for position in positions]
    if not (look.follow or look.views > 1):
        return [[frame] for frame in frames], [_middle(frame) for frame in frames]
    changes = [from_jpeg(change) for change in stored.changes[: max(positions) + 1]]
    squares = follow(changes, last) if look.follow else [_middle(change) for change in changes]
    pictures = [_views(frame, changes[position], look) for frame, position in zip(frames, positions, strict=True)]
    return pictures, [squares[position] for position in positions]


def _views(frame: np.ndarray, change: np.ndarray, look: Look) -> list[np.ndarray]:
    """All that is looked at of a BGR frame."""
    views = [frame, *[change] * look.change]
    if look.flow:
        views.append(flow_of(cv2.addWeighted(frame, 1, change, -1, STILL), frame))  # from before, as far as JPEGs tell
    return views


def follow(changes: Iterable[np.ndarray], last: Square | None = None) -> list[Square]:
    """The square around what moves, candidate by candidate, from changes BGR: [(x, y, side)], its middle and side.

    It goes forward only: what it shows of a candidate follows from this one and those before it; `last` is the square
    of the candidate before the first one, where there was one.
    """
    squares: list[Square] = []
    for change in changes:
        found = np.array(_moving(change))
        last = tuple(found if last is None else STEADY * np.array(last) + (1 - STEADY) * found)
        squares.append(last)
    return squares


def _moving(change: np.ndarray) -> Square:
    """The square (x, y, side) around what moves in one change; the frame's middle where nothing does."""
    moved = cv2.GaussianBlur(np.abs(change.astype(np.float32) - STILL).max(2), (5, 5), 0)
    moved = np.clip(moved - 1.5 * np.median(moved) - NOISE, 0, None)
    if not moved.any():
        return _middle(change)
    (left, right), (top, bottom) = _span(moved.sum(0)), _span(moved.sum(1))
    short = min(change.shape[:2])
    side = np.clip(ROOM * max(right - left, bottom - top), CLOSEST * short, short)
    return (left + right) / 2, (top + bottom) / 2, side


def _span(amounts: np.ndarray) -> tuple[np.intp, np.intp]:
    """Between which places along an axis all but EDGE on either side of the amounts lies."""
    shares = amounts.cumsum() / amounts.sum()
    return np.searchsorted(shares, EDGE), np.searchsorted(shares, 1 - EDGE)


def _middle(frame: np.ndarray) -> Square:
    """The largest square in the middle of a frame: (x, y, side)."""
    height, width = frame.shape[:2]
    return width / 2, height / 2, min(height, width)


def inside(frame: np.ndarray, square: Square) -> tuple[int, int, int]:
    """The square (x, y, side) moved inside a frame: its left and top edge and its side, in pixels."""
    x, y, side = square
    side = min(round(side), *frame.shape[:2])
    left = round(min(max(x - side / 2, 0), frame.shape[1] - side))
    top = round(min(max(y - side / 2, 0), frame.shape[0] - side))
    return left, top, side


def cut(frame: np.ndarray, square: Square, size: int) -> np.ndarray:
    """The square (x, y, side) of a BGR frame, moved inside it, as `size` x `size` pixels."""
    left, top, side = inside(frame, square)
    return scaled(frame[top : top + side, left : left + side], (size, size))


def cover(frame: np.ndarray, size: int) -> np.ndarray:
    """A frame (height, width, 3) scaled, aspect kept, so that its short side is `size` pixels."""
    height, width = frame.shape[:2]
    scale = size / min(height, width)
    return scaled(frame, (max(size, round(width * scale)), max(size, round(height * scale))))


def scaled(frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A frame scaled to `shape` (width, height): averaged where it shrinks, between pixels where it grows."""
    if frame.shape[1::-1] == shape:
        return frame
    return cv2.resize(frame, shape, interpolation=cv2.INTER_AREA if shape[0] < frame.shape[1] else cv2.INTER_LINEAR)
