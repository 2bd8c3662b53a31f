"""Decoding: one clip's candidate frames and their changes, read forward once, and what it is (frames, fps, size).

OpenCV's FFmpeg reader on one thread: `grab` decodes, `retrieve` converts to BGR, and only the frames that are wanted
are converted. The count that a file states is often wrong (3 to 8 too high in J-HMDB), so it is only the plan.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from glimpse.core.sampling import evenly
from glimpse.features.views import STILL, cover

SHORTEST_SIDE = 24  # pixels; a smaller picture shows no action
MOST_PIXELS = 8192 * 8192  # of a frame: twice what 8K has; more is a header gone wrong, and a lot of memory
LONGEST = 20  # times the short side
BEFORE = 0.08  # seconds before a candidate: the frame that its change is told from, or else the first one
BEFORE_FRAMES = 2  # the same where the file tells no frame rate
TEXT = bytes([*b"\t\n\r\f", *range(32, 256)])  # what text in most encodings is made of, and no video
# How videos begin, and from which byte on.
HEADERS = {b"AVI ": 8, b"ftyp": 4, b"moov": 4, b"mdat": 4, b"\x1aE\xdf\xa3": 0, b"FLV": 0, b"OggS": 0, b"0&\xb2u": 0}

Kept = tuple[tuple[int, ...], np.ndarray, np.ndarray]  # (height, width), scaled frame, its change


class Unreadable(Exception):
    """A clip that can't be used, with the reason in words."""


@dataclass
class Clip:
    """What was read of a clip: its candidate frames (BGR, height, width, 3; rotation honoured) and its measures."""

    candidates: list[np.ndarray]
    changes: list[np.ndarray]  # what each candidate differs by from the frame BEFORE, around STILL
    frames: int  # that can really be decoded
    stated: int  # frames that the file says it has; 0 if it says nothing that could be true
    fps: float  # as stated; 0.0 if unknown
    width: int
    height: int


def read_clip(path: Path | str, wanted: int, size: int) -> Clip:
    """A `Clip` with `wanted` candidates spread evenly over the frames, scaled so that the short side is `size` pixels.

    A clip with fewer frames than `wanted` repeats some. Raises Unreadable with the reason, or MemoryError.
    """
    check_file(path)
    try:
        return _read(path, wanted, size)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise Unreadable(f"OpenCV fails on it: {error.err}") from None


def check_file(path: Path | str) -> None:
    """Raises Unreadable where a look at the file, without decoding, tells that it is no clip."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait for ever
            raise Unreadable("not a file, but a folder, pipe or device")
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        broken = isinstance(error, FileNotFoundError) and os.path.islink(path)
        raise Unreadable("a link to nothing" if broken else f"can't be read: {error.strerror or error}") from None
    if not head:
        raise Unreadable("empty file")
    if head.startswith(b"version https://git-lfs"):
        raise Unreadable("pointer of git-lfs: run `git lfs pull`")
    if not head.translate(None, TEXT):  # FFmpeg would take some for lists of files to open
        raise Unreadable("not a video: text")


def _read(path: Path | str, wanted: int, size: int) -> Clip:
    reader = open_reader(path)
    stated, fps = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)), reader.get(cv2.CAP_PROP_FPS)
    fps = fps if 0 < fps < 1000 else 0.0
    gap = max(1, round(BEFORE * fps)) if fps else BEFORE_FRAMES
    plan = evenly(stated, wanted) if 0 < stated < 10**8 else np.array([0])
    kept, frames = _grab_all(reader, plan, gap, size)
    if frames == 0:
        codec = _in_words((int(reader.get(cv2.CAP_PROP_FOURCC)) % 2**32).to_bytes(4, "little"))
        raise Unreadable(f"no frame could be decoded: damaged, or a codec that this OpenCV lacks{codec}")
    if frames == 1:
        raise Unreadable("only one frame could be decoded")
    if frames != stated:
        plan = evenly(frames, wanted)
        kept, again = _grab_all(open_reader(path), plan, gap, size)
        if again != frames:
            raise Unreadable(f"decodes differently each time: {frames} frames, then {again}")
    (height, width), _, _ = kept[plan[0]]
    if min(width, height) < SHORTEST_SIDE:
        raise Unreadable(f"too small: {width}x{height} pixels, at least {SHORTEST_SIDE} are needed")
    if max(width, height) > LONGEST * min(width, height):
        raise Unreadable(f"too narrow: {width}x{height} pixels")
    candidates = [kept[position][1] for position in plan]
    if all(np.array_equal(candidates[0], other) for other in candidates[1:]):
        raise Unreadable("all frames are identical")
    changes = [kept[position][2] for position in plan]
    stated = stated if fps and 0 < stated < 10**8 else 0  # without a frame rate it is reckoned from nothing
    return Clip(candidates, changes, frames, stated, round(fps, 3), width, height)


def open_reader(path: Path | str) -> cv2.VideoCapture:
    """An OpenCV reader of the file; one decoding thread, since clips are decoded side by side. Raises Unreadable."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        with open(path, "rb") as file:
            head = file.read(1024)
        if any(head.startswith(mark, place) for mark, place in HEADERS.items()):
            codec = _in_words(head.partition(b"vids")[2][:4])  # in AVI files
            raise Unreadable(f"cut off, or a codec that this OpenCV lacks{codec}")
        raise Unreadable("not a video that OpenCV can open")
    width, height = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MOST_PIXELS:
        raise Unreadable(f"too large: its header says {width}x{height} pixels")
    return reader


def _in_words(letters: bytes) -> str:
    """The four bytes that name a codec, as " (AV01)"; "" if they are no letters."""
    return f" ({letters.decode()})" if letters.isalnum() else ""


def difference(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What a frame differs by from one before, both BGR, around STILL."""
    return cv2.addWeighted(frame, 1, before, -1, STILL)


def _grab_all(reader: cv2.VideoCapture, plan: np.ndarray, gap: int, size: int) -> tuple[dict[int, Kept], int]:
    """What is at the planned positions, and how many frames there are."""
    wanted, before = set(plan.tolist()), {max(0, position - gap) for position in plan.tolist()}
    kept: dict[int, Kept] = {}
    earlier: dict[int, np.ndarray] = {}
    count = 0
    while reader.grab():
        if count in wanted or count in before:
            ok, frame = reader.retrieve()
            if not ok:
                break
            if count in before:
                earlier[count] = frame
            if count in wanted:
                change = difference(frame, earlier.get(max(0, count - gap), frame))
                kept[count] = frame.shape[:2], cover(frame, size), cover(change, size)
            earlier.pop(count - gap, None)
        count += 1
    return kept, count
