"""Draw the demo clips: an articulated figure, five actions, and answers known by construction.

Reads the settings `demo`; writes data/demo/<action>/actor07_<action>_2.avi (actor from 00, take from 1):
160x120 pixels, about 2 s at 24 frames/s, Motion JPEG in AVI. Run: python src/demo.py

    wave                stands and waves an arm over the head: any single frame tells
    sit_down, stand_up  one movement and its reverse, at a random time: only the order of frames tells
    lift, lower         holds a box, then raises it or puts it down: only frames after PARTING tell

Two actions that look alike are a coin flip. So the pairs ALIKE in what a model is shown give the best
accuracy that any can reach, on new actors and equally frequent actions (CEILINGS):

    middle_frame  3/5  both pairs are alike (up to 0.62 off the very middle, as at 0.475 of a clip)
    first5        4/5  of 10 frames: sit_down starts upright, stand_up seated; lift and lower haven't parted
    shuffled      4/5  all 10, order lost: lift and lower end apart; sit_down and stand_up are alike
    all10         5/5  all 10 in order

The middle frame and the shuffled ones are meant alone: what changed to a frame tells which way a movement goes.
An actor serves all actions, and what a clip adds is drawn whatever its action: neither tells. What moves by
itself (sway, camera) runs backwards as likely as forwards. No action becomes another in a mirror.
"""

from glimpse.core.settings import read  # isort: split

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from glimpse.core.files import atomic_folder
from glimpse.core.workers import side_by_side
from glimpse.demo.stick_figure import ACTIONS, FPS, HEIGHT, HOLDING, SITTING, WIDTH, draw_clip, make_actor

AMBIGUOUS = {"middle_frame": [SITTING, HOLDING], "first5": [HOLDING], "shuffled": [SITTING], "all10": []}
CEILINGS = {shown: (len(ACTIONS) - len(pairs)) / len(ACTIONS) for shown, pairs in AMBIGUOUS.items()}

MJPG = cv2.VideoWriter.fourcc(*"MJPG")
QUALITY = 20  # on the scale of OpenCV's AVI writer: about 180 kB a clip


def write_clip(path: Path, action: str, number: int, take: int, seed: int) -> None:
    """Draw one clip into a new file. OSError if it isn't whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, number, ACTIONS.index(action), take])  # take > 0: not the actor's
    frames = draw_clip(action, make_actor(number, seed), rng)
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, MJPG, FPS, (WIDTH, HEIGHT))
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, QUALITY)
    for frame in frames:
        writer.write(frame)
    writer.release()
    with open(path, "rb") as file:  # a reader of OpenCV's would write about a broken clip on the console
        stated = int.from_bytes(file.read(8)[4:], "little")  # bytes to follow, as AVI files begin
    if stated + 8 != path.stat().st_size:
        raise OSError(f"{path.name} is incomplete: is the disk full?")


def draw_all(folder: Path | str, actors: int, takes: int, seed: int, workers: int | None = None) -> int:
    """Draw actors x takes clips of every action, then put them in place of `folder`. Returns how many."""
    with atomic_folder(folder) as drawn:
        clips = [(drawn / action / f"actor{number:02d}_{action}_{take}.avi", action, number, take, seed)
                 for action in ACTIONS for number in range(actors) for take in range(1, takes + 1)]  # fmt: skip
        alone = partial(cv2.setNumThreads, 1)
        with side_by_side(write_clip, *zip(*clips, strict=True), workers=workers, initializer=alone) as written:
            list(tqdm(written, "demo", len(clips), disable=None))
    return len(clips)


def main() -> None:
    demo, folder = read("demo").demo, Path("data/demo")
    clips = draw_all(folder, demo.actors, demo.repetitions, demo.seed)
    size = sum(path.stat().st_size for path in folder.rglob("*.avi")) / 1e6
    print(f"demo: {clips} clips, {len(ACTIONS)} actions, {demo.actors} actors, {size:.1f} MB in data/demo")
    print("demo: best possible accuracy:", ", ".join(f"{shown} {best:g}" for shown, best in CEILINGS.items()))


if __name__ == "__main__":
    main()
