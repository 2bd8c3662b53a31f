"""Frame strips of single test clips: the frames that a model read, their Grad-CAM, the probabilities after each."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from glimpse.core.frame_store import FrameStore, StoredClip
from glimpse.core.image import to_jpeg
from glimpse.features.views import Box, clamp_box
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

NUM_MISTAKES, NUM_CORRECT = 3, 2  # strips of each approach
FRAME_WIDTH = 150  # pixels of a frame in the page
STRIP_QUALITY = 78  # of its JPEG
MAX_FRAMES = 12  # frames shown of a clip; of more, so many evenly spaced ones, with the first and the last
BOX_COLOURS = (255, 255, 255), (0, 0, 0)  # BGR: of the crop box, and of the line around it


@dataclass(frozen=True)
class StripFrame:
    """One frame of a strip, with the prediction and the probabilities after it."""

    number: int  # from 1
    observation_ratio: float
    jpeg: str  # in base64
    predicted: str
    confidence: float
    p_action: float  # of the true action
    p_final: float  # of the action predicted after the last frame


@dataclass(frozen=True)
class Strip:
    """A test clip, its true action, the final prediction with its confidence, and frames."""

    clip: str
    action: str
    predicted: str
    confidence: float
    num_frames: int  # that the model reads
    frames: list[StripFrame]  # that are shown


def pick_examples(predictions: pd.DataFrame, mistakes: int, correct: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a table of predictions: the most confident mistakes, and the least confident correct predictions."""
    confidence = predictions.filter(regex=r"^p\(").max(axis=1)
    is_correct = predictions["predicted"] == predictions["action"]
    worst = confidence[~is_correct].sort_values(ascending=False, kind="stable").index[:mistakes]
    least = confidence[is_correct].sort_values(kind="stable").index[:correct]
    return predictions.loc[worst], predictions.loc[least]


def example_strips(
    recognizer: TorchRecognizer, predictions: pd.DataFrame, store: FrameStore, factor: int
) -> list[list[Strip]]:
    """Strips of the most confident mistakes and of the least confident correct predictions; `factor`: times as many."""
    examples = pick_examples(predictions, factor * NUM_MISTAKES, factor * NUM_CORRECT)
    return [[frame_strip(recognizer, store.load(row["clip"]), row) for _, row in rows.iterrows()] for rows in examples]


def frame_strip(recognizer: TorchRecognizer, stored: StoredClip, row: pd.Series) -> Strip:
    """The strip of a clip, from its stored frames and its row in the table of predictions."""
    clip, action, predicted, class_names = row["clip"], row["action"], row["predicted"], recognizer.class_names
    label, final_label = class_names.index(action), class_names.index(predicted)
    positions, clip_views = recognizer.positions(clip), recognizer.prepare(clip, stored)
    probs, (_, heatmaps) = recognizer.predict(clip_views), gradcam(recognizer, clip_views, final_label)
    indices = np.linspace(0, len(positions) - 1, min(len(positions), MAX_FRAMES)).round().astype(int)
    frames = [
        StripFrame(
            number=int(index) + 1,
            observation_ratio=(positions[index] + 0.5) / recognizer.config.candidates,
            jpeg=_draw(clip_views.frames[index], clip_views.boxes[index], heatmaps[index]),
            predicted=class_names[probs[index].argmax()],
            confidence=float(probs[index].max()),
            p_action=float(probs[index, label]),
            p_final=float(probs[index, final_label]),
        )
        for index in indices
    ]
    return Strip(clip, action, predicted, float(row[f"p({predicted})"]), len(positions), frames)


def _draw(frame: np.ndarray, box: Box, heatmap: np.ndarray) -> str:
    """A BGR frame with its crop box, and the same frame with its heatmap below: a JPEG in base64."""
    left, top, side = clamp_box(frame, box)
    boxed = frame.copy()
    for offset, colour in enumerate(BOX_COLOURS):
        first, last = -offset, side - 1 + offset
        cv2.rectangle(boxed, (left + first, top + first), (left + last, top + last), colour)
    shape = FRAME_WIDTH, max(1, round(frame.shape[0] * FRAME_WIDTH / frame.shape[1]))
    images = boxed, blend_heatmap(frame, heatmap)
    stacked = np.vstack([cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in images])
    return base64.b64encode(to_jpeg(stacked, STRIP_QUALITY)).decode()
