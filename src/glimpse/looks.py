"""The clean look: what the backbone sees of a stored frame when nothing is augmented.

OpenCV and NumPy only, so that whoever runs the model needs no torch for it. Features, evaluate and predict share it.
"""

import cv2
import numpy as np

from glimpse.store import from_jpeg


def clean_look(jpegs, size):
    """Stored frames as the backbone sees them: the square in their middle, uint8 RGB (frames, size, size, 3).

    Frames whose short side is below `size` are enlarged to it.
    """
    return np.stack([_middle(from_jpeg(jpeg), size) for jpeg in jpegs])


def _middle(frame, size):
    """The middle `size` x `size` pixels of a BGR frame, as RGB."""
    if min(frame.shape[:2]) < size:
        frame = cover(frame, size)
    top, left = (frame.shape[0] - size) // 2, (frame.shape[1] - size) // 2
    return frame[top : top + size, left : left + size, ::-1]


def cover(frame, size):
    """A frame (height, width, 3) scaled, aspect kept, so that its short side is `size` pixels."""
    height, width = frame.shape[:2]
    scale = size / min(height, width)
    shape = max(size, round(width * scale)), max(size, round(height * scale))
    return cv2.resize(frame, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
