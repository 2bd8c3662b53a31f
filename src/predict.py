"""Tool: which action a clip shows; what happens when in a long video; what a camera sees.

Run: python src/predict.py CLIP|FOLDER … [--model models/all10/model.pt] [--segments] [--overlay OUT.mp4]
or:  python src/predict.py --camera 0

Prints for each clip the likeliest actions with their probabilities, and after how many frames the answer settled; where
the model is not sure enough to be wrong in no more than a share --error of its answers, "unknown". A file that can't be
used is named on stderr, the others are done all the same, and the exit code is then 1.

Other processes decode clips: it costs no time to start them, since torch is imported meanwhile, which they do without.
Long videos and cameras are followed frame by frame in this one.
"""

import argparse
import contextlib
import csv
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from glimpse.core import frame_store as store
from glimpse.core import isolation
from glimpse.core.files import atomic_write
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video
from glimpse.inference.recognizer import Recognizer
from glimpse.predict import following, live
from glimpse.predict.camera import Camera
from glimpse.predict.load import load_recognizer
from glimpse.predict.output import LONG, answers, as_json, as_row, as_text, columns, progress
from glimpse.predict.stream import Stream


def files_in(given: Iterable[str]) -> Iterator[Path]:
    """The clips that the given paths name, themselves or in their folders, in order."""
    for path in map(Path, given):
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if clips.is_clip_file(file))
        else:
            yield path


def decode(path: Path, candidates: int, size: int) -> store.StoredClip | video.UnreadableClip:
    """A file's `Stored` candidates, or the Unreadable that says why there are none."""
    if not clips.is_utf8(str(path)):
        return video.UnreadableClip(clips.NOT_UTF8)
    try:
        return store.StoredClip.from_clip(video.read_clip(path, candidates, size))
    except video.UnreadableClip as reason:
        return reason


def share(text: str) -> float:
    """A share between 0 and 1, from the command line."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a share between 0 and 1")


def count(text: str) -> int:
    """A number from 1 on, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """A length of time, from the command line."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0")


def answer_all(
    recognizer: Recognizer, paths: list[Path], each: Callable[..., Iterator], asked: argparse.Namespace, out: IO[str]
) -> int:
    """Prints what the model says of files, as `asked` on the command line; returns how many are bad.

    `each`: of `isolation.processes`.
    """
    least, usual, bad = recognizer.threshold(asked.error), recognizer.config.clip_seconds, 0
    table = csv.writer(out, lineterminator="\n")
    if asked.csv:
        table.writerow(columns(recognizer.class_names))
    work = partial(decode, candidates=recognizer.config.candidates, size=recognizer.config.frame_size)
    decoded = zip(paths, each(work, paths, video.UnreadableClip, 4 * asked.workers), strict=True)
    found = answers(recognizer, decoded, asked.workers, least)
    for path, answer, length in found if out.isatty() or len(paths) < 2 else progress(found, len(paths)):
        if isinstance(answer, video.UnreadableClip):
            print(f"{path}: {answer}", file=sys.stderr)
            bad += 1
            continue
        if length > LONG * usual > 0:
            hint = f"is {length:.0f} s long, and the model knows clips of {usual:.1f} s"
            print(f"{path}: {hint}: --segments says what happens when", file=sys.stderr)
            usual = 0.0  # said once
        if asked.csv:
            table.writerow(as_row(answer, recognizer.class_names))
        else:
            print(as_json(answer) if asked.json else as_text(answer, asked.top), file=out, flush=True)
    return bad


def follow_all(recognizer: Recognizer, paths: list[Path], asked: argparse.Namespace, out: IO[str]) -> int:
    """Prints the segments of videos, as `asked` on the command line; returns how many are bad."""
    length, least, bad = window(recognizer, asked), recognizer.threshold(asked.error), 0
    in_words = following.as_csv if asked.csv else following.as_json if asked.json else following.as_text
    if asked.csv:
        print(*following.COLUMNS, sep=",", file=out)
    for path in paths:
        try:
            for row in following.predict_segments(recognizer, path, length, least, asked.overlay):
                print(in_words(row), file=out, flush=True)
        except video.UnreadableClip as reason:
            print(f"{path}: {reason}", file=sys.stderr)
            bad += 1
    return bad


def window(recognizer: Recognizer, asked: argparse.Namespace) -> float:
    """How long a window is, in seconds."""
    length = asked.window or recognizer.config.clip_seconds
    if not length:
        raise SystemExit(f"{asked.model}: doesn't say how long its clips were: add --window SECONDS")
    return length


def run(recognizer: Recognizer, paths: list[Path], each: Callable[..., Iterator], asked: argparse.Namespace) -> int:
    """What is `asked` on the command line, of files; returns how many are bad."""
    with atomic_write(asked.out) if asked.out else contextlib.nullcontext(sys.stdout) as out:
        if asked.segments:
            return follow_all(recognizer, paths, asked, out)
        bad = answer_all(recognizer, paths, each, asked, out)
    if asked.overlay and not bad:
        try:
            following.write_overlay(recognizer, paths[0], recognizer.threshold(asked.error), asked.overlay)
        except video.UnreadableClip as reason:
            raise SystemExit(f"{paths[0]}: {reason}") from None
    return bad


def watch(recognizer: Recognizer, asked: argparse.Namespace) -> None:
    """Follows a camera until it ends, or somebody ends it."""
    stream = Stream(recognizer, window(recognizer, asked))
    try:
        live.run(Camera(asked.camera), stream, recognizer.threshold(asked.error))
    except video.UnreadableClip as reason:
        raise SystemExit(f"camera {asked.camera}: {reason}") from None


def arguments() -> argparse.Namespace:
    """What is asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", metavar="CLIP|FOLDER")
    parser.add_argument("--model", default="models/all10/model.pt")
    parser.add_argument("--onnx", action="store_true", help="the exported model.onnx beside it: needs no torch")
    parser.add_argument("--top", type=count, default=3, help="actions shown per clip")
    parser.add_argument("--error", type=share, default=0.1, help="share of wrong answers to accept, else unknown (0.1)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument(
        "--csv", action="store_true", help="a table: a column for each action, or with --segments a row for each"
    )
    parser.add_argument("--out", metavar="FILE", help="write the answers there, all or nothing")
    parser.add_argument("--workers", type=count, help="clips decoded and looked at side by side (number of cores)")
    parser.add_argument("--segments", action="store_true", help="of long videos: which action from when to when")
    parser.add_argument("--window", type=seconds, help="seconds told at a time (length of the clips trained on)")
    parser.add_argument("--overlay", metavar="OUT.mp4", help="write the video with what is believed drawn into it")
    parser.add_argument("--camera", metavar="N", help="follow a camera, live, by its number; or a file played as one")
    asked = parser.parse_args()
    if asked.onnx:
        asked.model = str(Path(asked.model).with_suffix(".onnx"))
    if bool(asked.clips) == (asked.camera is not None):
        parser.error("expected clips or folders, or --camera N" + (", not both" if asked.clips else ""))
    if asked.window and not asked.segments and asked.camera is None:
        parser.error("--window goes with --segments or --camera")
    if asked.overlay and not asked.overlay.endswith(".mp4"):
        parser.error(f"--overlay {asked.overlay}: writes MPEG-4 alone: give a name that ends in .mp4")
    if asked.camera is not None and (asked.out or asked.csv or asked.json or asked.overlay or asked.segments):
        parser.error("--camera goes with --model, --error and --window alone")
    return asked


def main() -> None:
    asked = arguments()
    paths = list(files_in(asked.clips))
    if asked.overlay and len(paths) > 1:
        raise SystemExit(f"--overlay {asked.overlay}: takes one clip, and {len(paths)} were given")
    if not paths and asked.camera is None:
        raise SystemExit(f"{', '.join(asked.clips)}: no clips there")
    for name, given in (("overlay", asked.overlay), ("out", asked.out)):
        if given and any(os.path.exists(given) and path.exists() and path.samefile(given) for path in paths):
            raise SystemExit(f"--{name} {given}: is one of the clips and would take its place: give another name")
    asked.workers = min(asked.workers or os.cpu_count() or 1, max(1, len(paths)))
    live_or_long = asked.camera is not None or asked.segments
    with isolation.processes(0 if live_or_long else asked.workers) as each:
        recognizer = load_recognizer(
            asked.model, threads=1 if asked.workers > 1 else 0
        )  # here, after the processes have started
        if asked.camera is not None:
            return watch(recognizer, asked)
        try:
            bad = run(recognizer, paths, each, asked)
            sys.stdout.flush()
        except BrokenPipeError:  # nobody reads on, as after `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
    if bad:
        raise SystemExit(f"predict: {bad} of {len(paths)} files could not be used, named above")


if __name__ == "__main__":
    main()
