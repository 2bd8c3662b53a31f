"""Contact sheet: a picture of one test clip of each action, with the frames that the models read and their predictions.

OUT.png shows all clips on one sheet. OUT.gif is an animation of the first three, clip after clip: the frames that all10
reads, one after the other, and the probability of each action after every frame.

Reads data/frames/, metrics/tables/predictions-*.csv and models/all10/model.pt. Writes OUT.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from glimpse.core.files import atomic_write, read_table
from glimpse.core.frame_store import FrameStore
from glimpse.core.image import resize
from glimpse.core.settings import APPROACHES
from glimpse.features.views import ClipViews
from glimpse.inference.recognizer import Recognizer
from glimpse.predict.load import load_recognizer

if TYPE_CHECKING:
    import pandas as pd

MARGIN, GAP = 8, 2  # pixels
THUMBNAIL_HEIGHT, TEXT_WIDTH = 92, 244  # of the sheet
FRAME_HEIGHT, SMALL_HEIGHT, BAR_WIDTH, LINE_HEIGHT = 152, 45, 210, 30  # of the animation
FRAME_MS, LAST_FRAME_MS = 350, 1800  # how long a frame of the animation is shown
ANIMATED_CLIPS, COLOURS, HEADER = 3, 64, 34  # more clips would make a large file; colours and header of a picture
GREEN, RED, GREY, LIGHT, BLACK = (60, 130, 30), (50, 50, 200), (130, 130, 130), (225, 225, 225), (40, 40, 40)  # BGR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT.png|OUT.gif", type=Path, help="the picture to write")


def run(args: argparse.Namespace) -> None:
    if args.out.suffix.lower() not in (".png", ".gif"):
        raise SystemExit(f"{args.out}: expected a name that ends in .png or .gif")
    columns = ["clip", "action", "predicted"]
    tables = [read_table(f"metrics/tables/predictions-{approach}.csv", columns) for approach in APPROACHES]
    by_action = tables[0].groupby("action").indices.values()
    chosen = [rows[2 * number % len(rows)] for number, rows in enumerate(by_action)]  # mostly of different groups
    animated = args.out.suffix.lower() == ".gif"
    predictions = [[table.loc[row] for table in tables] for row in chosen[: ANIMATED_CLIPS if animated else None]]
    recognizer, store = load_recognizer("models/all10/model.pt"), FrameStore("data/frames")
    clips = [recognizer.prepare(row["clip"], store.load(row["clip"])) for row, _ in predictions]
    if animated:
        actions = [row["action"] for row, _ in predictions]
        content = to_gif([draw_animation(recognizer, *pair) for pair in zip(actions, clips, strict=True)])
    else:
        content = cv2.imencode(".png", draw_sheet(predictions, clips))[1].tobytes()
    with atomic_write(args.out, "wb") as file:
        file.write(content)
    print(f"contact-sheet: {len(clips)} clips in {args.out}, {len(content) / 1e6:.2f} MB")


def draw_sheet(predictions: Sequence[Sequence["pd.Series"]], clips: list[ClipViews]) -> np.ndarray:
    """The sheet, BGR. predictions: of each clip, its rows of first5's and all10's tables of predictions."""
    strips = [draw_strip(clip.frames, THUMBNAIL_HEIGHT) for clip in clips]
    left, width = MARGIN + TEXT_WIDTH, max(strip.shape[1] for strip in strips)
    row_height = THUMBNAIL_HEIGHT + MARGIN
    sheet = np.full((18 + MARGIN + len(clips) * row_height, left + width + MARGIN, 3), 255, np.uint8)
    draw_text(sheet, "read by first5 and all10", (left, 16), GREY, 0.4)
    draw_text(sheet, "read by all10 only", (left + width // 2, 16), GREY, 0.4)
    for number, (rows, strip) in enumerate(zip(predictions, strips, strict=True)):
        top = 18 + MARGIN + number * row_height
        sheet[top : top + THUMBNAIL_HEIGHT, left : left + strip.shape[1]] = strip
        draw_text(sheet, rows[0]["action"], (MARGIN, top + 22), BLACK, 0.6)
        for line, (row, approach) in enumerate(zip(rows, APPROACHES, strict=True)):
            text = f"{approach}: {row['predicted']} {float(row['p(' + row['predicted'] + ')']):.0%}"
            draw_text(sheet, text, (MARGIN, top + 48 + 22 * line), GREEN if row["predicted"] == row["action"] else RED)
    return sheet


def draw_animation(recognizer: Recognizer, action: str, clip: ClipViews) -> list[np.ndarray]:
    """The animation of one clip, a BGR picture for each frame that the model reads."""
    probabilities, class_names = recognizer.predict(clip), recognizer.class_names
    strip, count = draw_strip(clip.frames, SMALL_HEIGHT), len(clip.frames)
    frame_width = round(clip.frames[0].shape[1] * FRAME_HEIGHT / clip.frames[0].shape[0])
    left = 2 * MARGIN + frame_width
    width = max(left + 100 + BAR_WIDTH + 50, 2 * MARGIN + strip.shape[1])
    bottom = HEADER + max(FRAME_HEIGHT, LINE_HEIGHT * len(class_names)) + MARGIN
    pictures = []
    for number, frame in enumerate(clip.frames):
        picture = np.full((bottom + SMALL_HEIGHT + MARGIN, width, 3), 255, np.uint8)
        draw_text(picture, f"action: {action}", (MARGIN, 23), BLACK, 0.55)
        draw_text(picture, f"probabilities after {number + 1} of {count} frames", (left, 23), BLACK, 0.5)
        resized = resize(frame, (frame_width, FRAME_HEIGHT))
        picture[HEADER : HEADER + FRAME_HEIGHT, MARGIN : MARGIN + frame_width] = resized
        for line, (name, probability) in enumerate(zip(class_names, probabilities[number], strict=True)):
            draw_bar(picture, name, float(probability), (left, HEADER + line * LINE_HEIGHT), name == action)
        shown = round(strip.shape[1] * (number + 1) / count)
        picture[bottom : bottom + SMALL_HEIGHT, MARGIN : MARGIN + shown] = strip[:, :shown]
        pictures.append(picture)
    return pictures


def draw_bar(picture: np.ndarray, name: str, probability: float, corner: tuple[int, int], correct: bool) -> None:
    """A class name, a bar as long as its probability, and the probability, at the top left `corner`."""
    x, y = corner
    start, base = x + 100, y + LINE_HEIGHT // 2 + 6
    draw_text(picture, name, (x, base), BLACK, 0.45)
    for length, colour in ((BAR_WIDTH, LIGHT), (round(BAR_WIDTH * probability), GREEN if correct else GREY)):
        picture[y + 5 : y + LINE_HEIGHT - 5, start : start + length] = colour
    draw_text(picture, f"{probability:.0%}", (start + BAR_WIDTH + 6, base), BLACK, 0.45)


def draw_strip(frames: list[np.ndarray], height: int) -> np.ndarray:
    """Frames side by side, each `height` pixels high."""
    width = round(frames[0].shape[1] * height / frames[0].shape[0])
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.hstack([image for frame in frames for image in (resize(frame, (width, height)), gap)])


def draw_text(
    picture: np.ndarray, text: str, position: tuple[int, int], colour: tuple[int, int, int], scale: float = 0.45
) -> None:
    """Draw text into a BGR picture; `position`: x, and y of its base line."""
    cv2.putText(picture, text, position, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def to_gif(clips: list[list[np.ndarray]]) -> bytes:
    """An endless GIF of the BGR pictures of several clips; the last one of each is shown longer."""
    images = [Image.fromarray(picture[..., ::-1].copy()) for clip in clips for picture in clip]
    first, *others = [image.quantize(COLOURS, dither=Image.Dither.NONE) for image in images]
    durations = [time for clip in clips for time in [FRAME_MS] * (len(clip) - 1) + [LAST_FRAME_MS]]
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return content.getvalue()
