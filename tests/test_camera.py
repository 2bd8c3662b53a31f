"""`glimpse predict camera`: the newest frame is predicted, however slow the model is; a video file plays the camera."""

import re
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from conftest import ROOT, grey_levels, write_clip
from fake_recognizers import FakeRecognizer, SlowRecognizer
from test_predict import run_predict

from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict import camera as live
from glimpse.predict.camera import Camera, FpsCounter
from glimpse.predict.stream import Stream


def test_a_slow_model_skips_frames_never_lags_and_is_right_at_the_end(trained):
    recognizer = SlowRecognizer(TorchRecognizer(trained / "models/all10/model.pt"), 0.3)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    camera, stream, ages, times = Camera(str(clip)), Stream(recognizer, recognizer.config.clip_seconds), [], []

    def show(newest, frame_rates):
        ages.append(camera.now - newest.time)
        times.append(newest.time)

    live.predict_frames(camera, stream, show)
    assert max(ages[:-1]) < recognizer.longest + 2 / 24 + 0.1, ages  # the last frame waits: none comes after it
    assert recognizer.steps <= 8 and max(np.diff(times)) > 4 / 24  # the clip has 2 s
    assert recognizer.class_names[stream.latest.probabilities.argmax()] == "wave"


def test_a_file_is_played_at_its_own_rate(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30), fps=30)
    stream, rates, start = Stream(FakeRecognizer(), 1.0), [], time.monotonic()
    live.predict_frames(Camera(str(clip)), stream, lambda newest, text: rates.append(text))
    assert 0.9 < time.monotonic() - start < 2
    assert 7 <= len(stream.recognizer.seen_views) <= 11  # the first one warms up; a busy machine may miss some
    assert 20 < float(re.match(r"camera (\d+), model \d+\.\d frames/s$", rates[-1])[1]) < 45
    assert "(_run)" not in str(threading.enumerate())


def test_without_a_screen_a_line_is_printed_every_second(trained, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    arguments = ["camera", clip, "--model", trained / "models/all10/model.pt", "--max-error", "0.3"]
    lines = run_predict(monkeypatch, capsys, *arguments).out.splitlines()
    assert len(lines) in (2, 3) and "wave" in lines[-2] and re.search(r"; camera \d\d, model", lines[-2])
    assert lines[-1].startswith("the camera gave no more frames; last: ") and "wave" in lines[-1]


def test_a_display_that_does_not_answer_is_no_screen(monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":97")
    assert live.has_screen() is False


def test_in_a_window_frames_are_drawn_until_q_is_pressed(tmp_path, monkeypatch, capsys):
    shown, keys = [], iter([-1, -1, ord("q")])
    for name, fake in {
        "namedWindow": lambda *_: None, "imshow": lambda _, frame: shown.append(frame), "waitKey": lambda _: next(keys),
        "getWindowProperty": lambda *_: 1.0, "destroyAllWindows": lambda: shown.append("closed"),
    }.items():  # fmt: skip
        monkeypatch.setattr(cv2, name, fake)
    monkeypatch.setattr(live, "has_screen", lambda: True)
    clip = write_clip(tmp_path / "clip.avi", grey_levels(60))
    live.show_camera(Camera(str(clip)), Stream(FakeRecognizer(), 2.0), 0.5)
    *frames, closed = shown
    assert len(frames) == 3 and frames[0].shape == (48, 64, 3) and closed == "closed"
    assert capsys.readouterr().out.startswith("ended; last: ")


def test_ctrl_c_ends_it_with_one_line(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(60))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "terminal_output", lambda *_: stop)
    monkeypatch.setattr(live, "has_screen", lambda: False)
    live.show_camera(Camera(str(clip)), Stream(FakeRecognizer(), 2.0), 0.5)
    assert capsys.readouterr().out == "stopped; last: no prediction yet\n"


def test_ctrl_c_is_a_normal_end_of_the_command(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    clip = write_clip(tmp_path / "clip.avi", grey_levels(1500))
    command = [sys.executable, ROOT / "tests/fake_recognizers.py", "predict", "camera", clip]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "frames/s" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "") and output.splitlines()[-1].startswith("stopped; last: ")


def test_no_camera_there_is_one_line(trained, monkeypatch, capfd):
    for source, words in (("98", "no such camera"), ("none.avi", "can't be read"), (10 * "9", "can't")):
        with pytest.raises(SystemExit, match=f"camera {source}: {words}"):
            run_predict(monkeypatch, capfd, "camera", source, "--model", trained / "models/all10/model.pt")
    assert capfd.readouterr() == ("", "")


def test_frame_rates_are_those_of_the_last_frames():
    fps = FpsCounter()
    assert float(fps) == 0
    fps._times.extend(number / 50 for number in range(100))
    assert float(fps) == pytest.approx(50)
