"""Frames as images: resizing, the difference of two frames, JPEG. OpenCV and NumPy only."""

import cv2
import numpy as np

JPEG_QUALITY = 95
MID_GREY = 128  # the value of a frame difference, and of a flow component, where nothing changes or moves


def resize(frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a frame to `shape` (width, height): area averaging to shrink, bilinear interpolation to enlarge."""
    if frame.shape[1::-1] == shape:
        return frame
    return cv2.resize(frame, shape, interpolation=cv2.INTER_AREA if shape[0] < frame.shape[1] else cv2.INTER_LINEAR)


def resize_short_side(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize a frame (height, width, 3), aspect ratio kept, so that its short side has `size` pixels."""
    height, width = frame.shape[:2]
    scale = size / min(height, width)
    return resize(frame, (max(size, round(width * scale)), max(size, round(height * scale))))


def frame_difference(frame: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Difference of a frame to a previous one, both uint8 BGR, centred at MID_GREY and saturated to 0..255."""
    return cv2.addWeighted(frame, 1, previous, -1, MID_GREY)


def to_jpeg(frame: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Encode a BGR frame (height, width, 3) as JPEG."""
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def from_jpeg(jpeg: bytes, mode: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Decode a JPEG to BGR (height, width, 3), or as another IMREAD_… mode of OpenCV says."""
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), mode) if jpeg else None
    if frame is None:
        raise SystemExit("data/frames: holds a damaged JPEG: run `dvc repro frames` to write it anew")
    return frame
