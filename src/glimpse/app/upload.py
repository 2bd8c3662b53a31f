"""Uploaded clips: their limits, decoding in a separate process, and the predictions of all models.

A damaged file may crash or stall its decoding process; the others and the page go on.
"""

import contextlib
import queue
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import resize_short_side, to_jpeg
from glimpse.core.parallel import ProcessPool
from glimpse.frames.decoder import UnreadableClip, open_capture, read_clip, sniff_file, store_clip
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict.video_reader import DEFAULT_FPS
from glimpse.report.gradcam import blend_heatmap, gradcam

MAX_MB, MAX_SECONDS, MAX_WIDTH, MAX_HEIGHT = 100, 120, 4096, 2304  # of an uploaded clip, portrait or landscape
TIME_LIMIT = 60  # seconds to decode a clip
PREVIEW_FRAMES, PREVIEW_SIDE = 300, 240  # of a preview: largest number of frames, and of pixels of the short side


class UploadedClip(NamedTuple):
    """A decoded clip: its stored frames, its properties, and a WebM (VP8) preview that browsers play."""

    stored: StoredClip
    frames: int
    seconds: float
    width: int
    height: int
    preview: bytes  # empty if it could not be made


class ModelPrediction(NamedTuple):
    """The prediction of one model for a clip."""

    approach: str
    class_names: list[str]
    probs: np.ndarray  # (frames, classes), after each frame
    images: list[tuple[bytes, bytes]]  # of each frame: its JPEG, and one with its Grad-CAM heatmap
    threshold: float  # the lowest confidence of an answer; infinite if there is none


def decode_upload(path: Path, candidates: int, frame_size: int) -> UploadedClip | UnreadableClip:
    """Decode a file; returns the error of one that is unusable or beyond the limits, to pass between processes."""
    try:
        sniff_file(path)
        if path.stat().st_size > MAX_MB * 10**6:
            raise UnreadableClip(f"too large: at most {MAX_MB} MB are allowed")
        header = open_capture(path)
        names = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS
        width, height, frames, fps = map(header.get, names)
        check_limits(width, height, frames / fps if 0 < fps < 1000 else 0)
        clip = read_clip(path, candidates, frame_size)
        fps = clip.fps or DEFAULT_FPS
        check_limits(clip.width, clip.height, seconds := clip.frames / fps)
        preview = make_preview(path, clip.frames, fps)
        return UploadedClip(store_clip(clip), clip.frames, seconds, clip.width, clip.height, preview)
    except UnreadableClip as reason:
        return reason


def check_limits(width: float, height: float, seconds: float) -> None:
    """Raise UnreadableClip if the size or length of a clip, as its header declares it or as decoded, is too large."""
    if max(width, height) > MAX_WIDTH or min(width, height) > MAX_HEIGHT:
        limit = f"at most {MAX_WIDTH}x{MAX_HEIGHT} are allowed"
        raise UnreadableClip(f"too large: {width:.0f}x{height:.0f} pixels, {limit}")
    if seconds > MAX_SECONDS:
        raise UnreadableClip(f"too long: {seconds:.0f} s, at most {MAX_SECONDS} s are allowed")


def make_preview(path: Path, frames: int, fps: float) -> bytes:
    """Convert a clip with this number of frames, and frames per second, to a small WebM; b"" if that fails."""
    with contextlib.suppress(cv2.error, OSError, UnreadableClip), tempfile.TemporaryDirectory() as folder:
        preview, step = Path(folder, "preview.webm"), -(-frames // PREVIEW_FRAMES)
        _write_preview(path, preview, fps, step)
        return preview.read_bytes()
    return b""


def _write_preview(path: Path, preview: Path, fps: float, step: int) -> None:
    source, writer, count = open_capture(path), cv2.VideoWriter(), 0
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


class PredictionService:
    """Decodes clips and predicts them with all models, for several requests at a time.

    recognizers: {approach: model}. decoders: pools that decode one clip each at a time; requests wait while all do.
    """

    def __init__(self, recognizers: dict[str, TorchRecognizer], decoders: list[ProcessPool], max_error: float) -> None:
        self.recognizers, self.max_error = recognizers, max_error
        config = next(iter(recognizers.values())).config
        self._decode = partial(decode_upload, candidates=config.candidates, frame_size=config.frame_size)
        self.clip_seconds = config.clip_seconds
        self._lock = threading.Lock()  # PyTorch keeps all cores busy with one prediction
        self._idle: queue.SimpleQueue[ProcessPool] = queue.SimpleQueue()
        for decoder in decoders:
            self._idle.put(decoder)

    def decode(self, path: Path) -> UploadedClip:
        """Decode a file. Raises UnreadableClip, also after a crash or the time limit."""
        decoder = self._idle.get()
        try:
            clip = next(decoder.map(self._decode, [path], UnreadableClip, 1))
        finally:
            self._idle.put(decoder)
        if isinstance(clip, UnreadableClip):
            raise clip
        return clip

    def predict(self, path: Path) -> tuple[UploadedClip, list[ModelPrediction]]:
        """Decode a file and predict it with each model. Raises UnreadableClip."""
        clip = self.decode(path)
        predictions = []
        with self._lock:
            for approach, model in self.recognizers.items():
                clip_views = model.prepare(path.name, clip.stored)
                probs, (_, heatmaps) = model.predict(clip_views), gradcam(model, clip_views)
                pairs = zip(clip_views.frames, heatmaps, strict=True)
                images = [(to_jpeg(frame), to_jpeg(blend_heatmap(frame, heatmap))) for frame, heatmap in pairs]
                threshold = model.threshold(self.max_error)
                predictions.append(ModelPrediction(approach, model.class_names, probs, images, threshold))
        return clip, predictions
