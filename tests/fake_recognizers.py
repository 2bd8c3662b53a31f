"""Recognizers that replace trained ones. Run as a program, this file is `glimpse` with a fake model and no torch."""

import sys
import time
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from glimpse.features.views import ViewConfig
from glimpse.inference.recognizer import Recognizer
from glimpse.model.config import ModelConfig

CONFIG = ModelConfig(
    approach="all10", class_names=["left", "right"], num_frames=10, head="lstm", hidden=1,
    views=ViewConfig(size=32, crop="motion", rgb_diff=True, flow=True), finetune_blocks=0, precision="float32", seed=0,
    candidates=20, frame_size=48, frames=10, sampling="segments", clip_seconds=2.0, best_epoch={"epoch": 1},
    temperature=1.0, val_confidence=[0.5] * 20, val_correct=[True] * 20, versions={},
)  # fmt: skip


class FakeRecognizer(Recognizer):
    """Records the views it gets; the probability of "right" grows with the number of frames in the window."""

    def __init__(self, **changes):
        super().__init__(replace(CONFIG, **changes))
        self.seen_views = []

    state_size = 1

    def predict_views(self, views):
        raise NotImplementedError

    def step(self, view, state):
        self.seen_views.append(view)
        share = np.minimum((state + 1) / self.num_frames, 1)
        return np.hstack([1 - share, share]), state + 1


class SlowRecognizer:
    """A recognizer whose every step takes `seconds` more."""

    def __init__(self, recognizer, seconds):
        self.recognizer, self.seconds, self.steps, self.longest = recognizer, seconds, 0, 0.0

    def __getattr__(self, name):
        return getattr(self.recognizer, name)

    def step(self, view, state):
        start = time.monotonic()
        time.sleep(self.seconds)
        result = self.recognizer.step(view, state)
        self.steps, self.longest = self.steps + 1, max(self.longest, time.monotonic() - start)
        return result


if __name__ == "__main__":
    from glimpse import cli

    fake = FakeRecognizer()
    fake.seen_views = deque(maxlen=1)  # so that this list does not add to the memory that a test measures
    sys.modules["glimpse.inference.torch_recognizer"] = SimpleNamespace(TorchRecognizer=lambda path: fake)
    cli.main()
