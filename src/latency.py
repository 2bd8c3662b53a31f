"""Tool: how long from a file to an answer, and how fast a stream is followed; start-up is not counted.

Run: python src/latency.py [MODEL …] [--rounds 15]

All models have the same clip to do, which is made in a temporary folder: 10 seconds of the demo's actions, 320x240, 25
frames a second, MPEG-4. They take turns in rounds; shown is the median of the rounds, with the lowest and the highest.
Decoding stands beside its floor, where every frame is decoded and none converted. Streams are followed on one core.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from glimpse.core import frame_store as store
from glimpse.demo.stick_figure import ACTIONS, draw_clip, make_actor
from glimpse.features import views as looks
from glimpse.frames import decoder as video
from glimpse.inference.recognizer import Recognizer
from glimpse.predict.load import load_recognizer
from glimpse.predict.stream import DiffBuffer, Stream
from glimpse.predict.video_reader import VideoReader, quiet

SECONDS, WIDTH, HEIGHT, FPS = 10, 320, 240, 25
MODELS = "models/all10/model.pt", "models/all10/model.onnx"
FLOOR, ANSWER, STREAM = 1.2, 190, 16  # wanted: times the floor, and milliseconds
WINDOW = 2.0  # seconds, about as long as the demo's clips: 5 frames a second are read


def write_clip(path: Path) -> None:
    """The clip that is measured: each action of the demo's, one after the other, as long as there is time."""
    rng, actor = np.random.default_rng(0), make_actor(0, seed=0)
    drawn = [frame for action in 2 * ACTIONS for frame in draw_clip(action, actor, rng)]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for frame in drawn[: SECONDS * FPS]:
        writer.write(cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    writer.release()


def one_core() -> None:
    """One thread for OpenCV and PyTorch, and, where the system can, one core for all that starts from now on."""
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def grab_all(path: Path) -> None:
    """Decodes every frame and converts none."""
    reader = video.open_capture(path)
    while reader.grab():
        pass


def laps(*steps: Callable) -> tuple[list[float], object]:
    """Milliseconds that each step takes, given what the one before returned, and what the last one returns."""
    times, made = [], None
    for step in steps:
        began = time.perf_counter()
        made = step(made)
        times.append((time.perf_counter() - began) * 1000)
    return times, made


def file_to_answer(recognizer: Recognizer, path: Path) -> dict[str, float]:
    """Milliseconds of the steps from a file to an answer, of all of them, and of decoding alone and its floor."""
    wanted, size = recognizer.config.candidates, recognizer.config.frame_size
    beside, _ = laps(
        lambda _: grab_all(path),
        lambda _: video.read_clip(path, wanted, HEIGHT),  # as large as they are: nothing is scaled
    )
    steps, _ = laps(
        lambda _: video.read_clip(path, wanted, size),
        store.StoredClip.from_clip,
        lambda stored: looks.clean_views(stored, recognizer.views, recognizer.positions(path.name)),
        recognizer.predict_views,
    )
    names = "decode and scale", "store as JPEGs", "look", "model", "file to answer"
    return dict(zip(["floor: grab all", "decode", *names], [*beside, *steps, sum(steps)], strict=True))


def following(recognizer: Recognizer, path: Path) -> dict[str, float]:
    """Milliseconds for a frame read from a stream, of the model alone for it, and for a frame shown, decoding and all.

    A frame that is read costs what the candidates up to it do, too.
    """
    frames, recent, lasts = list(VideoReader.open(path).frames(lambda _: True)), DiffBuffer(), 1 / FPS
    stream, whole = Stream(recognizer, WINDOW), Stream(recognizer, WINDOW)
    reads = SECONDS / WINDOW * recognizer.config.frames
    side, views = recognizer.views.size, recognizer.views.num_views
    look, carried = (
        np.zeros((views, side, side, 3), np.uint8),
        np.zeros((recognizer.num_frames, recognizer.state_size), np.float32),
    )
    times, _ = laps(
        lambda _: [stream.see(at, frame, recent.add(at, frame), lasts) for at, frame in frames],
        lambda _: [recognizer.step(look, carried) for _ in range(round(reads))],
        lambda _: list(VideoReader.open(path).followed(whole)),
    )
    names = "a frame read", "model, the same", "a frame shown, with decoding"
    return dict(zip(names, np.array(times) / [reads, round(reads), len(frames)], strict=True))


def show(rows: list[dict[str, float]], beside: Mapping[str, str]) -> None:
    """Prints the median of each row, the lowest and the highest, and what stands beside it."""
    for what in rows[0]:
        times = np.array([row[what] for row in rows])
        spread = f"({times.min():.1f} to {times.max():.1f}, n = {len(times)})"
        print(f"  {what:<30}{np.median(times):>8.1f} ms  {spread:<32}{beside.get(what, '')}".rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: those of {', '.join(MODELS)} that exist")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    models = asked.models or [path for path in MODELS if Path(path).exists()]
    if not models:
        raise SystemExit(f"{MODELS[0]}: No such file or directory: run `dvc repro` to train it")
    quiet()
    rounds = range(max(1, asked.rounds) + 1)
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "clip.mp4"
        write_clip(clip)
        print(
            f"a clip of {SECONDS} s, {WIDTH}x{HEIGHT}, {FPS} frames/s; {os.cpu_count()} cores; OpenCV {cv2.__version__}"
        )
        recognizers = {path: load_recognizer(path) for path in models}
        told = [{path: file_to_answer(one, clip) for path, one in recognizers.items()} for _ in rounds][1:]
        for path in models:
            rows = [each[path] for each in told]
            over = np.median([row["decode"] / row["floor: grab all"] for row in rows])
            print(f"\n{path}: from a file to an answer")
            show(
                rows,
                {"decode": f"x{over:.2f} of the floor; wanted: x{FLOOR}", "file to answer": f"wanted: {ANSWER} ms"},
            )
        one_core()
        recognizers = {path: load_recognizer(path, threads=1) for path in models}
        told = [{path: following(one, clip) for path, one in recognizers.items()} for _ in rounds][1:]
        for path in models:
            print(f"\n{path}: a stream with windows of {WINDOW:g} s, on one core")
            rows = [each[path] for each in told]
            rate = 1000 / np.median([row["a frame shown, with decoding"] for row in rows])
            beside = {"a frame read": f"wanted: {STREAM} ms", "a frame shown, with decoding": f"{rate:.0f} frames/s"}
            show(rows, beside)


if __name__ == "__main__":
    main()
