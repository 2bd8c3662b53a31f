"""Decodes one clip: evenly spaced frames, the RGB difference of each to a slightly earlier one, and its properties.

OpenCV's FFmpeg reader on one thread: `grab` decodes, `retrieve` converts to BGR, and only the requested frames are
converted. The number of frames that a file declares is often wrong (3 to 8 too high in J-HMDB), so the positions that
follow from it are only a first guess.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import frame_difference, resize_short_side, to_jpeg
from glimpse.core.sampling import evenly_spaced
from glimpse.frames.find_clips import NOT_UTF8, is_utf8

MIN_SIDE = 24  # pixels; no action can be seen in a smaller frame
MAX_PIXELS = 8192 * 8192  # per frame: twice those of 8K; a larger size is a damaged header, and would need much memory
MAX_ASPECT_RATIO = 20
MAX_DECLARED = 10**8  # frames; a file that declares more is damaged
DIFF_INTERVAL_S = 0.08  # seconds from the frame that a difference refers to; at the start of a clip its first frame
DIFF_INTERVAL_FRAMES = 2  # the same in frames, where the frame rate is unknown
TEXT_BYTES = bytes([*b"\t\n\r\f", *range(32, 256)])  # bytes of text in most encodings; no video has only these
# How video files begin, and from which byte on.
SIGNATURES = {b"AVI ": 8, b"ftyp": 4, b"moov": 4, b"mdat": 4, b"\x1aE\xdf\xa3": 0, b"FLV": 0, b"OggS": 0, b"0&\xb2u": 0}


DecodedFrame = tuple[np.ndarray, np.ndarray, tuple[int, int]]  # frame and RGB difference, resized; height, width before


class UnreadableClip(Exception):
    """A clip that cannot be used; the message is the reason."""


@dataclass
class DecodedClip:
    """Evenly spaced frames of a clip, BGR uint8 (height, width, 3), rotation applied; and its properties."""

    candidates: list[np.ndarray]
    diffs: list[np.ndarray]  # RGB difference of each candidate, see `core.image.frame_difference`
    frames: int  # number of frames that can be decoded
    declared_frames: int  # number of frames that the file declares; 0 if unknown or impossible
    fps: float  # frame rate that the file declares; 0.0 if unknown
    width: int
    height: int


def read_clip(path: Path | str, candidates: int, size: int) -> DecodedClip:
    """Decode `candidates` evenly spaced frames, resized so that their short side is `size` pixels.

    A clip with fewer frames repeats some. Raises UnreadableClip with the reason, or MemoryError.
    """
    sniff_file(path)
    try:
        return _read(path, candidates, size)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise UnreadableClip(f"OpenCV fails on it: {error.err}") from None


def store_clip(clip: DecodedClip) -> StoredClip:
    """Encode a decoded clip as it is stored: its frames and differences as JPEGs."""
    seconds = clip.frames / clip.fps if clip.fps else 0.0
    return StoredClip([to_jpeg(frame) for frame in clip.candidates], [to_jpeg(diff) for diff in clip.diffs], seconds)


def sniff_file(path: Path | str) -> None:
    """Raise UnreadableClip if name, kind or first bytes of a file show that it is no clip; nothing is decoded."""
    if not is_utf8(str(path)):
        raise UnreadableClip(NOT_UTF8)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading from a pipe would never end
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
    if not head.translate(None, TEXT_BYTES):  # FFmpeg would take some texts for lists of files to open
        raise UnreadableClip("not a video: text")


def _read(path: Path | str, candidates: int, size: int) -> DecodedClip:
    reader = open_capture(path)
    declared, fps = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)), reader.get(cv2.CAP_PROP_FPS)
    declared, fps = declared if 0 < declared < MAX_DECLARED else 0, fps if 0 < fps < 1000 else 0.0
    interval = max(1, round(DIFF_INTERVAL_S * fps)) if fps else DIFF_INTERVAL_FRAMES
    positions = evenly_spaced(declared or 1, candidates)
    decoded, count = _decode_positions(reader, positions, interval, size)
    if count == 0:
        codec = _codec_name((int(reader.get(cv2.CAP_PROP_FOURCC)) % 2**32).to_bytes(4, "little"))
        raise UnreadableClip(f"no frame could be decoded: damaged, or a codec that this OpenCV lacks{codec}")
    if count == 1:
        raise UnreadableClip("only one frame could be decoded")
    if count != declared:
        positions = evenly_spaced(count, candidates)
        decoded, second_count = _decode_positions(open_capture(path), positions, interval, size)
        if second_count != count:
            raise UnreadableClip(f"decodes differently each time: {count} frames, then {second_count}")
    frames, diffs, shapes = map(list, zip(*(decoded[position] for position in positions)))
    height, width = shapes[0]
    if min(width, height) < MIN_SIDE:
        raise UnreadableClip(f"too small: {width}x{height} pixels, at least {MIN_SIDE} are needed")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise UnreadableClip(f"too narrow: {width}x{height} pixels")
    if all(np.array_equal(frames[0], other) for other in frames[1:]):
        raise UnreadableClip("all frames are identical")
    declared = declared if fps else 0  # without a frame rate the reader has no basis for a count
    return DecodedClip(frames, diffs, count, declared, round(fps, 3), width, height)


def open_capture(path: Path | str) -> cv2.VideoCapture:
    """Open a file with OpenCV's FFmpeg reader on one thread. Raises UnreadableClip."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        with open(path, "rb") as file:
            head = file.read(1024)
        if any(head.startswith(mark, offset) for mark, offset in SIGNATURES.items()):
            codec = _codec_name(head.partition(b"vids")[2][:4])  # in AVI files
            raise UnreadableClip(f"cut off, or a codec that this OpenCV lacks{codec}")
        raise UnreadableClip("not a video that OpenCV can open")
    width, height = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        raise UnreadableClip(f"too large: its header says {width}x{height} pixels")
    return reader


def _codec_name(fourcc: bytes) -> str:
    """A codec's four letters as " (AV01)"; "" if they are no letters."""
    return f" ({fourcc.decode()})" if fourcc.isalnum() else ""


def _decode_positions(
    reader: cv2.VideoCapture, positions: np.ndarray, interval: int, size: int
) -> tuple[dict[int, DecodedFrame], int]:
    """Decode to the end: {position: frame} and the number of frames; differences go `interval` frames back."""
    requested = set(positions.tolist())
    references = {max(0, position - interval) for position in requested}
    decoded: dict[int, DecodedFrame] = {}
    earlier: dict[int, np.ndarray] = {}  # frames that differences refer to
    count = 0
    while reader.grab():
        if count in requested or count in references:
            ok, frame = reader.retrieve()
            if not ok:
                break
            if count in references:
                earlier[count] = frame
            if count in requested:
                diff = frame_difference(frame, earlier.get(max(0, count - interval), frame))
                decoded[count] = resize_short_side(frame, size), resize_short_side(diff, size), frame.shape[:2]
            earlier.pop(count - interval, None)
        count += 1
    return decoded, count
