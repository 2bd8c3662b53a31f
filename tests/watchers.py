"""Recognizers that stand in for trained ones. Run as a program, it is predict.py with a blank model and no torch."""

import sys
import time
from collections import deque
from types import SimpleNamespace

import numpy as np

from glimpse.inference.recognizer import Recognizer

KEPT = {
    "actions": ["left", "right"], "use": 10, "temperature": 1.0, "candidates": 20, "frames": 10, "sampling": "segments",
    "seed": 0, "frame_size": 48, "look": {"size": 32, "follow": True, "change": True, "flow": True}, "seconds": 2.0,
    "val": {"confidence": [0.5] * 20, "right": [True] * 20},
}  # fmt: skip


class Blank(Recognizer):
    """Keeps the looks it was shown; believes in "right" the more, the more frames a reading has seen."""

    def __init__(self, **kept):
        super().__init__({**KEPT, **kept})
        self.looks = []

    memory = 1

    def predict_views(self, looks):
        raise NotImplementedError

    def step(self, look, carried):
        self.looks.append(look)
        share = np.minimum((carried + 1) / self.use, 1)
        return np.hstack([1 - share, share]), carried + 1


class Slow:
    """Another recognizer, whose every step takes `seconds` more."""

    def __init__(self, recognizer, seconds):
        self.recognizer, self.seconds, self.steps, self.longest = recognizer, seconds, 0, 0.0

    def __getattr__(self, name):
        return getattr(self.recognizer, name)

    def step(self, look, carried):
        began = time.monotonic()
        time.sleep(self.seconds)
        answer = self.recognizer.step(look, carried)
        self.steps, self.longest = self.steps + 1, max(self.longest, time.monotonic() - began)
        return answer


if __name__ == "__main__":
    import predict

    blank = Blank()
    blank.looks = deque(maxlen=1)  # what is measured is the program's memory, not its
    sys.modules["glimpse.inference.torch_recognizer"] = SimpleNamespace(TorchRecognizer=lambda path: blank)
    predict.main()
