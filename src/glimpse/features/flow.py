"""Optical flow: how far and where to each part of a picture has moved, beyond what the camera did, as a picture.

OpenCV and NumPy only: dense inverse search (Kroeger et al. 2016), its fastest preset, since the others told no more.
"""

import cv2
import numpy as np

REST = 128  # the grey level of no movement
STEP = 8  # grey levels for each pixel of movement, so that nearly 16 pixels either way fit
APART = 12  # pixels from one to the next of the places that tell what the camera did
NEARLY = 1.0  # pixels by which such a place may differ from it
TRIES = 200  # of RANSAC


def flow_of(before: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """What moved from one BGR frame to another, as a BGR picture, uint8 (height, width, 3): REST, down, to the right.

    The last two are pixels of movement times STEP around REST. What an affine movement of the whole picture explains
    is the camera's, and taken away.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    grey = [cv2.cvtColor(one, cv2.COLOR_BGR2GRAY) for one in (before, frame)]
    moved = search.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
    levels = np.rint((moved - _by_the_camera(moved)) * STEP) + REST
    levels = np.clip(levels, 1, 2 * REST - 1).astype(np.uint8)  # what is mirrored fits, too
    return np.dstack([np.full_like(levels[..., 0], REST), levels[..., 1], levels[..., 0]])


def _by_the_camera(moved: np.ndarray) -> np.ndarray:
    """What an affine movement of the whole picture makes of each place: float32 (height, width, 2); or 0, if none."""
    height, width = moved.shape[:2]
    rows, columns = np.mgrid[APART // 2 : height : APART, APART // 2 : width : APART].reshape(2, -1)
    places = np.stack([columns, rows], 1).astype(np.float32)
    affine, _ = cv2.estimateAffine2D(
        places, places + moved[rows, columns], method=cv2.RANSAC, ransacReprojThreshold=NEARLY, maxIters=TRIES
    )
    if affine is None:
        return np.zeros_like(moved)
    across, down, by = (affine - np.eye(2, 3)).astype(np.float32).T
    x, y = np.arange(width, dtype=np.float32)[:, None], np.arange(height, dtype=np.float32)[:, None, None]
    return x * across + y * down + by
