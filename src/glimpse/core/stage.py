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
from collections.abc import Callable
from types import FrameType

PARAMS = "params.yaml"


def stage_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose --help prints the script's docstring as it is."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_stage(main: Callable[[], None], name: str = "") -> None:
    """Call `main`; print one line for Ctrl-C and for an error, and exit as DVC needs it.

    The exit status is 0 only if `main` returned and there was no Ctrl-C, not even one that a library swallowed. Ctrl-C
    ends the process by SIGINT, so that loops in a shell end, too. name: for the message, if it is no stage.
    """
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    name = name or stage or os.path.basename(sys.argv[0]).removesuffix(".py")
    interrupted, report = False, ""

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        if any(caller.f_code.co_filename.startswith("<frozen importlib") for caller, _ in traceback.walk_stack(frame)):
            # libraries may swallow the exception while they load: in that case, end the process in a moment
            signal.signal(number, lambda *_: stop())
            timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
        raise KeyboardInterrupt

    def stop() -> None:
        resumes = "; started again, it continues from what is done" if stage else ""
        sys.stdout.flush()
        print(f"{name}: stopped{resumes}", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background ignores it
        signal.signal(signal.SIGINT, interrupt)
    try:
        if stage:
            let_git_notice()
        main()
    except KeyboardInterrupt:
        interrupted = True
    except SystemExit as end:
        if not isinstance(end.code, str) and not interrupted:
            raise
        report = f"{end.code}\n"
    except BaseException:
        report = traceback.format_exc()
    if interrupted:
        stop()
    if report:
        print(report, end="", file=sys.stderr)
        if stage and (settings := changed_settings()):
            print(f"{PARAMS} differs from the last commit: {settings}; to undo: git restore {PARAMS}", file=sys.stderr)
        raise SystemExit(1)


def allow_ctrl_c() -> None:
    """From here on Ctrl-C raises a KeyboardInterrupt that may be caught: for commands that it ends normally."""
    if callable(signal.getsignal(signal.SIGINT)):  # not ignored, as in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def let_git_notice() -> None:
    """Move the modification time of params.yaml one second ahead.

    `dvc exp run -S` writes the file in place: with the size and the second of Git's index entry, Git would see no
    change, and `git restore` would restore nothing.
    """
    with contextlib.suppress(OSError):  # no such file, or not ours: reading the settings says what is wrong
        status = os.stat(PARAMS)
        os.utime(PARAMS, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def changed_settings() -> str:
    """Names of the settings that differ from the last commit; "" if none does, or Git or YAML cannot tell."""
    if f"{os.sep}.dvc{os.sep}tmp{os.sep}" in os.getcwd():
        return ""  # a copy made by `dvc exp run --temp` or `--queue`: there is nothing to undo
    try:
        import yaml

        from glimpse.core.params_file import flatten

        command = ["git", "show", f"HEAD:./{PARAMS}"]
        committed = subprocess.run(command, capture_output=True, timeout=5, check=True).stdout
        with open(PARAMS, "rb") as file:
            before, now = flatten(yaml.safe_load(committed)), flatten(yaml.safe_load(file))
    except Exception:  # this line only helps: it must not hide the stage's own error
        return ""
    return ", ".join(key for key in {**before, **now} if repr(before.get(key)) != repr(now.get(key)))
