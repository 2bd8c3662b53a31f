"""Draws the demo clips and writes them as video files; src/demo.py describes them."""

from functools import partial
from itertools import product
from operator import call
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from glimpse.core.files import atomic_folder
from glimpse.core.parallel import parallel_map
from glimpse.demo.stick_figure import ACTIONS, FPS, HEIGHT, HOLDING, SITTING, WIDTH, draw_clip, make_actor

# The pairs of actions that look the same to a model that reads these frames, and the best possible accuracy.
AMBIGUOUS = {"middle_frame": [SITTING, HOLDING], "first5": [HOLDING], "shuffled": [SITTING], "all10": []}
CEILINGS = {frames: (len(ACTIONS) - len(pairs)) / len(ACTIONS) for frames, pairs in AMBIGUOUS.items()}

MJPG = cv2.VideoWriter.fourcc(*"MJPG")
QUALITY = 20  # on the scale of OpenCV's AVI writer: about 180 kB per clip


def write_clip(path: Path, action: str, actor: int, repetition: int, seed: int) -> None:
    """Draw one clip into a new file. Raises OSError if it could not be written completely."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # repetitions count from 1: the actor itself is drawn from [seed, actor], which NumPy takes for [seed, actor, 0, 0]
    rng = np.random.default_rng([seed, actor, ACTIONS.index(action), repetition])
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, MJPG, FPS, (WIDTH, HEIGHT))
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, QUALITY)
    for frame in draw_clip(action, make_actor(actor, seed), rng):
        writer.write(frame)
    writer.release()
    with open(path, "rb") as file:  # OpenCV's reader would print messages about an incomplete clip
        declared = int.from_bytes(file.read(8)[4:], "little")  # an AVI file begins with the number of bytes that follow
    if declared + 8 != path.stat().st_size:
        raise OSError(f"{path.name} is incomplete: is the disk full?")


def draw_all(folder: Path | str, actors: int, repetitions: int, seed: int, workers: int | None = None) -> int:
    """Draw actors x repetitions clips of every action, then replace `folder` by them. Returns the number of clips."""
    with atomic_folder(folder) as new_folder:
        jobs = []
        for action, actor, repetition in product(ACTIONS, range(actors), range(1, repetitions + 1)):
            path = new_folder / action / f"actor{actor:02d}_{action}_{repetition}.avi"
            jobs.append(partial(write_clip, path, action, actor, repetition, seed))
        with parallel_map(call, jobs, workers) as results:
            for _ in tqdm(results, "demo", len(jobs), disable=None):
                pass
    return len(jobs)
