"""The result of one clip: its description and, of each model, probabilities, their curve, and frames with Grad-CAM.

`ModelCard` lays out Gradio's components; the frames are HTML, since no component of Gradio shows a second image on
hover or touch. Names of files and actions come from outside: they are escaped here, or by the components.
"""

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from glimpse.app.upload import ModelPrediction, UploadedClip
from glimpse.inference.confidence import frames_to_stable
from glimpse.predict.load import LONG

# Of the most likely actions, legible on light and dark (after Okabe and Ito 2008); and of the threshold.
COLOURS, GREY = ("#0f83cf", "#dc6210", "#0d9b74", "#bf679e", "#a98708", "#7a74d9"), "#8a8a8a"
MAX_TICKS = 12  # of the curve


class ModelCard:
    """The components that show the prediction of one model."""

    def __init__(self, approach: str) -> None:
        with gr.Column(min_width=300, elem_classes="card", elem_id=approach):
            self.answer = gr.HTML()
            self.label = gr.Label(num_top_classes=len(COLOURS), show_heading=False, label="Probabilities")
            self.curve = gr.LinePlot(x="frames", y="probability", color="action", x_title="frames read", height=230,
                                     label="Probability after each frame", y_lim=[0, 1], y_axis_format=".0%",
                                     colors_in_legend=[], buttons=[])  # fmt: skip
            self.frames = gr.HTML()

    def update(self, prediction: ModelPrediction, actions: Sequence[str], max_error: float) -> dict[Any, Any]:
        """The new values of the components; `actions`: those that get a line."""
        rows, colours = curve(prediction, actions)
        ticks, several = rows["frames"].unique(), len(prediction.probs) > 1  # of one frame there is no line
        order = list(ticks) if isinstance(ticks[0], str) else None
        return {
            self.answer: answer(prediction, max_error),
            self.label: dict(zip(prediction.class_names, prediction.probs[-1].tolist(), strict=True)),
            self.curve: gr.LinePlot(rows, color_map=colours, sort=order, visible=several),
            self.frames: legend(colours) * several + frames(prediction),
        }


def curve(prediction: ModelPrediction, actions: Sequence[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The lines of the plot, as rows of frames, action and probability, and their colours.

    One line for each of `actions`, and a constant one for the threshold, if there is one.
    """
    table = pd.DataFrame(prediction.probs, columns=prediction.class_names)[[*actions]]
    colours = dict(zip(actions, COLOURS))
    table.index += 1
    if len(table) <= MAX_TICKS:  # as text, so that every frame has its tick, and there are none in between
        table.index = table.index.astype(str)
    if math.isfinite(prediction.threshold):
        name = f"threshold {prediction.threshold:.1%}"
        table[name], colours[name] = prediction.threshold, GREY
    rows = table.round(4).rename_axis("frames").reset_index()
    return rows.melt("frames", var_name="action", value_name="probability"), colours


def message(text: str) -> str:
    """A sentence in place of a result."""
    return f'<div class="glimpse"><p class="message">{escape(text)}</p></div>'


def description(name: str, label: str, clip: UploadedClip, clip_seconds: float) -> str:
    """Name and properties of a clip. label: its action in the data set, "" if it is not of it; clip_seconds: length of
    the training clips, 0 if unknown."""
    properties = f"{clip.frames} frames, {clip.seconds:.1f} s, {clip.width} x {clip.height} pixels"
    notes = f'<p>label in the data set: <b class="label">{escape(label)}</b></p>' if label else ""
    if clip.seconds > LONG * clip_seconds > 0:
        notes += (
            f'<p class="message">Much longer than the training clips ({clip_seconds:.1f} s): one prediction for all of '
            "it says little. To predict segments: <code>glimpse predict video FILE</code></p>"
        )
    return f'<div class="glimpse"><h3>{escape(name)}</h3><p class="dim">{properties}</p>{notes}</div>'


def most_likely(predictions: Sequence[ModelPrediction]) -> list[str]:
    """The actions that get a line, in alphabetical order: those with the highest probability in any model and frame."""
    highest = pd.concat([pd.DataFrame(item.probs, columns=item.class_names) for item in predictions]).max()
    return sorted(highest.nlargest(len(COLOURS)).index)


def answer(prediction: ModelPrediction, max_error: float) -> str:
    """The predicted action, or "unknown" below the threshold, and why."""
    num_frames, threshold, confidence = len(prediction.probs), prediction.threshold, prediction.probs[-1].max()
    action = escape(prediction.class_names[prediction.probs[-1].argmax()])
    headline, purpose = f"<b>{action}</b> {confidence:.1%}", f"the threshold for at most {max_error:.0%} wrong answers"
    if confidence >= threshold:
        reason = f"above {purpose}; stable after {frames_to_stable(prediction.probs)} of {num_frames} frames"
    else:
        headline = f'<b class="unknown">unknown</b> most likely: {action} {confidence:.1%}'
        finite = math.isfinite(threshold)
        reason = f"below {threshold:.1%}, {purpose}" if finite else "too few val clips to find a threshold"
    title = f'{escape(prediction.approach)} <span class="dim">reads {num_frames} frames</span>'
    return f'<div class="glimpse"><h3>{title}</h3><p class="answer">{headline}</p><p class="dim">{reason}</p></div>'


def legend(colours: dict[str, str]) -> str:
    """Names of the lines; Gradio's own legend does not wrap and is cut off on a phone."""
    names = [f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in colours.items()]
    return f'<div class="glimpse legend">{"".join(names)}</div>'


def frames(prediction: ModelPrediction) -> str:
    """The frames with their heatmaps, which hovering over or touching a frame hides."""
    figures = []
    for number, images in enumerate(prediction.images, 1):
        frame, heatmap = (f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for jpeg in images)
        figures.append(
            f'<figure tabindex="0"><img src="{frame}" alt="frame {number}"><img class="heatmap" src="{heatmap}" '
            f'alt=""><figcaption>{number}</figcaption></figure>'
        )
    return (
        '<div class="glimpse"><h4>Frames read <span class="dim">bright: supports the prediction (Grad-CAM); point at '
        f'or touch a frame to see it without</span></h4><div class="frames">{"".join(figures)}</div></div>'
    )
