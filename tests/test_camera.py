"""Live: the newest frame is the one that is answered, however slow the model is; a recorded file plays the camera."""

import re
import threading
import time

import cv2
import numpy as np
import pytest
from conftest import grey_levels, write_clip
from fake_recognizers import Blank, Slow
from test_predict import run_predict

from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict import live
from glimpse.predict.camera import Camera, FpsCounter
from glimpse.predict.stream import Stream


def test_a_slow_model_skips_frames_never_lags_and_is_right_at_the_end(trained):
    recognizer = Slow(TorchRecognizer(trained / "models/all10/model.pt"), 0.3)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    camera, stream, ages, came = Camera(str(clip)), Stream(recognizer, recognizer.config.clip_seconds), [], []

    def show(newest, rates):
        ages.append(camera.now - newest.time)
        came.append(newest.time)

    live.watch(camera, stream, show)
    assert max(ages[:-1]) < recognizer.longest + 2 / 24 + 0.1, ages  # no frame comes after the last, which waits
    assert recognizer.steps <= 8 and max(np.diff(came)) > 4 / 24  # the clip lasts 2 s
    assert recognizer.class_names[stream.now.probabilities.argmax()] == "wave"


def test_a_file_is_played_at_its_own_rate(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30), fps=30)
    stream, rates, began = Stream(Blank(), 1.0), [], time.monotonic()
    live.watch(Camera(str(clip)), stream, lambda newest, words: rates.append(words))
    assert 0.9 < time.monotonic() - began < 2
    assert 7 <= len(stream.recognizer.looks) <= 11  # the first one warms up; a busy machine may miss some
    assert 20 < float(re.match(r"camera (\d+), model \d+\.\d frames/s$", rates[-1])[1]) < 45
    assert "(_run)" not in str(threading.enumerate())


def test_without_a_screen_it_is_said_in_words_once_a_second(trained, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    lines = run_predict(
        monkeypatch, capsys, "--camera", clip, "--model", trained / "models/all10/model.pt", "--error", "0.3"
    ).out.splitlines()
    assert len(lines) in (2, 3) and "wave" in lines[-2] and re.search(r"; camera \d\d, model", lines[-2])
    assert lines[-1].startswith("the camera gave no more frames; last: ") and "wave" in lines[-1]


def test_a_display_that_does_not_answer_is_no_screen(monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":97")
    assert live.screen() is False


def test_in_a_window_frames_are_drawn_until_q_is_pressed(tmp_path, monkeypatch, capsys):
    shown, keys = [], iter([-1, -1, ord("q")])
    for name, stand_in in {
        "namedWindow": lambda *_: None, "imshow": lambda _, frame: shown.append(frame), "waitKey": lambda _: next(keys),
        "getWindowProperty": lambda *_: 1.0, "destroyAllWindows": lambda: shown.append("closed"),
    }.items():  # fmt: skip
        monkeypatch.setattr(cv2, name, stand_in)
    monkeypatch.setattr(live, "screen", lambda: True)
    clip = write_clip(tmp_path / "clip.avi", grey_levels(60))
    live.run(Camera(str(clip)), Stream(Blank(), 2.0), 0.5)
    *frames, closed = shown
    assert len(frames) == 3 and frames[0].shape == (48, 64, 3) and closed == "closed"
    assert capsys.readouterr().out.startswith("ended; last: ")


def test_ctrl_c_ends_it_with_a_line(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(60))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "in_terminal", lambda *_: stop)
    monkeypatch.setattr(live, "screen", lambda: False)
    live.run(Camera(str(clip)), Stream(Blank(), 2.0), 0.5)
    assert capsys.readouterr().out == "stopped; last: nothing read yet\n"


def test_no_camera_there_is_one_line(trained, monkeypatch, capfd):
    for source, words in (("98", "no camera there"), ("none.avi", "can't be read"), (10 * "9", "can't")):
        with pytest.raises(SystemExit, match=f"camera {source}: {words}"):
            run_predict(monkeypatch, capfd, "--camera", source, "--model", trained / "models/all10/model.pt")
    assert capfd.readouterr() == ("", "")


def test_rates_are_of_late():
    rate = FpsCounter()
    assert float(rate) == 0
    rate._times.extend(number / 50 for number in range(100))
    assert float(rate) == pytest.approx(50)
