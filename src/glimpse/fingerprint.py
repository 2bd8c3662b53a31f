"""Perceptual hashes: near-equal for frames that look alike, whatever their size, codec or brightness.

The difference hash (dHash): a frame shrunk to 9 x 8 grey pixels, one bit for each horizontal step up or down.
"""

import cv2
import numpy as np


def fingerprint(frame):
    """The difference hash of a BGR frame (height, width, 3), as 16 hexadecimal digits (64 bits)."""
    grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    bits = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    return np.packbits(bits).tobytes().hex()
