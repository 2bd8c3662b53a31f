"""`glimpse predict video` and overlays: segments lie where the actions are, an overlay has every frame of its video."""

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, grey_levels, write_clip
from fake_recognizers import FakeRecognizer
from test_predict import run_predict

from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict.options import window_seconds
from glimpse.predict.overlay import draw_overlay, overlay_writer
from glimpse.predict.segments import COLUMNS, find_segments, per_step_probabilities
from glimpse.predict.stream import Stream, WindowPrediction
from glimpse.predict.video_reader import VideoReader


def read_frames(path):
    capture = cv2.VideoCapture(str(path))
    return list(itertools.takewhile(lambda frame: frame is not None, (capture.read()[1] for _ in itertools.count())))


def predictions(*rows):
    return [WindowPrediction(n, n + 2, 2, True, np.array(row)) for n, row in enumerate(rows)]


def test_the_probabilities_of_a_step_are_the_mean_over_the_windows_that_cover_it():
    def steps(rows, num_steps):
        return list(per_step_probabilities(predictions(*rows), num_steps))

    assert np.allclose(steps([[1, 0], [0.5, 0.5], [0, 1]], 2), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    assert np.allclose(steps([[0.3, 0.7]], 3), [[0.3, 0.7]] * 3)
    assert np.allclose(steps([[1, 0], [0, 1]], 3), [[1, 0], [0.5, 0.5], [0.5, 0.5], [0, 1]])
    assert steps([], 3) == []


def test_segments_join_steps_with_the_same_prediction_with_unknown_in_between(tmp_path):
    reader = VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(50)))
    reader.duration = 5.5
    stream = Stream(FakeRecognizer(), 2.0, positions=[4, 14])  # a step is a second
    rows = predictions([1, 0], [1, 0], [0.2, 0.8], [0, 1], [0, 1])
    segments = list(find_segments(reader, rows, stream, 0.7))
    assert [(segment.start, segment.end, segment.action, segment.known) for segment in segments] == [
        (0, 2, "left", True), (2, 3, "left", False), (3, 5.5, "right", True),
    ]  # fmt: skip
    assert [segment.confidence for segment in segments] == pytest.approx([1, 0.6, (0.9 + 1 + 1) / 3])
    (unknown,) = find_segments(reader, predictions([1, 0], [0, 1]), stream, 1.1)
    assert (unknown.start, unknown.end, unknown.known) == (0, 5.5, False)


@pytest.fixture(scope="module")
def long_video(trained, tmp_path_factory):
    """A video of clips of the small project one after the other, and the action of each frame."""
    path, actions = tmp_path_factory.mktemp("long") / "long.avi", []
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 24, (160, 120))
    for number, action in enumerate(["wave", "lift", "sit_down", "wave", "stand_up", "lower", "wave", "sit_down"]):
        clip = sorted((trained / "data/demo" / action).iterdir())[number]
        for frame in read_frames(clip):
            writer.write(frame)
            actions.append(action)
    writer.release()
    return path, actions


def test_segments_lie_where_the_actions_are_and_fill_the_video(trained, long_video, monkeypatch, capsys):
    path, actions = long_video
    arguments = ["video", path, "--model", trained / "models/all10/model.pt", "--max-error", "0.3"]
    rows = [json.loads(line) for line in run_predict(monkeypatch, capsys, *arguments, "--json").out.splitlines()]
    assert list(rows[0]) == COLUMNS
    assert rows[0]["start"] == 0 and rows[-1]["end"] == pytest.approx(len(actions) / 24, abs=0.01)
    assert all(row["end"] == following["start"] for row, following in itertools.pairwise(rows))
    correct = [
        row["action"] == action
        for n, action in enumerate(actions)
        for row in rows
        if row["start"] <= n / 24 < row["end"]
    ]
    # half of these clips were trained on
    assert len(correct) == len(actions) and np.mean(correct) > 0.6, np.mean(correct)
    table = list(csv.DictReader(run_predict(monkeypatch, capsys, *arguments, "--csv").out.splitlines()))
    assert [float(row["end"]) for row in table] == [row["end"] for row in rows]
    assert [row["known"] for row in table] == ["yes" if row["known"] else "unknown" for row in rows]
    text = run_predict(monkeypatch, capsys, *arguments).out.splitlines()
    assert text[0] == f"{path}:" and len(text) == 1 + len(rows) and text[1].startswith("   0:00.0 to ")


def test_a_clip_much_longer_than_the_training_clips_gets_one_hint(trained, long_video, monkeypatch, capsys):
    model = ["--model", trained / "models/all10/model.pt"]
    printed = run_predict(monkeypatch, capsys, "clips", long_video[0], long_video[0], *model)
    assert printed.err.count("`glimpse predict video`") == 1 and len(printed.out.splitlines()) == 2


def run_fake(*arguments, shell=""):
    """`glimpse` with a fake model in a process of its own, so that what OpenCV and FFmpeg print is captured, too."""
    command = [sys.executable, ROOT / "tests/fake_recognizers.py", *arguments]
    if shell:
        command = ["sh", "-c", f"{' '.join(map(str, command))} {shell}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_unusable_videos_are_named_and_the_others_predicted(tmp_path):
    good = write_clip(tmp_path / "1.avi", grey_levels(30))
    (tmp_path / "2.mp4").write_text("no video")
    (tmp_path / "3.avi").write_bytes(good.read_bytes()[:-20000])
    (tmp_path / "4.avi").write_bytes(good.read_bytes()[:300])
    write_clip(tmp_path / "5.avi", grey_levels(30), 64, 16)
    done = run_fake("predict", "video", tmp_path, "--csv")
    *named, last = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in named] == [f"{tmp_path}/{name}" for name in ("2.mp4", "4.avi", "5.avi")]
    assert last == "predict: 3 of 5 files could not be used, named above" and done.returncode == 1
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["clip"] for row in rows} == {f"{tmp_path}/{n}.avi" for n in (1, 3)}


def test_a_video_that_ends_before_a_frame_is_read_is_named(tmp_path):
    clip = write_clip(tmp_path / "1.avi", grey_levels(30))
    done = run_fake("predict", "video", clip, "--window", "600")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"{clip}: ends before a frame of a window of 600 s is read: give a shorter --window")


def test_a_reader_that_closes_the_pipe_ends_the_command_without_a_message(tmp_path):
    clip = write_clip(tmp_path / "1.avi", grey_levels(30))
    assert run_fake("predict", "video", clip, clip, shell="| true").stderr == ""


def test_a_model_without_the_length_of_its_clips_needs_the_option_window():
    args = argparse.Namespace(window=None, model="model.pt", onnx=False)
    with pytest.raises(SystemExit, match="model.pt: does not record .*: add --window SECONDS"):
        window_seconds(args, 0.0)
    assert window_seconds(args, 2.0) == 2.0
    args.window = 3.0
    assert window_seconds(args, 0.0) == window_seconds(args, 2.0) == 3.0


@pytest.mark.parametrize("fps", [119.873, 90.123, 29.97, 1000 / 33])
def test_an_overlay_has_any_frame_rate(tmp_path, fps):
    output = tmp_path / "overlay.mp4"
    reader = VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(30)))
    reader.fps = fps
    with overlay_writer(output, reader, 0.5) as write:
        for _ in range(3):
            write(np.zeros((48, 64, 3), np.uint8), Stream(FakeRecognizer(), 2.0))
    assert cv2.VideoCapture(str(output)).get(cv2.CAP_PROP_FPS) == pytest.approx(fps, abs=0.01)


def test_an_overlay_has_every_frame_and_the_prediction_from_the_first_frame_read_on(
    trained, tmp_path, monkeypatch, capsys
):
    clip, output = sorted((trained / "data/demo/wave").iterdir())[0], tmp_path / "new" / "overlay.mp4"
    model = trained / "models/all10/model.pt"
    run_predict(monkeypatch, capsys, "clips", clip, "--model", model, "--overlay", output)
    before, after = read_frames(clip), read_frames(output)
    assert [frame.shape for frame in before] == [frame.shape for frame in after]
    assert cv2.VideoCapture(str(output)).get(cv2.CAP_PROP_FPS) == cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FPS)
    darker = [frame[-6:, :120].mean() - drawn[-6:, :120].mean() for frame, drawn in zip(before, after)]
    first = int(TorchRecognizer(model).positions(clip.name)[0] * 2 + 1) * len(before) // 40
    assert max(darker[:first]) < 10 < 25 < min(darker[first:]) and os.listdir(output.parent) == ["overlay.mp4"]


def test_the_overlay_of_a_video_in_segments_has_every_frame(tmp_path):
    clip, output = write_clip(tmp_path / "clip.avi", grey_levels(90)), tmp_path / "overlay.mp4"
    done = run_fake("predict", "video", clip, "--overlay", output)
    assert (done.returncode, done.stderr) == (0, "") and len(read_frames(output)) == 90


def test_an_overlay_that_could_not_be_completed_is_removed(tmp_path):
    reader = VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(30)))
    with pytest.raises(RuntimeError), overlay_writer(tmp_path / "overlay.mp4", reader, 0.5) as write:
        write(np.zeros((48, 64, 3), np.uint8), Stream(FakeRecognizer(), 2.0))
        raise RuntimeError
    assert os.listdir(tmp_path) == ["clip.avi"]
    with (
        pytest.raises(SystemExit, match="could not be written"),
        overlay_writer(tmp_path / "clip.avi/x.mp4", reader, 1),
    ):
        pass


def test_names_in_any_script_and_frames_of_any_shape_are_drawn():
    stream = Stream(FakeRecognizer(class_names=["прыжок", "跳"]), 2.0)
    stream.latest, stream.box = WindowPrediction(0, 2, 10, True, np.array([0.4, 0.6])), (20.0, 30.0, 40.0)
    for height, width in ((24, 24), (24, 480), (480, 24), (720, 1280)):
        frame = np.full((height, width, 3), 90, np.uint8)
        drawn = draw_overlay(frame, stream, 0.9, "a note")
        assert drawn.shape == frame.shape and (drawn != frame).any() and (frame == 90).all()


def test_an_overlay_takes_one_clip(trained, monkeypatch, capsys):
    for form in ("clips", "video"):
        with pytest.raises(SystemExit, match="takes one clip, and 16 were given"):
            run_predict(monkeypatch, capsys, form, trained / "data/demo/wave", "--overlay", "x.mp4")
