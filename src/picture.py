"""Tool: a picture of one test clip of each action, the frames that are read and what both approaches answer.

Reads data/frames/, metrics/predictions-*.csv and models/. Run: python src/picture.py docs/demo.png
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import FrameStore, from_jpeg
from glimpse.core.files import read_table
from glimpse.inference.torch_recognizer import TorchRecognizer

TALL, MARGIN, WIDE = 92, 8, 252  # pixels: a frame's height, the gaps, the column of words
RIGHT, WRONG, GREY, INK = (60, 130, 30), (50, 50, 200), (130, 130, 130), (40, 40, 40)  # BGR


def write(
    sheet: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int] = INK, scale: float = 0.45
) -> None:
    """Words on the sheet, their base line at y."""
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def strip(jpegs: Iterable[bytes]) -> np.ndarray:
    """Stored frames side by side, each TALL pixels high."""
    frames = [from_jpeg(jpeg) for jpeg in jpegs]
    size = round(frames[0].shape[1] * TALL / frames[0].shape[0]), TALL
    gap = np.full((TALL, 2, 3), 255, np.uint8)
    return np.hstack(
        [part for frame in frames for part in (cv2.resize(frame, size, interpolation=cv2.INTER_AREA), gap)]
    )


def answer_words(row: pd.Series, approach: str) -> str:
    """An approach's answer to a clip, with its probability."""
    chance = float(row[f"p({row['predicted']})"])
    return f"{approach}: {row['predicted']} {chance:.0%}"


def draw(rows: list[tuple[pd.Series, pd.Series]], frames: FrameStore, recognizer: TorchRecognizer) -> np.ndarray:
    """The sheet: BGR uint8. `rows`: for each clip its rows of the two tables of answers, first5's and all10's."""
    read = [(frames.load(first["clip"]), recognizer.positions(first["clip"])) for first, _ in rows]
    strips = [strip([stored.frames[position] for position in positions]) for stored, positions in read]
    width = max(one.shape[1] for one in strips)
    sheet = np.full((MARGIN + 18 + len(rows) * (TALL + MARGIN), WIDE + width + MARGIN, 3), 255, np.uint8)
    half = width // 2
    write(sheet, "read by first5 and all10", WIDE, 16, GREY, 0.4)
    write(sheet, "read by all10 only", WIDE + half, 16, GREY, 0.4)
    for number, ((first, last), one) in enumerate(zip(rows, strips, strict=True)):
        top = 18 + MARGIN + number * (TALL + MARGIN)
        sheet[top : top + TALL, WIDE : WIDE + one.shape[1]] = one
        write(sheet, first["action"], MARGIN, top + 22, INK, 0.6)
        for line, (row, approach) in enumerate([(first, "first5"), (last, "all10")]):
            colour = RIGHT if row["predicted"] == row["action"] else WRONG
            write(sheet, answer_words(row, approach), MARGIN, top + 48 + 22 * line, colour)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="a PNG file to write")
    asked = parser.parse_args()
    columns = ["clip", "action", "predicted"]
    tables = [read_table(f"metrics/predictions-{approach}.csv", columns) for approach in ("first5", "all10")]
    of_each = tables[0].groupby("action").indices.values()
    chosen = [held[2 * number % len(held)] for number, held in enumerate(of_each)]  # others each time, right or wrong
    rows = [tuple(table.loc[index] for table in tables) for index in chosen]
    sheet = draw(rows, FrameStore("data/frames"), TorchRecognizer("models/all10/model.pt"))
    with atomic_write(asked.picture, "wb") as file:
        file.write(cv2.imencode(".png", sheet)[1].tobytes())
    print(f"picture: {len(rows)} clips in {asked.picture}")


if __name__ == "__main__":
    main()
