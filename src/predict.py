"""Tool: which action a clip shows. Run: python src/predict.py CLIP|FOLDER … [--model models/all10/model.pt]

Prints for each clip the likeliest actions with their probabilities, and after how many frames the answer settled; where
the model is not sure enough to be wrong in no more than a share --error of its answers, "unknown". A file that can't be
used is named on stderr, the others are done all the same, and the exit code is then 1.

Another process decodes: it costs no time, since it starts while torch is imported, which it does without.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from glimpse import clips, isolation, store, video
from glimpse.belief import settled_after
from glimpse.recognizer import Recognizer


def files_in(given: Iterable[str]) -> Iterator[Path]:
    """The clips that the given paths name, themselves or in their folders, in order."""
    for path in map(Path, given):
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if clips.looks_like_a_clip(file))
        else:
            yield path


def decode(path: Path, candidates: int, size: int) -> store.Stored | video.Unreadable:
    """A file's `Stored` candidates, or the Unreadable that says why there are none."""
    if not clips.is_text(str(path)):
        return video.Unreadable(clips.NOT_TEXT)
    try:
        return store.Stored.encode(video.read_clip(path, candidates, size))
    except video.Unreadable as reason:
        return reason


def predict(recognizer: Recognizer, path: Path, stored: store.Stored, least: float) -> dict:
    """What the model says of a `Stored` clip: {clip, action, known, settled_after, frames, probabilities}.

    `known`: whether its confidence is `least` or more.
    """
    beliefs = recognizer.believe(path.name, stored)
    ranked = sorted(zip(recognizer.actions, beliefs[-1].tolist()), key=lambda pair: -pair[1])
    return {
        "clip": str(path),
        "action": ranked[0][0],
        "known": ranked[0][1] >= least,
        "settled_after": settled_after(beliefs),
        "frames": len(beliefs),
        "probabilities": dict(ranked),
    }


def as_text(answer: dict, top: int) -> str:
    """One line for people."""
    likeliest = list(answer["probabilities"].items())[:top]
    words = ", ".join(f"{action} {probability:.1%}" for action, probability in likeliest)
    words = words if answer["known"] else f"unknown (likeliest: {words})"
    return f"{answer['clip']}: {words}; settled after {answer['settled_after']} of {answer['frames']} frames"


def share(text: str) -> float:
    """A share between 0 and 1, from the command line."""
    if not 0 < float(text) < 1:
        raise ValueError
    return float(text)


def answer_all(
    recognizer: Recognizer, paths: list[Path], each: Callable[..., Iterator], asked: argparse.Namespace
) -> tuple[int, int]:
    """Prints what the model says of files, as `asked` on the command line; returns how many are bad and how many not.

    `each`: of `isolation.processes`.
    """
    least = recognizer.threshold(asked.error)
    table = csv.writer(sys.stdout, lineterminator="\n")
    if asked.csv:
        chances = [f"p({name})" for name in recognizer.actions]
        table.writerow(["clip", "action", "known", "settled_after", "frames", *chances])
    bad = 0
    work = partial(decode, candidates=recognizer.kept["candidates"], size=recognizer.kept["store_size"])
    for path, stored in zip(paths, each(work, paths, video.Unreadable, 4), strict=True):
        if isinstance(stored, video.Unreadable):
            print(f"{path}: {stored}", file=sys.stderr)
            bad += 1
            continue
        answer = predict(recognizer, path, stored, least)
        if asked.csv:
            chances = [f"{answer['probabilities'][name]:.6f}" for name in recognizer.actions]
            known = "yes" if answer["known"] else "unknown"
            table.writerow(
                [answer["clip"], answer["action"], known, answer["settled_after"], answer["frames"], *chances]
            )
        elif asked.json:
            print(json.dumps(answer, ensure_ascii=False), flush=True)
        else:
            print(as_text(answer, max(1, asked.top)), flush=True)
    return bad, len(paths) - bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", metavar="CLIP|FOLDER")
    parser.add_argument("--model", default="models/all10/model.pt")
    parser.add_argument("--top", type=int, default=3, help="actions shown per clip")
    parser.add_argument("--error", type=share, default=0.1, help="share of wrong answers to accept, else unknown (0.1)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table with a column for each action")
    asked = parser.parse_args()
    with isolation.processes(1) as each:
        from glimpse.inference import TorchRecognizer  # here, after the process has started

        bad, done = answer_all(TorchRecognizer(asked.model), list(files_in(asked.clips)), each, asked)
    if not done + bad:
        raise SystemExit(f"{', '.join(asked.clips)}: no clips there")
    if bad:
        raise SystemExit(f"predict: {bad} of {done + bad} files could not be used, named above")


if __name__ == "__main__":
    main()
