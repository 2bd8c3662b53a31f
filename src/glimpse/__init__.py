"""Glimpse: which action a short clip shows, from a few of its frames, and how far to believe it."""

import os
import sys
from pathlib import Path
from types import TracebackType

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is imported


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What an exception that nobody caught prints: one line for Ctrl-C, for any other its traceback."""
    if issubclass(kind, KeyboardInterrupt):
        stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
        goes_on = "; started again, it goes on from what is done" if stage else ""
        print(f"{stage or Path(sys.argv[0]).stem}: stopped{goes_on}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = tell  # the scripts import from here first of all, so that it holds while they load libraries, too
