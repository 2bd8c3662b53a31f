"""Work side by side: results in order, and no process that outlives a failure or Ctrl-C."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from glimpse.core.workers import side_by_side

WAITING = """
from glimpse.core import workers
import time

if __name__ == "__main__":
    with workers.side_by_side(time.sleep, [0] + 20 * [600], workers=2) as done:
        for _ in done:
            print("working", flush=True)
"""


def test_results_come_in_order_and_a_failure_ends_the_processes():
    began = time.monotonic()
    with pytest.raises(ValueError, match="math domain error"), side_by_side(math.sqrt, [4, 9, -1], workers=2) as done:
        assert next(done) == 2 and next(done) == 3
        next(done)
    with pytest.raises(ZeroDivisionError), side_by_side(time.sleep, [600, 600, 600], workers=2):
        raise ZeroDivisionError
    assert time.monotonic() - began < 30 and not multiprocessing.active_children()


def test_the_processes_never_hear_of_ctrl_c_and_the_program_does():
    with side_by_side(signal.pthread_sigmask, [signal.SIG_BLOCK], [[]], workers=1) as done:
        assert signal.SIGINT in next(done)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("all_of_them", [True, False])
def test_ctrl_c_ends_all_of_them_and_is_one_line(tmp_path, all_of_them):
    """Sent to every process, as a terminal does, or to the first alone."""
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_STAGE": "metrics/dvc.yaml:study"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script], env=environment, start_new_session=True, **streams) as process:
        try:
            assert process.stdout.readline() == "working\n"
            (os.killpg if all_of_them else os.kill)(process.pid, signal.SIGINT)
            printed = process.communicate(timeout=30)  # ends when the last process lets go of the streams
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == -signal.SIGINT
    assert printed == ("", "study: stopped; started again, it goes on from what is done\n")
