"""Strips: the frames of a clip as a model read them, where it found its answer, and what it believed after each."""

import base64
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd

from glimpse.core.frame_store import StoredClip
from glimpse.features.views import clamp_box, prepare_frames
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

WIDE = 150  # pixels of a frame in the page
QUALITY = 78  # of its JPEG
MOST = 12  # frames shown of a clip: of more, so many spread evenly, the last one among them
SQUARE = (255, 255, 255), (0, 0, 0)  # BGR: the line around what was looked at, and the one outside it


@dataclass(frozen=True)
class StripFrame:
    """One frame of a strip: its number, the share of the clip seen by then, its picture (base64 of a JPEG), the
    likeliest action by then and its probability, and those of the true action and of the final answer."""

    number: int
    seen: float
    picture: str
    likeliest: str
    probability: float
    true: float
    answer: float


@dataclass(frozen=True)
class Strip:
    """A clip of the test part: its true action, the answer, its probability, how many frames were read, those shown."""

    clip: str
    action: str
    answer: str
    probability: float
    read: int
    frames: list[StripFrame]


def confidence(answers: pd.DataFrame) -> pd.Series:
    """The probability of the answer to each clip, from a table of predictions."""
    return pd.Series([float(row[f"p({row['predicted']})"]) for _, row in answers.iterrows()], answers.index, float)


def pick_examples(answers: pd.DataFrame, mistakes: int, hits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a table of predictions to look at: the surest wrong answers, and the least sure right ones."""
    sure, right = confidence(answers), answers["predicted"] == answers["action"]
    worst = sure[~right].sort_values(ascending=False, kind="stable").index[:mistakes]
    least = sure[right].sort_values(kind="stable").index[:hits]
    return answers.loc[worst], answers.loc[least]


def frame_strip(recognizer: TorchRecognizer, stored: StoredClip, row: pd.Series) -> Strip:
    """The strip of a `Stored` clip, from its row in the table of predictions."""
    names, clip = recognizer.class_names, row["clip"]
    read, true, answer = recognizer.positions(clip), names.index(row["action"]), names.index(row["predicted"])
    beliefs = recognizer.predict(clip, stored)
    hot = gradcam(recognizer, stored, read, clip, answer)[1]
    pictures, squares = prepare_frames(stored, replace(recognizer.views, flow=False), read)
    shown = []
    for number in np.linspace(0, len(read) - 1, min(len(read), MOST)).round().astype(int):
        belief, likeliest = beliefs[number], int(beliefs[number].argmax())
        shown.append(
            StripFrame(
                number=int(number) + 1,
                seen=(read[number] + 0.5) / recognizer.config.candidates,
                picture=_picture(pictures[number][0], squares[number], hot[number]),
                likeliest=names[likeliest],
                probability=float(belief[likeliest]),
                true=float(belief[true]),
                answer=float(belief[answer]),
            )
        )
    return Strip(clip, row["action"], row["predicted"], float(row[f"p({row['predicted']})"]), len(read), shown)


def _picture(frame: np.ndarray, square: tuple[float, float, float], hot: np.ndarray) -> str:
    """A BGR frame with the square that was looked at, and below it the same frame with its heat: base64 of a JPEG."""
    left, top, side = clamp_box(frame, square)
    read = frame.copy()
    for colour, out in zip(SQUARE, (0, 1), strict=True):
        cv2.rectangle(read, (left - out, top - out), (left + side - 1 + out, top + side - 1 + out), colour)
    size = WIDE, max(1, round(frame.shape[0] * WIDE / frame.shape[1]))
    both = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (read, blend_heatmap(frame, hot))]
    made = cv2.imencode(".jpg", np.vstack(both), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return base64.b64encode(made.tobytes()).decode()
