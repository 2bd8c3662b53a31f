"""Decoding: one clip's candidate frames and their changes, read forward once, and what it is (frames, fps, size).

OpenCV's FFmpeg reader on one thread: `grab` decodes, `retrieve` converts to BGR, and only the frames that are wanted
are converted. The count that a file states is often wrong (3 to 8 too high in J-HMDB), so it is only the plan.
"""

import os
from dataclasses import dataclass

import cv2
import numpy as np

from glimpse.looks import STILL, cover
from glimpse.sampling import evenly

SHORTEST_SIDE = 24  # pixels; a smaller picture shows no action
BEFORE = 0.08  # seconds before a candidate: the frame that its change is told from, or else the first one
BEFORE_FRAMES = 2  # the same where the file tells no frame rate


class Unreadable(Exception):
    """A clip that can't be used, with the reason in words."""


@dataclass
class Clip:
    """What was read of a clip: its candidate frames (BGR, height, width, 3; rotation honoured) and its measures."""

    candidates: list
    changes: list  # what each candidate differs by from the frame BEFORE, around STILL
    frames: int  # that can really be decoded
    fps: float  # as stated; 0.0 if unknown
    width: int
    height: int


def read_clip(path, wanted, size):
    """A `Clip` with `wanted` candidates spread evenly over the frames, scaled so that the short side is `size` pixels.

    A clip with fewer frames than `wanted` repeats some. Raises Unreadable with the reason.
    """
    reader = _open(path)
    stated = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = reader.get(cv2.CAP_PROP_FPS)
    gap = max(1, round(BEFORE * fps)) if 0 < fps < 1000 else BEFORE_FRAMES
    plan = evenly(stated, wanted) if 0 < stated < 10**8 else np.array([0])
    kept, frames = _grab_all(reader, plan, gap, size)
    if frames == 0:
        raise Unreadable("no frame could be decoded: damaged, or a codec that this OpenCV doesn't know")
    if frames == 1:
        raise Unreadable("only one frame could be decoded")
    if frames != stated:
        plan = evenly(frames, wanted)
        kept, again = _grab_all(_open(path), plan, gap, size)
        if again != frames:
            raise Unreadable(f"decodes differently each time: {frames} frames, then {again}")
    (height, width), _, _ = kept[plan[0]]
    if min(width, height) < SHORTEST_SIDE:
        raise Unreadable(f"too small: {width}x{height} pixels, at least {SHORTEST_SIDE} are needed")
    candidates = [kept[position][1] for position in plan]
    if all(np.array_equal(candidates[0], other) for other in candidates[1:]):
        raise Unreadable("all frames are identical")
    changes = [kept[position][2] for position in plan]
    return Clip(candidates, changes, frames, round(fps, 3) if 0 < fps < 1000 else 0.0, width, height)


def _open(path):
    """An OpenCV reader of the file; one decoding thread, since clips are decoded side by side."""
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise Unreadable("empty file")
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror or error}") from None
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # the reason is ours to give, not the decoder's
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        raise Unreadable("not a video that OpenCV can open")
    return reader


def _grab_all(reader, plan, gap, size):
    """What is at the planned positions, {position: ((height, width), scaled frame, its change)}, and how many frames
    there are."""
    wanted, before = set(plan.tolist()), {max(0, position - gap) for position in plan.tolist()}
    kept, earlier, count = {}, {}, 0
    while reader.grab():
        if count in wanted or count in before:
            ok, frame = reader.retrieve()
            if not ok:
                break
            if count in before:
                earlier[count] = frame
            if count in wanted:
                change = cv2.addWeighted(frame, 1, earlier.get(max(0, count - gap), frame), -1, STILL)
                kept[count] = frame.shape[:2], cover(frame, size), cover(change, size)
            earlier.pop(count - gap, None)
        count += 1
    return kept, count
