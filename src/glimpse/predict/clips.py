"""Predict the action in each clip, or in each clip of a folder.

Reads the clips and a trained model (`dvc repro` trains models/all10/model.pt). Prints one line per clip: the most
likely actions with their probabilities, and after how many frames the prediction was stable; "unknown" where the
confidence is below the threshold of --max-error. A file that cannot be used is named on stderr, the others are done,
and the exit code is then 1. --out writes a file instead, --overlay a video.
"""

import contextlib
import csv
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import StoredClip
from glimpse.core.parallel import ProcessPool
from glimpse.frames.decoder import UnreadableClip, read_clip, store_clip
from glimpse.inference.recognizer import Recognizer
from glimpse.predict import options
from glimpse.predict.load import LONG, Prediction, load_recognizer, predict_stored
from glimpse.predict.overlay import write_overlay

Decoded = tuple[Path, StoredClip | UnreadableClip]
Result = tuple[Path, Prediction | UnreadableClip, float]  # the file, its prediction or an error, seconds (0: unknown)


def add_arguments(parser: ArgumentParser) -> None:
    """Define the options of `glimpse predict clips`."""
    options.add_model_options(parser, window=False)
    options.add_file_options(parser, "CLIP")
    whole = options.positive_int
    parser.add_argument("--top", type=whole, default=3, metavar="N", help="actions per clip (%(default)s)")
    parser.add_argument("--workers", type=whole, metavar="N", help="clips in parallel (one per processor core)")


def run(args: Namespace) -> None:
    """Predict all clips; exits with an error if one could not be used.

    Other processes decode. They start first and import no torch, so they decode while this one imports it.
    """
    paths = options.input_files(args, "clips")
    workers = min(args.workers or os.cpu_count() or 1, len(paths))
    with ProcessPool(workers) as pool:
        recognizer = load_recognizer(options.model_path(args), threads=1 if workers > 1 else 0)
        config, threshold = recognizer.config, recognizer.threshold(args.max_error)
        decode = partial(decode_or_reason, candidates=config.candidates, frame_size=config.frame_size)
        decoded = zip(paths, pool.map(decode, paths, UnreadableClip, 4 * workers), strict=True)
        results = predict_all(recognizer, decoded, workers, threshold)
        with atomic_write(args.out) if args.out else contextlib.nullcontext(sys.stdout) as out:
            unusable = print_results(recognizer, results, len(paths), args, out)
    if unusable:
        raise SystemExit(f"predict: {unusable} of {len(paths)} files could not be used, named above")
    if args.overlay:
        try:
            write_overlay(recognizer, paths[0], threshold, args.overlay)
        except UnreadableClip as reason:
            raise SystemExit(f"{paths[0]}: {reason}") from None


def decode_or_reason(path: Path, candidates: int, frame_size: int) -> StoredClip | UnreadableClip:
    """Decode a clip; returns the error of one that cannot be used, so that it can pass between processes."""
    try:
        return store_clip(read_clip(path, candidates, frame_size))
    except UnreadableClip as reason:
        return reason


def predict_all(recognizer: Recognizer, clips: Iterable[Decoded], workers: int, threshold: float) -> Iterator[Result]:
    """Predict clips as they are decoded, in order, in `workers` threads."""

    def predict(path: Path, stored: StoredClip | UnreadableClip) -> Result:
        if isinstance(stored, UnreadableClip):
            return path, stored, 0.0
        return path, predict_stored(recognizer, path, stored, threshold), stored.seconds

    with ThreadPoolExecutor(workers) as executor:
        pending: deque[Future[Result]] = deque()
        for path, stored in clips:
            pending.append(executor.submit(predict, path, stored))
            if len(pending) > workers:
                yield pending.popleft().result()
        yield from (future.result() for future in pending)


def print_results(recognizer: Recognizer, results: Iterable[Result], count: int, args: Namespace, out: IO[str]) -> int:
    """Print the predictions of `count` files in the requested format; returns how many files are unusable."""
    class_names, clip_seconds, unusable = recognizer.class_names, recognizer.config.clip_seconds, 0
    table = csv.writer(out, lineterminator="\n")
    if args.csv:
        columns = ["clip", "action", "known", "frames_to_stable", "frames"]
        table.writerow([*columns, *(f"p({name})" for name in class_names)])
    if count > 1 and not out.isatty():
        with contextlib.suppress(ImportError):  # a progress bar, if stderr is a terminal
            from tqdm import tqdm

            results = tqdm(results, desc="predict", total=count, unit="clip", disable=None)
    for path, prediction, seconds in results:
        if isinstance(prediction, UnreadableClip):
            print(f"{path}: {prediction}", file=sys.stderr)
            unusable += 1
            continue
        if seconds > LONG * clip_seconds > 0:
            lengths = f"is {seconds:.0f} s long, the training clips are {clip_seconds:.1f} s"
            print(f"{path}: {lengths}: `glimpse predict video` predicts segments", file=sys.stderr)
            clip_seconds = 0.0  # one hint is enough
        if args.csv:
            table.writerow(as_row(path, prediction, class_names))
        elif args.json:
            print(json.dumps({"clip": str(path), **vars(prediction)}, ensure_ascii=False), file=out, flush=True)
        else:
            print(as_text(path, prediction, args.top), file=out, flush=True)
    return unusable


def as_text(path: Path, prediction: Prediction, top: int) -> str:
    """One line for people, with the `top` most likely actions."""
    ranked = list(prediction.probabilities.items())[:top]
    actions = ", ".join(f"{action} {probability:.1%}" for action, probability in ranked)
    actions = actions if prediction.known else f"unknown (most likely: {actions})"
    return f"{path}: {actions}; stable after {prediction.frames_to_stable} of {prediction.frames} frames"


def as_row(path: Path, prediction: Prediction, class_names: list[str]) -> list[object]:
    """A prediction as a row of the CSV table."""
    known = "yes" if prediction.known else "unknown"
    probabilities = [f"{prediction.probabilities[name]:.6f}" for name in class_names]
    return [path, prediction.action, known, prediction.frames_to_stable, prediction.frames, *probabilities]
