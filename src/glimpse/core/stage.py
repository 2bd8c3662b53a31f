"""What every stage script does around its `main`: --help, Ctrl-C, error messages, and care for params.yaml under DVC.

def main() -> None:
    stage_parser(__doc__).parse_args()
    import torch  # heavy modules here, so that --help is quick and Ctrl-C is one line while they load
if __name__ == "__main__":
    run_stage(main)
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

PARAMS = "params.yaml"


def stage_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose --help prints the script's docstring as it stands."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_stage(main: Callable[[], None], name: str = "") -> None:
    """Call `main` and turn how it ends into messages and an exit status, which DVC trusts: not 0 unless `main` returned
    without a Ctrl-C, even one that a library swallowed. A Ctrl-C ends the process by SIGINT, so that shell loops stop.

    `name` begins the line that a Ctrl-C prints: the stage or the script if not given.
    """
    interrupted = False
    failure: BaseException | None = None
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    name = name or stage or os.path.basename(sys.argv[0]).removesuffix(".py")
    message = f"{name}: stopped" + ("; started again, it goes on from what is done" if stage else "")

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        while frame:
            if frame.f_code.co_filename.startswith("<frozen importlib"):  # libraries swallow exceptions as they load
                print(message, file=sys.stderr, flush=True)
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            frame = frame.f_back
        raise KeyboardInterrupt

    def unraisable(problem: "sys.UnraisableHookArgs") -> None:
        if not issubclass(problem.exc_type, KeyboardInterrupt):
            return sys.__unraisablehook__(problem)
        # raised in a destructor or a callback, where nothing can catch it: once more, in a moment
        threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()

    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a job in the background ignores it
    if handled:
        sys.unraisablehook = unraisable
        signal.signal(signal.SIGINT, interrupt)
    try:
        if stage:
            let_git_notice()
        main()
    except BaseException as error:
        failure = error
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if interrupted or isinstance(failure, KeyboardInterrupt):
        print(message, file=sys.stderr)
        sys.excepthook = lambda *_: None  # the message instead of a traceback
        raise KeyboardInterrupt
    if failure is None:
        return
    if isinstance(failure, SystemExit) and not isinstance(failure.code, str):
        raise failure
    if isinstance(failure, SystemExit):
        print(failure.code, file=sys.stderr)
    else:
        traceback.print_exception(failure)
    if stage and (names := changed_settings()):
        print(f"{PARAMS} differs from the last commit: {names}; to undo: git restore {PARAMS}", file=sys.stderr)
    raise SystemExit(1)


@contextlib.contextmanager
def catchable_ctrl_c() -> Iterator[None]:
    """A block in which Ctrl-C raises KeyboardInterrupt and may be caught, for commands that it ends normally."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # a job in the background ignores it
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def let_git_notice() -> None:
    """Move the modification time of params.yaml one second ahead. `dvc exp run -S` writes the file in place: with the
    size and second of Git's index entry, Git would see no change, and `git restore` would restore nothing.
    """
    with contextlib.suppress(OSError):  # no such file, or not ours: the settings' reader says what is wrong
        status = os.stat(PARAMS)
        os.utime(PARAMS, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def changed_settings() -> str:
    """The names of the settings that differ from the last commit's; "" if none does, or Git or YAML can't say."""
    if f"{os.sep}.dvc{os.sep}tmp{os.sep}" in os.getcwd():
        return ""  # a copy that `dvc exp run --temp` or `--queue` made: nothing is to be undone there
    try:
        import yaml

        command = ["git", "show", f"HEAD:./{PARAMS}"]
        committed = subprocess.run(command, capture_output=True, timeout=5, check=True).stdout
        with open(PARAMS, "rb") as file:
            before, now = flat(yaml.safe_load(committed)), flat(yaml.safe_load(file))
    except Exception:  # this line is a help: it must not fail in place of the stage
        return ""
    return ", ".join(name for name in {**before, **now} if repr(before.get(name)) != repr(now.get(name)))


def flat(tree: dict, prefix: str = "") -> dict[str, object]:
    """{"train.lr": 0.002} of nested settings."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves
