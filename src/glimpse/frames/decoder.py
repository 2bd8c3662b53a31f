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

from glimpse.core.sampling import evenly_spaced
from glimpse.features.views import MID_GREY, resize_short_side

MIN_SIDE = 24  # pixels; a smaller picture shows no action
MAX_PIXELS = 8192 * 8192  # of a frame: twice what 8K has; more is a header gone wrong, and a lot of memory
MAX_ASPECT_RATIO = 20  # times the short side
DIFF_INTERVAL_S = 0.08  # seconds before a candidate: the frame that its change is told from, or else the first one
DIFF_INTERVAL_FRAMES = 2  # the same where the file tells no frame rate
TEXT_BYTES = bytes([*b"\t\n\r\f", *range(32, 256)])  # what text in most encodings is made of, and no video
# How videos begin, and from which byte on.
SIGNATURES = {b"AVI ": 8, b"ftyp": 4, b"moov": 4, b"mdat": 4, b"\x1aE\xdf\xa3": 0, b"FLV": 0, b"OggS": 0, b"0&\xb2u": 0}

DecodedFrame = tuple[tuple[int, ...], np.ndarray, np.ndarray]  # (height, width), scaled frame, its change


class UnreadableClip(Exception):
    """A clip that can't be used, with the reason in words."""


@dataclass
class DecodedClip:
    """What was read of a clip: its candidate frames (BGR, height, width, 3; rotation honoured) and its measures."""

    candidates: list[np.ndarray]
    diffs: list[np.ndarray]  # what each candidate differs by from the frame BEFORE, around STILL
    frames: int  # that can really be decoded
    declared_frames: int  # frames that the file says it has; 0 if it says nothing that could be true
    fps: float  # as stated; 0.0 if unknown
    width: int
    height: int


def read_clip(path: Path | str, wanted: int, size: int) -> DecodedClip:
    """A `Clip` with `wanted` candidates spread evenly over the frames, scaled so that the short side is `size` pixels.

    A clip with fewer frames than `wanted` repeats some. Raises Unreadable with the reason, or MemoryError.
    """
    sniff_file(path)
    try:
        return _read(path, wanted, size)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise UnreadableClip(f"OpenCV fails on it: {error.err}") from None


def sniff_file(path: Path | str) -> None:
    """Raises Unreadable where a look at the file, without decoding, tells that it is no clip."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait for ever
            raise UnreadableClip("not a file, but a folder, pipe or device")
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        broken = isinstance(error, FileNotFoundError) and os.path.islink(path)
        raise UnreadableClip("a link to nothing" if broken else f"can't be read: {error.strerror or error}") from None
    if not head:
        raise UnreadableClip("empty file")
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableClip("pointer of git-lfs: run `git lfs pull`")
    if not head.translate(None, TEXT_BYTES):  # FFmpeg would take some for lists of files to open
        raise UnreadableClip("not a video: text")


def _read(path: Path | str, wanted: int, size: int) -> DecodedClip:
    reader = open_capture(path)
    stated, fps = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)), reader.get(cv2.CAP_PROP_FPS)
    fps = fps if 0 < fps < 1000 else 0.0
    gap = max(1, round(DIFF_INTERVAL_S * fps)) if fps else DIFF_INTERVAL_FRAMES
    plan = evenly_spaced(stated, wanted) if 0 < stated < 10**8 else np.array([0])
    kept, frames = _decode_positions(reader, plan, gap, size)
    if frames == 0:
        codec = _codec_name((int(reader.get(cv2.CAP_PROP_FOURCC)) % 2**32).to_bytes(4, "little"))
        raise UnreadableClip(f"no frame could be decoded: damaged, or a codec that this OpenCV lacks{codec}")
    if frames == 1:
        raise UnreadableClip("only one frame could be decoded")
    if frames != stated:
        plan = evenly_spaced(frames, wanted)
        kept, again = _decode_positions(open_capture(path), plan, gap, size)
        if again != frames:
            raise UnreadableClip(f"decodes differently each time: {frames} frames, then {again}")
    (height, width), _, _ = kept[plan[0]]
    if min(width, height) < MIN_SIDE:
        raise UnreadableClip(f"too small: {width}x{height} pixels, at least {MIN_SIDE} are needed")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise UnreadableClip(f"too narrow: {width}x{height} pixels")
    candidates = [kept[position][1] for position in plan]
    if all(np.array_equal(candidates[0], other) for other in candidates[1:]):
        raise UnreadableClip("all frames are identical")
    changes = [kept[position][2] for position in plan]
    stated = stated if fps and 0 < stated < 10**8 else 0  # without a frame rate it is reckoned from nothing
    return DecodedClip(candidates, changes, frames, stated, round(fps, 3), width, height)


def open_capture(path: Path | str) -> cv2.VideoCapture:
    """An OpenCV reader of the file; one decoding thread, since clips are decoded side by side. Raises Unreadable."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        with open(path, "rb") as file:
            head = file.read(1024)
        if any(head.startswith(mark, place) for mark, place in SIGNATURES.items()):
            codec = _codec_name(head.partition(b"vids")[2][:4])  # in AVI files
            raise UnreadableClip(f"cut off, or a codec that this OpenCV lacks{codec}")
        raise UnreadableClip("not a video that OpenCV can open")
    width, height = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        raise UnreadableClip(f"too large: its header says {width}x{height} pixels")
    return reader


def _codec_name(letters: bytes) -> str:
    """The four bytes that name a codec, as " (AV01)"; "" if they are no letters."""
    return f" ({letters.decode()})" if letters.isalnum() else ""


def frame_difference(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What a frame differs by from one before, both BGR, around STILL."""
    return cv2.addWeighted(frame, 1, before, -1, MID_GREY)


def _decode_positions(
    reader: cv2.VideoCapture, plan: np.ndarray, gap: int, size: int
) -> tuple[dict[int, DecodedFrame], int]:
    """What is at the planned positions, and how many frames there are."""
    wanted, before = set(plan.tolist()), {max(0, position - gap) for position in plan.tolist()}
    kept: dict[int, DecodedFrame] = {}
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
                change = frame_difference(frame, earlier.get(max(0, count - gap), frame))
                kept[count] = frame.shape[:2], resize_short_side(frame, size), resize_short_side(change, size)
            earlier.pop(count - gap, None)
        count += 1
    return kept, count
