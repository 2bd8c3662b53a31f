"""A video followed frame by frame: what a model believes of the last seconds, in memory that doesn't grow.

A window is as long as the clips the model was trained on, and a new one begins every `seconds / frames`. All windows
see the same frames, so the backbone looks once at each frame that is read, and what is carried on for each of them is a
few hundred numbers, a few thousand with ridge regression. NumPy and OpenCV only.
"""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from glimpse.core.frame_store import StoredClip, to_jpeg
from glimpse.core.sampling import evenly_spaced
from glimpse.features.views import Box, crop_frame, prepare_frames, resize_short_side
from glimpse.frames.decoder import DIFF_INTERVAL_S, frame_difference
from glimpse.inference.recognizer import Recognizer

NEARLY = 1e-6  # seconds: times that differ by less are the same


@dataclass(frozen=True)
class WindowPrediction:
    """What the model believes of a window, from `start` to `end` in seconds, after it has read `frames` of it."""

    start: float
    end: float
    frames: int
    whole: bool  # whether it has read all it reads of a window
    probabilities: np.ndarray  # (actions,)


class DiffBuffer:
    """The frames of the last moment, as few as tell what was shown BEFORE the newest one."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, np.ndarray]] = deque()

    def add(self, time: float, frame: np.ndarray) -> np.ndarray:
        """The newest frame, shown from `time` on; returns the earlier one nearest to BEFORE it, or itself if first."""
        earlier = self._frames
        while len(earlier) > 1 and earlier[1][0] <= time - DIFF_INTERVAL_S:
            earlier.popleft()
        before = min(earlier, key=lambda one: abs(one[0] + DIFF_INTERVAL_S - time))[1] if earlier else frame
        earlier.append((time, frame))
        return before


class Stream:
    """Frames in, and whenever a window has been read, what the model believes of it out.

    Of every window candidates are taken as the stage `frames` takes them of a clip that long, so a window that begins
    where the video does is told as the clip would be. Later windows differ in two things: the square that follows what
    moves has seen what came before, and where `frames` doesn't divide `candidates`, they are spread a little otherwise.
    A model that reads the first few frames only (first5) answers when it has read those, before the window ends.
    A window is never read at random, whatever `draw` says, unless `positions` does.

    recognizer: the model. seconds: the length of a window. positions (frames,): which candidates of a window are read,
    in rising order; spread evenly if not given.
    """

    def __init__(self, recognizer: Recognizer, seconds: float, positions: Collection[int] | None = None) -> None:
        self.recognizer, self.seconds = recognizer, seconds
        self.candidates, self.size = recognizer.config.candidates, recognizer.config.frame_size
        evenly_spread = evenly_spaced(self.candidates, recognizer.config.frames)
        self.positions = evenly_spread if positions is None else np.asarray(positions)
        self.every = seconds / self.candidates
        self._glance = replace(recognizer.views, flow=False)  # at what isn't read, for the square's sake
        self.square: Box | None = None  # where it looks, in pixels of a frame as it is stored
        self.now: WindowPrediction | None = None  # of the window that was begun first among those last seen
        self._taken = self._read = 0  # candidates that are over, and how many of them were there to be read
        self._begun: list[int] = []  # of each window that is being read: the number of its first frame read
        self._embed: list[int] = []  # how many frames it has seen
        self._carried = np.zeros((0, recognizer.state_size), np.float32)

    def near(self, time: float, lasts: float) -> bool:
        """Whether a frame shown at `time` for `lasts` seconds may be a candidate, or what one's change is told from."""
        return self._due(self._taken) < time + DIFF_INTERVAL_S + 2 * lasts + NEARLY

    def see(self, time: float, frame: np.ndarray, before: np.ndarray, lasts: float = 0.0) -> list[WindowPrediction]:
        """A frame, BGR (height, width, 3), shown from `time` on for `lasts` seconds, and the one `Recent` has before.

        Returns the windows that have now been read, mostly none or one. A candidate is the frame shown when it is due.
        Live, `lasts` is 0: the frame stands for the last candidate that is due, those before it are missed, and so
        windows are told from fewer frames.
        """
        late = self._number(time - NEARLY)  # candidates that were due before this frame was shown
        due = range(late, self._number(time + lasts - NEARLY)) if lasts else range(late - 1, late)
        told = []
        for number in due:
            if number >= self._taken:
                told += self._candidate(number, frame, before)
        return told

    def _due(self, number: int) -> float:
        """When a candidate is due: in the middle of its stretch of time."""
        return (number + 0.5) * self.every

    def _number(self, time: float) -> int:
        """How many candidates are due before a time."""
        return max(0, math.ceil(time / self.every - 0.5))

    def _candidate(self, number: int, frame: np.ndarray, before: np.ndarray) -> list[WindowPrediction]:
        """Takes a candidate; reads it if it, or one that was missed before it, is there to be read."""
        change = resize_short_side(frame_difference(frame, before), self.size)
        stored = StoredClip([to_jpeg(resize_short_side(frame, self.size))], [to_jpeg(change)])
        read, self._taken = self._read, number + 1
        windows, rest = divmod(self._taken, self.candidates)
        self._read = windows * len(self.positions) + int(np.searchsorted(self.positions, rest))
        look = self.recognizer.views if read < self._read else self._glance
        (views,), (self.square,) = prepare_frames(stored, look, last=self.square)
        if read == self._read:
            return []
        if self._read - read >= len(self.positions):  # after a pause as long as a window, what was seen counts no more
            self._begun, self._embed, self._carried = [], [], self._carried[:0]
        return self._step(crop_frame(views, self.square, self.recognizer.views.size))

    def _step(self, look: np.ndarray) -> list[WindowPrediction]:
        """Reads a frame: another window begins with it. Returns those that have been read whole, and ends them."""
        number, use = self._read - 1, min(self.recognizer.num_frames, len(self.positions))
        self._begun, self._embed = [*self._begun, number], [seen + 1 for seen in [*self._embed, 0]]
        carried = np.concatenate([self._carried, np.zeros((1, self.recognizer.state_size), np.float32)])
        probabilities, carried = self.recognizer.step(look, carried)
        told = []
        for begun, seen, row in zip(self._begun, self._embed, probabilities, strict=True):
            start = begun * self.seconds / len(self.positions)
            told.append(WindowPrediction(start, start + self.seconds, seen, number - begun + 1 >= use, row))
        whole = sum(one.whole for one in told)
        self.now = told[0]
        self._begun, self._embed, self._carried = self._begun[whole:], self._embed[whole:], carried[whole:]
        return told[:whole]
