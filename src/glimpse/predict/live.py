"""What the model believes of a camera's newest frames: drawn in a window, or in words where there is no screen."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import cv2
import numpy as np

from glimpse.predict.camera import Camera, CameraFrame, FpsCounter
from glimpse.predict.overlay import draw_overlay
from glimpse.predict.stream import Stream

SAID = 1.0  # seconds between two lines of words; on a terminal one line is written anew more often
TITLE = "Glimpse (q ends)"


def watch(camera: Camera, stream: Stream, show: Callable[[CameraFrame, str], bool]) -> bool:
    """Gives `stream` the newest frame, and when it is done the next newest, until the camera ends.

    After each, `show` gets the frame, and how many a second come and are read, in words; if it says True this ends, and
    returns True.
    """
    look, model = stream.recognizer.views, FpsCounter()
    stream.recognizer.step(  # the first one takes long
        np.zeros((look.num_views, look.size, look.size, 3), np.uint8),
        np.zeros((1, stream.recognizer.state_size), np.float32),
    )
    with camera:
        newest = camera.newest(-1.0)
        while newest:
            before = stream.now
            stream.see(newest.time, newest.frame, newest.before)
            if stream.now is not before:
                model.count()
            if show(newest, f"camera {float(camera.rate):.0f}, model {float(model):.1f} frames/s"):
                return True
            newest = camera.newest(newest.time)
    return False


def in_words(stream: Stream, least: float) -> str:
    """What is believed now, "unknown" below the confidence `least`."""
    if stream.now is None:
        return "nothing read yet"
    likeliest = int(stream.now.probabilities.argmax())
    confidence = stream.now.probabilities[likeliest]
    words = f"{stream.recognizer.class_names[likeliest]} {confidence:.1%}"
    return words if confidence >= least else f"unknown (likeliest: {words})"


def screen() -> bool:
    """Whether a window can be shown. Another process tries, since the attempt may end the one that makes it."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    attempt = [sys.executable, "-c", f"import cv2; cv2.namedWindow({TITLE!r}, cv2.WINDOW_NORMAL)"]
    return subprocess.run(attempt, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def in_window(stream: Stream, least: float) -> Callable[[CameraFrame, str], bool]:
    """Draws into a window; q, or closing it, ends."""
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")  # about fonts, which no letter here is drawn with
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def show(newest: CameraFrame, rates: str) -> bool:
        cv2.imshow(TITLE, draw_overlay(newest.frame, stream, least, rates))
        return cv2.waitKey(1) == ord("q") or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1

    return show


def in_terminal(stream: Stream, least: float) -> Callable[[CameraFrame, str], bool]:
    """Writes words: on a terminal one line, always anew, otherwise a line every second."""
    said = 0.0

    def show(newest: CameraFrame, rates: str) -> bool:
        nonlocal said
        terminal = sys.stdout.isatty()
        if newest.time - said >= (SAID / 10 if terminal else SAID):
            said, line = newest.time, f"{newest.time:6.1f} s: {in_words(stream, least)}; {rates}"
            if terminal:
                line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\033[K"
            print(line, end="" if terminal else "\n", flush=True)
        return False

    return show


def run(camera: Camera, stream: Stream, least: float) -> None:
    """Watches until the camera ends, q is pressed, or Ctrl-C; the last line says what was believed then."""
    windowed = screen()
    try:
        asked = watch(camera, stream, in_window(stream, least) if windowed else in_terminal(stream, least))
        end = "ended" if asked else "the camera gave no more frames"
    except KeyboardInterrupt:
        end = "stopped"
    if windowed:
        cv2.destroyAllWindows()
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}{end}; last: {in_words(stream, least)}")
