"""Command-line options that `glimpse predict clips`, `video` and `camera` share, and types of their values."""

import argparse
import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

from glimpse.frames.find_clips import is_clip_file


def number_type(convert: type[float], is_valid: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """The `type` of an option whose value is a number that `is_valid` accepts; `expected`: for the message."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if is_valid(number := convert(text)):
                return number
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")

    return parse


fraction = number_type(float, lambda number: 0 < number < 1, "a number between 0 and 1")
positive_int = number_type(int, lambda number: number >= 1, "a whole number of at least 1")
seconds = number_type(float, lambda number: 0 < number < math.inf, "a number of seconds above 0")


def mp4_file(text: str) -> str:
    """The `type` of an option whose value is the name of an MPEG-4 file."""
    if not text.endswith(".mp4"):
        raise argparse.ArgumentTypeError(f"{text}: overlays are written as MPEG-4: expected a name that ends in .mp4")
    return text


def add_max_error(parser: argparse.ArgumentParser) -> None:
    """Add the option --max-error."""
    text = 'accepted share of wrong answers; less confident predictions are "unknown" (%(default)s)'
    parser.add_argument("--max-error", type=fraction, default=0.1, metavar="X", help=text)


def add_model_options(parser: argparse.ArgumentParser, window: bool = True) -> None:
    """Add the options that choose the model and its threshold and, with `window`, the length of a sliding window."""
    path = "models/all10/model.pt"
    parser.add_argument("--model", default=path, metavar="FILE", help="the trained model (%(default)s)")
    parser.add_argument("--onnx", action="store_true", help="use the exported model.onnx beside it, without torch")
    add_max_error(parser)
    if window:
        text = "length of a sliding window in seconds (that of the training clips)"
        parser.add_argument("--window", type=seconds, metavar="S", help=text)


def add_file_options(parser: argparse.ArgumentParser, metavar: str) -> None:
    """Add the files to read, and format and destination of what is printed."""
    parser.add_argument("paths", nargs="+", metavar=f"{metavar}|FOLDER")
    output_format = parser.add_mutually_exclusive_group()
    output_format.add_argument("--csv", action="store_true", help="print a CSV table")
    output_format.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--out", metavar="FILE", help="write to this file, atomically, instead of printing")
    text = "also write the video with the predictions drawn into it"
    parser.add_argument("--overlay", type=mp4_file, metavar="OUT.mp4", help=text)


def model_path(args: argparse.Namespace) -> str:
    """The model's file: `--model`, or with `--onnx` the .onnx file beside it."""
    return str(Path(args.model).with_suffix(".onnx")) if args.onnx else args.model


def window_seconds(args: argparse.Namespace, clip_seconds: float) -> float:
    """`--window`, or else the length of the training clips; exits if the model does not record that length."""
    if not (args.window or clip_seconds):
        raise SystemExit(f"{model_path(args)}: does not record the length of its training clips: add --window SECONDS")
    return args.window or clip_seconds


def input_files(args: argparse.Namespace, kind: str) -> list[Path]:
    """The given files, and the clips in the given folders, sorted in each folder.

    Exits if there are none, if an output would replace one, or if an overlay is requested for several.
    """
    paths: list[Path] = []
    for path in map(Path, args.paths):
        paths += sorted(filter(is_clip_file, path.rglob("*"))) if path.is_dir() else [path]
    if not paths:
        raise SystemExit(f"{', '.join(args.paths)}: contains no {kind}")
    if args.overlay and len(paths) > 1:
        raise SystemExit(f"--overlay {args.overlay}: takes one clip, and {len(paths)} were given")
    for option, output in (("overlay", args.overlay), ("out", args.out)):
        if output and any(os.path.exists(output) and path.exists() and path.samefile(output) for path in paths):
            raise SystemExit(f"--{option} {output}: is one of the clips and would replace it: give another name")
    return paths
