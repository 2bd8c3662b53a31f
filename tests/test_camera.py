"""Live: the newest frame is the one that is answered, however slow the model is; a recorded file plays the camera."""

import threading
import time

import numpy as np
import pytest
from conftest import grey_levels, write_clip
from test_evaluate import run_predict
from watchers import Blank, Slow

from glimpse import live
from glimpse.camera import Camera, Rate
from glimpse.inference import TorchRecognizer
from glimpse.stream import Stream


def test_a_slow_model_skips_frames_never_lags_and_is_right_at_the_end(trained):
    recognizer = Slow(TorchRecognizer(trained / "models/all10/model.pt"), 0.3)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    camera, stream, ages, came = Camera(str(clip)), Stream(recognizer, recognizer.kept["seconds"]), [], []

    def show(newest, rates):
        ages.append(camera.now - newest.time)
        came.append(newest.time)

    live.watch(camera, stream, show)
    assert max(ages[:-1]) < recognizer.longest + 2 / 24 + 0.05, ages  # no frame comes after the last, which waits
    assert recognizer.steps <= 8 and max(np.diff(came)) > 4 / 24  # the clip lasts 2 s
    assert recognizer.actions[stream.now.probabilities.argmax()] == "wave"


def test_a_file_is_played_at_its_own_rate(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30), fps=30)
    stream, rates, began = Stream(Blank(), 1.0), [], time.monotonic()
    live.watch(Camera(str(clip)), stream, lambda newest, words: rates.append(words))
    assert 0.9 < time.monotonic() - began < 2
    assert stream.now.frames >= 9 and len(stream.recognizer.looks) in (10, 11)  # the first one warms up
    assert "camera 3" in rates[-1] or "camera 2" in rates[-1]
    assert not [thread for thread in threading.enumerate() if "Camera" in repr(thread)]


def test_without_a_screen_it_is_said_in_words_once_a_second(trained, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    lines = run_predict(
        monkeypatch, capsys, "--camera", clip, "--model", trained / "models/all10/model.pt", "--error", "0.3"
    ).out.splitlines()
    assert len(lines) in (2, 3) and "wave" in lines[-2] and "camera 2" in lines[-2] and "model" in lines[-2]
    assert lines[-1].startswith("the camera gave no more frames; last: ") and "wave" in lines[-1]


def test_ctrl_c_ends_it_with_a_line(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(60))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "in_terminal", lambda *_: stop)
    monkeypatch.setattr(live, "screen", lambda: False)
    live.run(Camera(str(clip)), Stream(Blank(), 2.0), 0.5)
    assert capsys.readouterr().out == "stopped; last: nothing read yet\n"


def test_no_camera_there_is_one_line(trained, monkeypatch, capfd):
    for source, words in (("98", "no camera there"), ("none.avi", "can't be read")):
        with pytest.raises(SystemExit, match=f"camera {source}: {words}"):
            run_predict(monkeypatch, capfd, "--camera", source, "--model", trained / "models/all10/model.pt")
    assert capfd.readouterr() == ("", "")


def test_rates_are_of_late():
    rate = Rate()
    assert float(rate) == 0
    rate._times.extend(number / 50 for number in range(100))
    assert float(rate) == pytest.approx(50)
