"""Trying a clip that somebody hands in: what may be handed in, how it is read, and what both approaches say of it.

The clip is decoded in a process of its own, which a damaged file may crash or keep busy without harm to anybody else.
"""

import contextlib
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from glimpse.core.frame_store import StoredClip, from_jpeg, to_jpeg
from glimpse.core.parallel import ProcessPool
from glimpse.features.views import resize_short_side
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

MEGABYTES, SECONDS, WIDEST, HIGHEST = 100, 120, 4096, 2304  # the largest clip that may be handed in
GUESSED_FPS = 25  # where the file tells none
PATIENCE = 60  # seconds to decode it
PLAYED, PLAYED_SIDE = 300, 240  # of what the page plays: frames at most, and pixels of the short side at most


@dataclass
class UploadedClip:
    """A clip as it was handed in: its `Stored` candidates, how long it is, and a WebM (VP8) for a browser to play."""

    stored: StoredClip
    frames: int
    seconds: float
    width: int
    height: int
    played: bytes


@dataclass
class ModelPrediction:
    """What one approach says of a clip.

    beliefs: probabilities (use, actions) after each frame; pictures: of each frame that it read a JPEG, and one with
    its heat on it; least: the confidence from which on it is sure enough to answer.
    """

    approach: str
    actions: list[str]
    beliefs: np.ndarray
    pictures: list[tuple[bytes, bytes]]
    least: float


def read(path: Path, candidates: int, size: int) -> UploadedClip | video.UnreadableClip:
    """A file within the limits as `Tried`, or the Unreadable that says why not."""
    try:
        if not clips.is_utf8(str(path)):
            raise video.UnreadableClip(clips.NOT_UTF8)
        video.sniff_file(path)
        _check_limits(path)
        clip = video.read_clip(path, candidates, size)
        seconds = clip.frames / (clip.fps or GUESSED_FPS)
        if seconds > SECONDS:
            raise video.UnreadableClip(f"too long: {seconds:.0f} s, at most {SECONDS} s are taken")
        return UploadedClip(
            StoredClip.from_clip(clip), clip.frames, seconds, clip.width, clip.height, playable(path, clip.frames)
        )
    except video.UnreadableClip as reason:
        return reason


def _check_limits(path: Path) -> None:
    """Raises Unreadable where the file's size, or what its header says, is beyond the limits."""
    if path.stat().st_size > MEGABYTES * 10**6:
        raise video.UnreadableClip(f"too large: at most {MEGABYTES} MB are taken")
    header = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    names = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS
    width, height, frames, fps = (header.get(name) for name in names)
    if max(width, height) > WIDEST or min(width, height) > HIGHEST:
        most = f"{WIDEST}x{HIGHEST}"
        raise video.UnreadableClip(f"too large: {width:.0f}x{height:.0f} pixels, at most {most} are taken")
    if 0 < fps < 1000 and frames / fps > SECONDS:
        raise video.UnreadableClip(f"too long: {frames / fps:.0f} s, at most {SECONDS} s are taken")


def playable(path: Path | str, frames: int) -> bytes:
    """A clip of so many frames as a small WebM that browsers play, whatever it was made with; b"" if that fails."""
    with contextlib.suppress(cv2.error, OSError), tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "played.webm")
        _make_playable(path, frames, made)
        return made.read_bytes()
    return b""


def _make_playable(path: Path | str, frames: int, made: Path) -> None:
    """The same into a file."""
    source = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    fps, step = source.get(cv2.CAP_PROP_FPS), -(-frames // PLAYED)
    fps = fps if 0 < fps < 1000 else GUESSED_FPS
    writer, count = cv2.VideoWriter(), 0
    while source.grab():
        if count % step == 0:
            ok, frame = source.retrieve()
            if not ok:
                break
            frame = resize_short_side(frame, min(PLAYED_SIDE, *frame.shape[:2]))
            frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            if not writer.isOpened():
                codec, shape = cv2.VideoWriter.fourcc(*"VP80"), frame.shape[1::-1]
                writer.open(str(made), cv2.CAP_FFMPEG, codec, max(1, fps / step), shape)
            writer.write(frame)
        count += 1
    writer.release()


class DecodePool:
    """Processes that read clips, one clip each at a time; whoever finds all of them busy waits."""

    def __init__(self, pools: Sequence[ProcessPool]) -> None:
        self._idle: queue.Queue[ProcessPool] = queue.Queue()
        for pool in pools:
            self._idle.put(pool)

    @classmethod
    @contextlib.contextmanager
    def started(cls, count: int) -> "Iterator[DecodePool]":
        """So many of them, until the block ends."""
        with contextlib.ExitStack() as stack:
            yield cls([stack.enter_context(ProcessPool(1, PATIENCE)) for _ in range(count)])

    def run(self, work: Callable, path: Path) -> object:
        """work(path) in one of the processes; where that crashes or takes too long, an Unreadable that says so."""
        pool = self._idle.get()
        try:
            return next(pool.map(work, [path], video.UnreadableClip, 1))
        finally:
            self._idle.put(pool)


class PredictionService:
    """Both approaches, ready to be asked about clips by several people."""

    def __init__(self, recognizers: dict[str, TorchRecognizer], readers: DecodePool, error: float) -> None:
        self.recognizers, self.readers, self.error = recognizers, readers, error
        kept = next(iter(recognizers.values())).config
        self.read = partial(read, candidates=kept["candidates"], size=kept["frame_size"])
        self.usual: float = kept["seconds"]
        self._one_at_a_time = threading.Lock()  # PyTorch keeps the cores busy with one

    def about(self, path: Path) -> tuple[UploadedClip, list[ModelPrediction]]:
        """A file as it was read, and what each approach says of it; raises Unreadable."""
        tried = self.readers.run(self.read, path)
        if isinstance(tried, video.UnreadableClip):
            raise tried
        assert isinstance(tried, UploadedClip)
        with self._one_at_a_time:
            return tried, [self._answer(name, path.name, tried.stored) for name in self.recognizers]

    def _answer(self, approach: str, clip: str, stored: StoredClip) -> ModelPrediction:
        recognizer = self.recognizers[approach]
        positions = recognizer.positions(clip)
        frames = [from_jpeg(stored.frames[position]) for position in positions]
        _, hot = gradcam(recognizer, stored, positions, clip)
        pictures = [
            (to_jpeg(frame), to_jpeg(blend_heatmap(frame, one))) for frame, one in zip(frames, hot, strict=True)
        ]
        beliefs = recognizer.predict(clip, stored)
        return ModelPrediction(approach, recognizer.class_names, beliefs, pictures, recognizer.threshold(self.error))
