"""Command-line options that `glimpse predict clips`, `video` and `camera` share, and types of their values."""

import argparse
import contextlib
import math
import os
from collections.abc import Iterable
from pathlib import Path

DEFAULT_MODEL = "models/all10/model.pt"


def fraction(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a number between 0 and 1")


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """A duration in seconds above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0")


def mp4_file(text: str) -> str:
    """The name of an MPEG-4 file."""
    if not text.endswith(".mp4"):
        raise argparse.ArgumentTypeError(f"{text}: overlays are written as MPEG-4: expected a name that ends in .mp4")
    return text


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model predicts, and which share of its answers may be wrong."""
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="FILE", help="the trained model (%(default)s)")
    parser.add_argument("--onnx", action="store_true", help="use the exported model.onnx beside it, without torch")
    parser.add_argument(
        "--max-error", type=fraction, default=0.1, metavar="X",
        help='accepted share of wrong answers; less confident predictions are "unknown" (%(default)s)',
    )  # fmt: skip


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Format and destination of what is printed, and the overlay."""
    output_format = parser.add_mutually_exclusive_group()
    output_format.add_argument("--csv", action="store_true", help="print a CSV table")
    output_format.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--out", metavar="FILE", help="write to this file, atomically, instead of printing")
    parser.add_argument(
        "--overlay", type=mp4_file, metavar="OUT.mp4", help="also write the video with the predictions drawn into it"
    )


def add_window_option(parser: argparse.ArgumentParser) -> None:
    """Length of the sliding window."""
    parser.add_argument(
        "--window", type=seconds, metavar="S", help="length of a sliding window in seconds (that of the training clips)"
    )


def model_path(args: argparse.Namespace) -> str:
    """The model's file: `--model`, or with `--onnx` the .onnx file beside it."""
    return str(Path(args.model).with_suffix(".onnx")) if args.onnx else args.model


def window_seconds(args: argparse.Namespace, clip_seconds: float) -> float:
    """`--window`, or else the length of the training clips; exits if the model does not record that length."""
    if not (args.window or clip_seconds):
        raise SystemExit(f"{model_path(args)}: does not record the length of its training clips: add --window SECONDS")
    return args.window or clip_seconds


def check_outputs(args: argparse.Namespace, paths: Iterable[Path]) -> None:
    """Exit if an output would replace an input, or if an overlay is requested for more than one video."""
    paths = list(paths)
    if args.overlay and len(paths) > 1:
        raise SystemExit(f"--overlay {args.overlay}: takes one clip, and {len(paths)} were given")
    for option, output in (("overlay", args.overlay), ("out", args.out)):
        if output and any(os.path.exists(output) and path.exists() and path.samefile(output) for path in paths):
            raise SystemExit(f"--{option} {output}: is one of the clips and would replace it: give another name")
