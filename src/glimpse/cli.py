"""Glimpse tells which action a short video clip shows, from a few of its frames.

`dvc repro` trains the models (see README.md); these commands use them. `glimpse COMMAND --help` says what a command
reads and writes.
"""

import argparse
import errno
import importlib
import os
import sys

from glimpse.core.stage import run_stage, stage_parser

# Each module has a docstring, add_arguments(parser) and run(args). Only that of the chosen command is imported.
COMMANDS = {
    "predict clips": ("glimpse.predict.clips", "the action in each clip, or in each clip of a folder"),
    "predict video": ("glimpse.predict.segments", "what happens when in long videos: segments with start and end"),
    "predict camera": ("glimpse.predict.camera", "the action that a camera sees, live"),
    "app": ("glimpse.app.serve", "a web page on this machine to try clips, read the report and review labels"),
    "export": ("glimpse.tools.export", "write the models as ONNX, to be run without torch"),
    "study": ("glimpse.tools.study", "measure what frame order, motion and the number of frames contribute"),
    "label-issues": ("glimpse.tools.label_issues", "list the clips whose label is probably wrong"),
    "compare": ("glimpse.tools.compare", "compare experiments, over their seeds and folds"),
    "ablate": ("glimpse.tools.ablate", "measure what each setting contributes"),
    "bench": ("glimpse.tools.bench", "measure the speed of decoding and of prediction"),
    "contact-sheet": ("glimpse.tools.contact_sheet", "draw test clips, their frames and predictions as a picture"),
}


def main() -> None:
    """The command `glimpse`."""
    run_stage(run_command, "glimpse")


def run_command() -> None:
    """Run the command in sys.argv; a closed pipe or a file that cannot be opened is no traceback."""
    try:
        try:
            args = build_parser(sys.argv[1:]).parse_args()
            args.run(args)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # nobody reads any more, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        raise SystemExit(f"{error.filename or 'glimpse'}: {error.strerror}") from None


def build_parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser of all commands, with the options of the one that the command-line `arguments` start with."""
    parser = stage_parser(__doc__)
    parser.prog = "glimpse"
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    description = "Predict actions with a trained model. `glimpse predict FORM --help` lists the options of a form."
    predict = commands.add_parser("predict", help="the action in clips, videos or of a camera", description=description)
    groups = {"": commands, "predict": predict.add_subparsers(title="forms", metavar="FORM", required=True)}
    for name, (module_name, summary) in COMMANDS.items():
        group, _, command = name.rpartition(" ")
        subparser = groups[group].add_parser(command, help=summary, formatter_class=parser.formatter_class)
        if arguments[: len(name.split())] == name.split():
            module = importlib.import_module(module_name)
            subparser.description = module.__doc__
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    main()
