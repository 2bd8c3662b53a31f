"""The latency benchmark measures any trained model, each step and all of them, and says when there is none."""

import re
import sys

import latency
import numpy as np
import pytest


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["latency.py", *map(str, arguments)])
    monkeypatch.setattr(latency, "SECONDS", 2)
    monkeypatch.setattr(latency, "one_core", lambda: None)  # it would hold for the tests that follow
    latency.main()
    return capsys.readouterr().out


def test_steps_add_up_and_are_measured_for_each_model(trained, monkeypatch, capsys):
    models = [trained / f"models/{approach}/model.pt" for approach in ("first5", "all10")]
    printed = run(monkeypatch, capsys, *models, "--rounds", 1)
    rows = re.findall(r"^  (\S.*?) +([\d.]+) ms  \(.*n = 1\)", printed, re.MULTILINE)
    assert len(rows) == 2 * (7 + 3) and all(float(value) > 0 for _, value in rows)
    assert printed.count("from a file to an answer") == printed.count("a stream with windows of 2 s") == 2
    first = {name: float(value) for name, value in rows[:7]}
    steps = [first[name] for name in ("decode and scale", "store as JPEGs", "look", "model")]
    assert np.sum(steps) == pytest.approx(first["file to answer"], abs=0.3)


def test_the_clip_is_as_long_and_large_as_it_is_said_to_be(tmp_path):
    latency.write_clip(tmp_path / "clip.mp4")
    clip = latency.video.read_clip(tmp_path / "clip.mp4", 20, 100)
    assert (clip.frames, clip.fps, clip.width, clip.height) == (250, 25, 320, 240)


def test_without_a_model_it_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="models/all10/model.pt: .*run `dvc repro`"):
        run(monkeypatch, capsys)
