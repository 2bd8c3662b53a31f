"""What a model says of one clip: for programs as a dict, a row of a table, or JSON, and for people in a line."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from glimpse.core.frame_store import StoredClip
from glimpse.frames.decoder import UnreadableClip
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.recognizer import Recognizer

LONG = 3  # times the length of the clips that were trained on: one answer then says little

Answered = tuple[
    Path, dict | UnreadableClip, float
]  # the file, its answer or why there is none, and seconds or 0: unknown


def predict(recognizer: Recognizer, path: Path, stored: StoredClip, least: float) -> dict:
    """What the model says of a `Stored` clip: {clip, action, known, settled_after, frames, probabilities}.

    `known`: whether its confidence is `least` or more.
    """
    beliefs = recognizer.predict(path.name, stored)
    ranked = sorted(zip(recognizer.class_names, beliefs[-1].tolist()), key=lambda pair: -pair[1])
    return {
        "clip": str(path),
        "action": ranked[0][0],
        "known": ranked[0][1] >= least,
        "settled_after": frames_to_stable(beliefs),
        "frames": len(beliefs),
        "probabilities": dict(ranked),
    }


def answers(
    recognizer: Recognizer, decoded: Iterable[tuple[Path, StoredClip | UnreadableClip]], workers: int, least: float
) -> Iterator[Answered]:
    """What the model says of files as they are decoded, in their order, from `workers` threads."""

    def answer(path: Path, stored: StoredClip | UnreadableClip) -> Answered:
        if isinstance(stored, UnreadableClip):
            return path, stored, 0.0
        return path, predict(recognizer, path, stored, least), stored.seconds

    with ThreadPoolExecutor(workers) as pool:
        begun: deque[Future] = deque()
        for path, stored in decoded:
            begun.append(pool.submit(answer, path, stored))
            if len(begun) > workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def progress(found: Iterator[Answered], count: int) -> Iterator[Answered]:
    """The same with a bar on the terminal, if there is one, and tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return found
    return iter(tqdm(found, desc="predict", total=count, unit="clip", disable=None))


def as_text(answer: dict, top: int) -> str:
    """One line for people."""
    likeliest = list(answer["probabilities"].items())[:top]
    words = ", ".join(f"{action} {probability:.1%}" for action, probability in likeliest)
    words = words if answer["known"] else f"unknown (likeliest: {words})"
    return f"{answer['clip']}: {words}; settled after {answer['settled_after']} of {answer['frames']} frames"


def columns(actions: list[str]) -> list[str]:
    """The columns of the table of answers."""
    return ["clip", "action", "known", "settled_after", "frames", *(f"p({name})" for name in actions)]


def as_row(answer: dict, actions: list[str]) -> list[str]:
    """An answer as a row of that table."""
    known = "yes" if answer["known"] else "unknown"
    chances = [f"{answer['probabilities'][name]:.6f}" for name in actions]
    return [answer["clip"], answer["action"], known, answer["settled_after"], answer["frames"], *chances]


def as_json(answer: dict) -> str:
    """An answer as a JSON object in one line."""
    return json.dumps(answer, ensure_ascii=False)
