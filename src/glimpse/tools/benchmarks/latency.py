"""Benchmark of latency: how long from a file to a prediction, and per frame of a stream; start-up is not counted.

All models process the same clip, which is drawn into a temporary folder: 10 seconds of the demo's actions, 320x240
pixels, 25 frames per second, MPEG-4. Streams are processed on one core.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from glimpse.demo.stick_figure import ACTIONS, draw_clip, make_actor
from glimpse.frames.decoder import open_capture, read_clip, store_clip
from glimpse.inference.recognizer import Recognizer
from glimpse.predict.load import load_recognizer
from glimpse.predict.stream import DiffBuffer, Stream
from glimpse.predict.video_reader import VideoReader, quiet

SECONDS, WIDTH, HEIGHT, FPS = 10, 320, 240, 25
FLOOR, DECODED = "floor: grab all frames", "a frame of the video, decoded"
WINDOW = 2.0  # seconds, about as long as the demo's clips: 5 frames per second are read
NOTES: dict[str, Callable[[pd.DataFrame], str]] = {  # by step, from the milliseconds of all steps in each round
    "decode": lambda times: f"x{(times['decode'] / times[FLOOR]).median():.2f} of the floor; target: x1.2",
    "file to prediction": lambda _: "target: 190 ms",
    "a frame that is read": lambda _: "target: 16 ms",
    DECODED: lambda times: f"{1000 / times[DECODED].median():.0f} frames/s",
}


def measure_latency(models: Sequence[str], rounds: int) -> None:
    """Print the median, lowest and highest time of each step over the rounds, in which the models take turns."""
    quiet()
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "clip.mp4"
        write_clip(clip)
        machine = f"{os.cpu_count()} cores; OpenCV {cv2.__version__}"
        print(f"\nlatency: a clip of {SECONDS} s, {WIDTH}x{HEIGHT}, {FPS} frames/s; {machine}")
        for title, threads, measure in (
            ("from a file to a prediction", 0, file_to_prediction),
            (f"a stream with windows of {WINDOW:g} s, on one core", 1, stream_frames),
        ):
            if threads:
                use_one_core()
            loaded = [load_recognizer(model, threads) for model in models]
            times = [[measure(recognizer, clip) for recognizer in loaded] for _ in range(rounds + 1)]
            for model, *rows in zip(models, *times[1:]):  # the first round warms up
                print(f"\n{model}: {title}")
                print_times(pd.DataFrame(rows))


def write_clip(path: Path) -> None:
    """Write the clip: the demo's actions one after the other."""
    rng, actor = np.random.default_rng(0), make_actor(0, seed=0)
    frames = [frame for action in 2 * ACTIONS for frame in draw_clip(action, actor, rng)]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for frame in frames[: SECONDS * FPS]:
        writer.write(cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    writer.release()


def use_one_core() -> None:
    """One thread for OpenCV and PyTorch and, where the system can, one core for all that starts from now on."""
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def grab_all_frames(path: Path) -> None:
    """Decode every frame and convert none."""
    capture = open_capture(path)
    while capture.grab():
        pass


def time_steps(*steps: Callable[[Any], Any]) -> list[float]:
    """Milliseconds of each step; a step gets what the one before returned."""
    times, value = [], None
    for step in steps:
        start = time.perf_counter()
        value = step(value)
        times.append((time.perf_counter() - start) * 1000)
    return times


def file_to_prediction(recognizer: Recognizer, path: Path) -> dict[str, float]:
    """Milliseconds of the steps from a file to its prediction, their sum, decoding alone and its floor."""
    config = recognizer.config
    floor, decoding = time_steps(
        lambda _: grab_all_frames(path),
        lambda _: read_clip(path, config.candidates, HEIGHT),  # the original size: nothing is scaled
    )
    steps = time_steps(
        lambda _: read_clip(path, config.candidates, config.frame_size),
        store_clip,
        lambda stored: recognizer.prepare(path.name, stored).clean,
        recognizer.predict_views,
    )
    named = dict(zip(("decode and scale", "store as JPEGs", "compute views", "model"), steps, strict=True))
    return {FLOOR: floor, "decode": decoding, **named, "file to prediction": sum(steps)}


def stream_frames(recognizer: Recognizer, path: Path) -> dict[str, float]:
    """Milliseconds per frame that is read, with the candidates before it; for the model alone; per decoded frame."""
    frames, diffs = list(VideoReader.open(path).frames(lambda _: True)), DiffBuffer()
    decoded, video = Stream(recognizer, WINDOW), Stream(recognizer, WINDOW)
    read = round(SECONDS / WINDOW * recognizer.config.frames)
    size, modalities = recognizer.views.size, recognizer.views.num_modalities
    view = np.zeros((modalities, size, size, 3), np.uint8)
    state = np.zeros((recognizer.num_frames, recognizer.state_size), np.float32)
    times = time_steps(
        lambda _: [decoded.add(at, frame, diffs.add(at, frame), 1 / FPS) for at, frame in frames],
        lambda _: [recognizer.step(view, state) for _ in range(read)],
        lambda _: list(VideoReader.open(path).infer(video)),
    )
    names = "a frame that is read", "model, for the same", DECODED
    return dict(zip(names, np.array(times) / [read, read, len(frames)], strict=True))


def print_times(times: pd.DataFrame) -> None:
    """Print the median of each step, the lowest and the highest, and its note; times: a column of each step."""
    for name, column in times.items():
        spread = f"({column.min():.1f} to {column.max():.1f}, n = {len(column)})"
        note = NOTES[name](times) if name in NOTES else ""
        print(f"  {name:<30}{column.median():>8.1f} ms  {spread:<32}{note}".rstrip(), flush=True)
