"""Predict the action that a camera sees, live.

Reads camera N, or a video file played at its frame rate in its place, and a trained model. Always takes the newest
frame: a slow model reads fewer frames and never lags. Shows the prediction in a window, or in the terminal if there is
no screen; q or Ctrl-C ends it. Writes nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Self

import cv2
import numpy as np

from glimpse.core.stage import allow_ctrl_c
from glimpse.frames.decoder import UnreadableClip
from glimpse.predict import options
from glimpse.predict.load import load_recognizer
from glimpse.predict.overlay import draw_overlay
from glimpse.predict.stream import DiffBuffer, Stream
from glimpse.predict.video_reader import VideoReader, quiet

TIMEOUT = 5.0  # seconds without a frame after which a camera counts as ended
PRINT_INTERVAL = 1.0  # seconds between two printed lines; on a terminal one line is updated ten times as often
WINDOW_TITLE = "Glimpse (q ends)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `glimpse predict camera`."""
    parser.add_argument("camera", metavar="N|FILE", help="number of the camera (0 is the first), or a video file")
    options.add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Predict until the camera ends or the user ends it."""
    recognizer = load_recognizer(options.model_path(args))
    stream = Stream(recognizer, options.window_seconds(args, recognizer.config.clip_seconds))
    try:
        show_camera(Camera(args.camera), stream, recognizer.threshold(args.max_error))
    except UnreadableClip as reason:
        raise SystemExit(f"camera {args.camera}: {reason}") from None


class FpsCounter:
    """Events per second, over the last 30 events."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=30)

    def count(self) -> None:
        """Count an event now."""
        self._times.append(time.monotonic())

    def __float__(self) -> float:
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


class CameraFrame(NamedTuple):
    """A BGR frame (height, width, 3), the frame DIFF_INTERVAL_S before it, and its time since the start in seconds."""

    time: float
    frame: np.ndarray
    previous: np.ndarray


class Camera:
    """Capture thread that keeps only the newest frame; slow consumers drop frames.

    source: the number of a camera, or the path of a video file in its place. Raises UnreadableClip if it cannot be
    opened. Used as a context manager: the thread ends with the block.
    """

    def __init__(self, source: str) -> None:
        self.fps = FpsCounter()
        self._frame_seconds = 0.0  # of a file
        if source.isdecimal() and int(source) < 2**31:
            quiet()
            self._capture = cv2.VideoCapture(int(source))
            if not self._capture.isOpened():
                raise UnreadableClip("no such camera, or another program uses it")
        else:
            reader = VideoReader.open(source)
            self._capture, self._frame_seconds = reader.capture, 1 / reader.fps
        self._changed = threading.Condition()
        self._newest: CameraFrame | None = None
        self.ended = False  # whether no more frames will come
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start_time = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start_time

    def newest(self, after: float) -> CameraFrame | None:
        """Wait for a frame captured later than `after` and return the newest; None if there will be no more."""

        def ready() -> bool:
            return self.ended or (self._newest is not None and self._newest.time > after)

        with self._changed:
            self.ended = not self._changed.wait_for(ready, TIMEOUT) or self.ended
            return self._newest if self._newest and self._newest.time > after else None

    def __enter__(self) -> Self:
        self._start_time = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True
        self._thread.join(TIMEOUT)

    def _run(self) -> None:
        buffer, count = DiffBuffer(), 0
        while not self.ended:
            time.sleep(max(0.0, count * self._frame_seconds - self.now))
            ok, frame = self._capture.read()
            captured, count = self.now, count + 1
            with self._changed:
                if ok:
                    self.fps.count()
                    self._newest = CameraFrame(captured, frame, buffer.add(captured, frame))
                else:
                    self.ended = True
                self._changed.notify_all()


OnFrame = Callable[[CameraFrame, str], bool]  # gets a frame and the frame rates as text; True ends the loop


def predict_frames(camera: Camera, stream: Stream, on_frame: OnFrame) -> bool:
    """Give `stream` the newest frame, again and again; returns True if `on_frame` ended it, False if the camera did."""
    views, model_fps = stream.recognizer.views, FpsCounter()
    stream.recognizer.step(  # the first step takes longest
        np.zeros((views.num_modalities, views.size, views.size, 3), np.uint8),
        np.zeros((1, stream.recognizer.state_size), np.float32),
    )
    with camera:
        newest = camera.newest(-1.0)
        while newest:
            latest = stream.latest
            stream.add(newest.time, newest.frame, newest.previous)
            if stream.latest is not latest:
                model_fps.count()
            if on_frame(newest, f"camera {float(camera.fps):.0f}, model {float(model_fps):.1f} frames/s"):
                return True
            newest = camera.newest(newest.time)
    return False


def as_text(stream: Stream, threshold: float) -> str:
    """The latest prediction, "unknown" if its confidence is below `threshold`."""
    if stream.latest is None:
        return "no prediction yet"
    predicted = int(stream.latest.probabilities.argmax())
    confidence = stream.latest.probabilities[predicted]
    action = f"{stream.recognizer.class_names[predicted]} {confidence:.1%}"
    return action if confidence >= threshold else f"unknown (most likely: {action})"


def has_screen() -> bool:
    """Whether a window can be shown; another process tries, because the attempt can abort the process."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    attempt = [sys.executable, "-c", f"import cv2; cv2.namedWindow({WINDOW_TITLE!r}, cv2.WINDOW_NORMAL)"]
    return subprocess.run(attempt, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def window_output(stream: Stream, threshold: float) -> OnFrame:
    """Draw into a window; q, or closing the window, ends."""
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")  # about fonts that are not used here
    cv2.namedWindow(WINDOW_TITLE, cv2.WINDOW_NORMAL)

    def show(newest: CameraFrame, frame_rates: str) -> bool:
        cv2.imshow(WINDOW_TITLE, draw_overlay(newest.frame, stream, threshold, frame_rates))
        return cv2.waitKey(1) == ord("q") or cv2.getWindowProperty(WINDOW_TITLE, cv2.WND_PROP_VISIBLE) < 1

    return show


def terminal_output(stream: Stream, threshold: float) -> OnFrame:
    """Print the prediction: on a terminal one line that is updated, otherwise a line every PRINT_INTERVAL."""
    last_printed = 0.0

    def show(newest: CameraFrame, frame_rates: str) -> bool:
        nonlocal last_printed
        terminal = sys.stdout.isatty()
        if newest.time - last_printed >= (PRINT_INTERVAL / 10 if terminal else PRINT_INTERVAL):
            last_printed, line = newest.time, f"{newest.time:6.1f} s: {as_text(stream, threshold)}; {frame_rates}"
            if terminal:
                line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\033[K"
            print(line, end="" if terminal else "\n", flush=True)
        return False

    return show


def show_camera(camera: Camera, stream: Stream, threshold: float) -> None:
    """Predict until the camera ends, or q or Ctrl-C is pressed; the last line printed is the last prediction."""
    screen = has_screen()
    allow_ctrl_c()
    try:
        output = window_output if screen else terminal_output
        ended_by_user = predict_frames(camera, stream, output(stream, threshold))
        reason = "ended" if ended_by_user else "the camera gave no more frames"
    except KeyboardInterrupt:
        reason = "stopped"
    if screen:
        cv2.destroyAllWindows()
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}{reason}; last: {as_text(stream, threshold)}")
