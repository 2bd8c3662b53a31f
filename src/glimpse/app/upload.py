"""Uploaded clips: their limits, decoding in a separate process, and the predictions of all models.

A damaged file may crash or stall its decoding process; the others and the page go on.
"""

import contextlib
import queue
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import resize_short_side, to_jpeg
from glimpse.core.parallel import ProcessPool
from glimpse.frames.dataset import NOT_UTF8, is_utf8
from glimpse.frames.decoder import UnreadableClip, open_capture, read_clip, sniff_file, store_clip
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

MAX_MB, MAX_SECONDS, MAX_WIDTH, MAX_HEIGHT = 100, 120, 4096, 2304  # of an uploaded clip, portrait or landscape
DEFAULT_FPS = 25  # if the file declares no frame rate
TIME_LIMIT = 60  # seconds to decode a clip
PREVIEW_FRAMES, PREVIEW_SIDE = 300, 240  # of a preview: largest number of frames, and of pixels of the short side


@dataclass
class UploadedClip:
    """A decoded clip: its stored frames, its properties, and a WebM (VP8) preview that browsers play."""

    stored: StoredClip
    frames: int
    seconds: float
    width: int
    height: int
    preview: bytes  # empty if it could not be made


@dataclass
class ModelPrediction:
    """The prediction of one model for a clip."""

    approach: str
    class_names: list[str]
    probs: np.ndarray  # (frames, classes), after each frame
    images: list[tuple[bytes, bytes]]  # of each frame: its JPEG, and one with its Grad-CAM heatmap
    threshold: float  # the lowest confidence of an answer; infinite if there is none


def decode_upload(path: Path, candidates: int, frame_size: int) -> UploadedClip | UnreadableClip:
    """Decode a file; returns the error of one that is unusable or beyond the limits, to pass between processes."""
    try:
        if not is_utf8(str(path)):
            raise UnreadableClip(NOT_UTF8)
        check_limits(path)
        clip = read_clip(path, candidates, frame_size)
        seconds = clip.frames / (clip.fps or DEFAULT_FPS)
        check_seconds(seconds)
        preview = make_preview(path, clip.frames)
        return UploadedClip(store_clip(clip), clip.frames, seconds, clip.width, clip.height, preview)
    except UnreadableClip as reason:
        return reason


def check_limits(path: Path) -> None:
    """Raise UnreadableClip if the size of a file, or what its header declares, is beyond the limits."""
    sniff_file(path)
    if path.stat().st_size > MAX_MB * 10**6:
        raise UnreadableClip(f"too large: at most {MAX_MB} MB are allowed")
    header = open_capture(path)
    names = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS
    width, height, frames, fps = map(header.get, names)
    if max(width, height) > MAX_WIDTH or min(width, height) > MAX_HEIGHT:
        limit = f"at most {MAX_WIDTH}x{MAX_HEIGHT} are allowed"
        raise UnreadableClip(f"too large: {width:.0f}x{height:.0f} pixels, {limit}")
    if 0 < fps < 1000:
        check_seconds(frames / fps)


def check_seconds(seconds: float) -> None:
    """Raise UnreadableClip if a clip is longer than allowed."""
    if seconds > MAX_SECONDS:
        raise UnreadableClip(f"too long: {seconds:.0f} s, at most {MAX_SECONDS} s are allowed")


def make_preview(path: Path, frames: int) -> bytes:
    """Convert a clip with this number of frames to a small WebM; b"" if that fails."""
    with contextlib.suppress(cv2.error, OSError, UnreadableClip), tempfile.TemporaryDirectory() as folder:
        preview = Path(folder, "preview.webm")
        _write_preview(path, frames, preview)
        return preview.read_bytes()
    return b""


def _write_preview(path: Path, frames: int, preview: Path) -> None:
    source = open_capture(path)
    fps, step = source.get(cv2.CAP_PROP_FPS), -(-frames // PREVIEW_FRAMES)
    fps = fps if 0 < fps < 1000 else DEFAULT_FPS
    writer, count = cv2.VideoWriter(), 0
    while source.grab():
        if count % step == 0:
            ok, frame = source.retrieve()
            if not ok:
                break
            frame = resize_short_side(frame, min(PREVIEW_SIDE, *frame.shape[:2]))
            frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # VP8 needs even sides
            if not writer.isOpened():
                codec, shape = cv2.VideoWriter.fourcc(*"VP80"), frame.shape[1::-1]
                writer.open(str(preview), cv2.CAP_FFMPEG, codec, max(1, fps / step), shape)
            writer.write(frame)
        count += 1
    writer.release()


class DecodePool(contextlib.ExitStack):
    """Processes that decode one clip each at a time, until the `with` block ends; callers wait while all are busy."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._idle: queue.SimpleQueue[ProcessPool] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(self.enter_context(ProcessPool(1, TIME_LIMIT)))

    def run(self, decode: Callable[[Path], UploadedClip | UnreadableClip], path: Path) -> UploadedClip:
        """Decode a clip in one of the processes. Raises UnreadableClip, also after a crash or the time limit."""
        pool = self._idle.get()
        try:
            clip = next(pool.map(decode, [path], UnreadableClip, 1))
        finally:
            self._idle.put(pool)
        if isinstance(clip, UnreadableClip):
            raise clip
        return clip


class PredictionService:
    """Decodes clips and predicts them with all models, for several requests at a time."""

    def __init__(self, recognizers: dict[str, TorchRecognizer], decoders: DecodePool, max_error: float) -> None:
        self.recognizers, self.decoders, self.max_error = recognizers, decoders, max_error
        config = next(iter(recognizers.values())).config
        self._decode = partial(decode_upload, candidates=config.candidates, frame_size=config.frame_size)
        self.clip_seconds = config.clip_seconds
        self._lock = threading.Lock()  # PyTorch keeps all cores busy with one prediction

    def decode(self, path: Path) -> UploadedClip:
        """Decode a file. Raises UnreadableClip."""
        return self.decoders.run(self._decode, path)

    def predict(self, path: Path) -> tuple[UploadedClip, list[ModelPrediction]]:
        """Decode a file and predict it with each model. Raises UnreadableClip."""
        clip = self.decode(path)
        with self._lock:
            return clip, [self._predict(approach, path.name, clip.stored) for approach in self.recognizers]

    def _predict(self, approach: str, name: str, stored: StoredClip) -> ModelPrediction:
        recognizer = self.recognizers[approach]
        clip_views = recognizer.prepare(name, stored)
        probs, (_, heatmaps) = recognizer.predict(clip_views), gradcam(recognizer, clip_views)
        images = [
            (to_jpeg(frame), to_jpeg(blend_heatmap(frame, heatmap)))
            for frame, heatmap in zip(clip_views.frames, heatmaps, strict=True)
        ]
        return ModelPrediction(approach, recognizer.class_names, probs, images, recognizer.threshold(self.max_error))
