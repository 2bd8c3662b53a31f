"""Optical flow between two frames, camera motion removed, encoded as an image. OpenCV and NumPy only.

Dense inverse search (Kroeger et al. 2016) with its fastest preset; slower presets did not improve accuracy.
"""

import cv2
import numpy as np

ZERO_FLOW = 128  # grey level of zero flow
FLOW_SCALE = 8  # grey levels per pixel of flow: the range is nearly 16 pixels either way
GRID_STEP = 12  # pixels between the points from which the camera motion is estimated
RANSAC_THRESHOLD = 1.0  # pixels by which such a point may differ from the camera motion
RANSAC_ITERATIONS = 200


def compute_flow(previous: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Flow from one BGR frame to the next as a BGR image, uint8 (height, width, 3): ZERO_FLOW, vertical, horizontal.

    The components are pixels times FLOW_SCALE around ZERO_FLOW, after subtracting an affine camera motion.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (previous, frame)]
    flow = search.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
    levels = np.rint((flow - _camera_motion(flow)) * FLOW_SCALE) + ZERO_FLOW
    levels = np.clip(levels, 1, 2 * ZERO_FLOW - 1).astype(np.uint8)  # from 1, so that a flipped value fits, too
    return np.dstack([np.full_like(levels[..., 0], ZERO_FLOW), levels[..., 1], levels[..., 0]])


def _camera_motion(flow: np.ndarray) -> np.ndarray:
    """The affine motion of the whole frame, float32 (height, width, 2), estimated by RANSAC; 0 if there is none."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[GRID_STEP // 2 : height : GRID_STEP, GRID_STEP // 2 : width : GRID_STEP].reshape(2, -1)
    points = np.stack([columns, rows], 1).astype(np.float32)
    affine, _ = cv2.estimateAffine2D(
        points,
        points + flow[rows, columns],
        method=cv2.RANSAC,
        ransacReprojThreshold=RANSAC_THRESHOLD,
        maxIters=RANSAC_ITERATIONS,
    )
    if affine is None:
        return np.zeros_like(flow)
    x_factor, y_factor, offset = (affine - np.eye(2, 3)).astype(np.float32).T
    x, y = np.arange(width, dtype=np.float32)[:, None], np.arange(height, dtype=np.float32)[:, None, None]
    return x * x_factor + y * y_factor + offset
