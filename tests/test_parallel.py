"""Process pools: results come in order, an item that fails costs no other, and no process outlives the program."""

import itertools
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import bad_decoders
import psutil
import pytest
from conftest import ROOT
from test_predict import run_predict

from glimpse.core.parallel import ProcessPool, parallel_map
from glimpse.predict import clips

REASONS = {
    "segfault": "the decoder crashed", "exits": "the decoder crashed", "killed": "the decoder crashed",
    "hangs": "not decoded within 2 s", "hogs": "decoding it takes too much memory",
}  # fmt: skip

HANGING = """
import time
from glimpse.core.parallel import parallel_map
from glimpse.core.stage import run_stage

def main():
    with parallel_map(time.sleep, [0] + 20 * [600], workers=2) as results:
        for _ in results:
            print("working", flush=True)

if __name__ == "__main__":
    run_stage(main)
"""


def failed(reason):
    return f"failed: {reason}"


def test_an_item_that_fails_costs_no_other_item(capfd):
    items = ["a", "segfault 1", "b", "exits", "segfault 2", "hangs", "talks", "killed", "hogs", "c"]
    with ProcessPool(2, time_limit=2, memory_limit=4 * 2**30) as pool:
        results = list(pool.map(bad_decoders.misbehave, items, failed, 100))
    kinds = [item.split()[0] for item in items]
    assert results == [failed(REASONS[kind]) if kind in REASONS else True for kind in kinds]
    assert capfd.readouterr() == ("", "")


def test_a_crash_is_noticed_at_once_whatever_its_exit_code():
    with ProcessPool(1, time_limit=60) as pool:
        began = time.monotonic()
        assert list(pool.map(bad_decoders.misbehave, ["exits"] * 5, failed, 1)) == [failed("the decoder crashed")] * 5
    assert time.monotonic() - began < 30


def test_results_come_in_order_and_no_more_items_are_done_than_may_wait():
    numbers = itertools.count()
    with ProcessPool(2) as pool:
        results = pool.map(bad_decoders.slow_at_first, numbers, failed, 5)
        assert next(results) == 0
        assert next(numbers) == 7  # the first, five ahead of it, and one at hand
        assert [next(results) for _ in range(20)] == [*range(1, 7), *range(8, 22)]


def test_a_bug_in_the_function_is_raised_with_its_traceback():
    with ProcessPool(1) as pool:
        with pytest.raises(KeyError, match="bug") as caught:
            list(pool.map(bad_decoders.misbehave, ["bug"], failed, 1))
        assert "bad_decoders.py" in caught.value.__notes__[0]
        with pytest.raises(RuntimeError, match="TwoArguments: two"):  # cannot be unpickled
            list(pool.map(bad_decoders.misbehave, ["two arguments"], failed, 1))
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            list(pool.map(bad_decoders.misbehave, ["returns lambda"], failed, 1))
        with pytest.raises(SystemExit, match="the disk is full"):
            list(pool.map(sys.exit, ["the disk is full"], failed, 1))
        assert list(pool.map(bad_decoders.misbehave, ["a"], failed, 1)) == [True]


def test_a_map_that_is_not_read_to_its_end_leaves_nothing_to_the_next():
    with ProcessPool(2, time_limit=60) as pool:
        assert next(pool.map(bad_decoders.misbehave, ["a", "hangs", "hangs"], failed, 9)) is True
        assert list(pool.map(abs, [-1, -2, -3], failed, 9)) == [1, 2, 3]


def test_an_idle_worker_that_is_killed_does_not_end_the_pool():
    with ProcessPool(1) as pool:
        (pid,) = pool.map(bad_decoders.pid, [0], failed, 1)
        os.kill(pid, signal.SIGKILL)
        first, second = pool.map(bad_decoders.pid, [0, 0], failed, 1)
    assert first == failed("the decoder crashed") and isinstance(second, int)


def test_workers_end_with_the_block_even_if_they_hang():
    with pytest.raises(KeyboardInterrupt), ProcessPool(2) as pool:
        pids = set(pool.map(bad_decoders.pid, range(50), failed, 9))
        next(pool.map(bad_decoders.misbehave, ["a", "hangs", "hangs"], failed, 9))
        raise KeyboardInterrupt
    assert pids and not any(map(psutil.pid_exists, pids))


def test_results_come_in_order_and_a_failure_ends_the_workers():
    began = time.monotonic()
    with (
        pytest.raises(ValueError, match="math domain error"),
        parallel_map(math.sqrt, [4, 9, -1], workers=2) as results,
    ):
        assert next(results) == 2 and next(results) == 3
        next(results)
    with pytest.raises(ZeroDivisionError), parallel_map(time.sleep, [600, 600, 600], workers=2):
        raise ZeroDivisionError
    with pytest.raises(SystemExit, match="crashed"), parallel_map(os._exit, [0], workers=2) as results:
        next(results)
    with parallel_map(abs, iter([-2, -3])) as results:
        assert list(results) == [2, 3]
    assert time.monotonic() - began < 30 and not multiprocessing.active_children()


def test_workers_use_one_thread_and_never_receive_ctrl_c():
    with ProcessPool(1) as pool:
        assert list(pool.map(bad_decoders.opencv_threads, [0], failed, 1)) == [1]
    with parallel_map(bad_decoders.blocked_signals, [0], workers=1) as results:
        assert signal.SIGINT in next(results)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def start_hanging(tmp_path):
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_STAGE": "data/dvc.yaml:demo"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, script], env=environment, start_new_session=True, **streams)


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_all_processes_and_is_one_line(tmp_path, whole_group):
    """Sent to every process, as a terminal does, or to the first alone."""
    with start_hanging(tmp_path) as process:
        try:
            assert process.stdout.readline() == "working\n"
            began = time.monotonic()
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
            output = process.communicate(timeout=30)  # ends when the last process lets go of the streams
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == -signal.SIGINT and time.monotonic() - began < 5
    assert output == ("", "demo: stopped; started again, it continues from what is done\n")


def test_workers_that_hang_end_when_their_parent_is_killed(tmp_path):
    with start_hanging(tmp_path) as process:
        assert process.stdout.readline() == "working\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        try:
            process.communicate(timeout=30)
            assert len(workers) > 1 and not psutil.wait_procs(workers, 10)[1]
        finally:
            for worker in workers:
                if worker.is_running():
                    worker.kill()


def test_predict_loses_only_the_clip_whose_decoder_crashes(trained, tmp_path, monkeypatch, capsys):
    originals = sorted((trained / "data/demo/wave").iterdir())
    for name, original in zip(["1.avi", "2 segfault.avi", "3.avi"], originals):
        (tmp_path / name).symlink_to(original)
    monkeypatch.setattr(clips, "decode_or_reason", bad_decoders.decode_clip)
    with pytest.raises(SystemExit, match="1 of 3 files could not be used"):
        run_predict(monkeypatch, capsys, "clips", tmp_path, "--model", trained / "models/all10/model.pt")
    printed = capsys.readouterr()
    assert [line.partition(":")[0] for line in printed.out.splitlines()] == [f"{tmp_path}/{n}.avi" for n in (1, 3)]
    assert printed.err == f"{tmp_path}/2 segfault.avi: the decoder crashed\n"


def test_the_process_that_decodes_needs_no_torch():
    """It starts while the program imports torch: with torch it would come later, and take its memory twice."""
    code = "import glimpse.predict.clips, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
