"""The latency benchmark measures each trained model, in steps that add up, and says when there is none."""

import re

import numpy as np
import pytest
from conftest import run_tool

from glimpse.frames.decoder import read_clip
from glimpse.tools import bench
from glimpse.tools.benchmarks import latency


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(latency, "SECONDS", 2)
    monkeypatch.setattr(latency, "use_one_core", lambda: None)  # it would hold for the tests that follow
    run_tool(bench, ".", "--quick", "--only", "latency", *arguments)
    return capsys.readouterr().out


def test_steps_add_up_and_are_measured_for_each_model(trained, monkeypatch, capsys):
    models = [trained / f"models/{approach}/model.pt" for approach in ("first5", "all10")]
    printed = run(monkeypatch, capsys, "--model", models[0], "--model", models[1])
    rows = re.findall(r"^  (\S.*?) +([\d.]+) ms  \(.*n = 1\)", printed, re.MULTILINE)
    assert len(rows) == 2 * (7 + 3) and all(float(value) > 0 for _, value in rows)
    assert printed.count("from a file to a prediction") == printed.count("a stream with windows of 2 s") == 2
    first = {name: float(value) for name, value in rows[:7]}
    steps = [first[name] for name in ("decode and scale", "store as JPEGs", "compute views", "model")]
    assert np.sum(steps) == pytest.approx(first["file to prediction"], abs=0.3)


def test_the_clip_has_the_printed_length_and_size(tmp_path):
    latency.write_clip(tmp_path / "clip.mp4")
    clip = read_clip(tmp_path / "clip.mp4", 20, 100)
    assert (clip.frames, clip.fps, clip.width, clip.height) == (250, 25, 320, 240)


def test_without_a_model_it_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="models/all10/model.pt: .*run `dvc repro`"):
        run(monkeypatch, capsys)
