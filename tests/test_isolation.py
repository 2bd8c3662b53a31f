"""What goes wrong in another process costs one item, and the program that asked goes on."""

import itertools
import os
import subprocess
import sys

import bad_decoders
import pytest
from test_evaluate import run_predict

import predict
from glimpse.core import isolation

REASONS = {
    "segfault": "the decoder crashed", "exits": "the decoder crashed", "hangs": "not decoded within 2 s",
    "hogs": "decoding it takes too much memory",
}  # fmt: skip


def in_words(reason):
    return f"lost: {reason}"


def test_a_process_that_goes_wrong_costs_its_item_alone(capfd):
    asked = ["a", "segfault 1", "b", "exits", "segfault 2", "hangs", "talks", "hogs", "c"]
    with isolation.processes(2, limit=2, room=4 * 2**30) as each:
        answers = list(each(decoders.misbehave, asked, in_words, 100))
    wanted = [in_words(REASONS[one.split()[0]]) if one.split()[0] in REASONS else True for one in asked]
    assert answers == wanted
    assert capfd.readouterr() == ("", "")


def test_order_is_kept_and_no_more_is_done_than_may_wait():
    begun = itertools.count()
    with isolation.processes(2) as each:
        answers = each(decoders.slow_at_first, begun, in_words, 5)
        assert next(answers) == 0
        assert next(begun) == 7  # the first, five ahead of it, and one at hand
        assert [next(answers) for _ in range(20)] == [*range(1, 7), *range(8, 22)]


def test_an_error_of_ours_in_another_process_is_no_fault_of_the_item():
    with isolation.processes(1) as each, pytest.raises(RuntimeError, match="KeyError: 'bug'"):
        list(each(decoders.misbehave, ["bug"], in_words, 1))


def test_processes_end_with_the_block_whatever_they_do():
    with pytest.raises(KeyboardInterrupt), isolation.processes(2) as each:
        pids = set(each(decoders.pid, range(50), in_words, 9))
        next(each(decoders.misbehave, ["a", "hangs", "hangs"], in_words, 9))
        raise KeyboardInterrupt
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_predict_loses_the_clip_that_crashes_and_no_other(trained, tmp_path, monkeypatch, capsys):
    clips = sorted((trained / "data/demo/wave").iterdir())
    for name, clip in zip(["1.avi", "2 segfault.avi", "3.avi"], clips):
        (tmp_path / name).symlink_to(clip)
    monkeypatch.setattr(predict, "decode", decoders.decode_clip)
    with pytest.raises(SystemExit, match="1 of 3 files could not be used"):
        run_predict(monkeypatch, capsys, tmp_path, "--model", trained / "models/all10/model.pt")
    printed = capsys.readouterr()
    assert [line.partition(":")[0] for line in printed.out.splitlines()] == [f"{tmp_path}/{n}.avi" for n in (1, 3)]
    assert printed.err == f"{tmp_path}/2 segfault.avi: the decoder crashed\n"


def test_the_process_that_decodes_needs_no_torch():
    """It starts while the program imports torch: with torch it would come later, and take its memory twice."""
    code = "import predict, sys; print('torch' in sys.modules)"
    src = os.path.dirname(predict.__file__)
    done = subprocess.run([sys.executable, "-c", code], cwd=src, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
