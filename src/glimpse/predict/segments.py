"""From what is believed of windows that overlap to what happens when: segments with an action, a start and an end."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from glimpse.predict.stream import Stream, WindowPrediction
from glimpse.predict.video_reader import VideoReader


@dataclass(frozen=True)
class Segment:
    """A stretch of time, in seconds, with one answer or without any."""

    start: float
    end: float
    action: int  # its number: the likeliest
    known: bool  # whether the model is sure enough all the time
    confidence: float  # mean probability of the action


def per_step_probabilities(beliefs: Iterable[WindowPrediction], frames: int) -> Iterator[np.ndarray]:
    """What is believed of each moment: probabilities (actions,), the mean over the windows that cover it.

    beliefs: windows in order, each beginning one moment after the one before and `frames` moments long. Nothing is told
    of a moment before the last window that covers it was read.
    """
    covering: deque[np.ndarray] = deque(maxlen=frames)
    for belief in beliefs:
        covering.append(belief.probabilities)
        yield np.mean(covering, 0)
    for most in range(frames - 1, 0, -1) if covering else ():  # the rest of the last window, as windows end
        while len(covering) > most:
            covering.popleft()
        yield np.mean(covering, 0)


def segments(
    playback: VideoReader, beliefs: Iterable[WindowPrediction], stream: Stream, least: float
) -> Iterator[Segment]:
    """The segments of a video, each as soon as it is over: moments joined while they have the same answer, or none.

    A moment has an answer where its confidence is `least` or more. beliefs: what `playback.followed(stream)` gives. The
    last segment lasts to the end of the video, of which a moment may be left that no window covers.
    """
    lasts = stream.seconds / len(stream.positions)
    start, answer, total, count = 0.0, None, np.zeros(len(stream.recognizer.class_names)), 0

    def until(end: float) -> Segment:
        return Segment(start, end, int(total.argmax()), answer is not None, float(total.max() / count))

    for number, probabilities in enumerate(per_step_probabilities(beliefs, len(stream.positions))):
        time, said = number * lasts, int(probabilities.argmax()) if probabilities.max() >= least else None
        if time >= playback.length:
            break
        if count and said != answer:
            yield until(time)
            start, total, count = time, np.zeros_like(total), 0
        answer, total, count = said, total + probabilities, count + 1
    if count:
        yield until(playback.length)
