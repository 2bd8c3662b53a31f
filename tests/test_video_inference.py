"""Long videos: segments are where the actions are, the overlay is the whole video, and predict tells both."""

import csv
import itertools
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import predict
import pytest
from conftest import ROOT, grey_levels, write_clip
from fake_recognizers import Blank
from test_predict import run_predict

from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict import following, overlay, segments
from glimpse.predict import video_reader as playback
from glimpse.predict.stream import Stream, WindowPrediction


def frames_of(path):
    reader = cv2.VideoCapture(str(path))
    return list(itertools.takewhile(lambda frame: frame is not None, (reader.read()[1] for _ in itertools.count())))


def beliefs(*rows):
    return [WindowPrediction(n, n + 2, 2, True, np.array(row)) for n, row in enumerate(rows)]


def test_a_moment_is_the_mean_of_the_windows_that_cover_it():
    told = list(segments.per_step_probabilities(beliefs([1, 0], [0.5, 0.5], [0, 1]), 2))
    assert np.allclose(told, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    assert np.allclose(list(segments.per_step_probabilities(beliefs([0.3, 0.7]), 3)), [[0.3, 0.7]] * 3)
    assert np.allclose(
        list(segments.per_step_probabilities(beliefs([1, 0], [0, 1]), 3)), [[1, 0], [0.5, 0.5], [0.5, 0.5], [0, 1]]
    )
    assert list(segments.per_step_probabilities([], 3)) == []


def test_segments_join_what_has_one_answer_and_say_unknown_in_between(tmp_path):
    played = playback.VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(50)))
    played.length = 5.5
    stream = Stream(Blank(), 2.0, positions=[4, 14])  # a moment is a second
    told = list(segments.segments(played, beliefs([1, 0], [1, 0], [0.2, 0.8], [0, 1], [0, 1]), stream, 0.7))
    assert [(one.start, one.end, one.action, one.known) for one in told] == [
        (0, 2, 0, True), (2, 3, 0, False), (3, 5.5, 1, True),
    ]  # fmt: skip
    assert [one.confidence for one in told] == pytest.approx([1, 0.6, (0.9 + 1 + 1) / 3])
    unsure = list(segments.segments(played, beliefs([1, 0], [0, 1]), stream, 1.1))
    assert [(one.start, one.end, one.known) for one in unsure] == [(0, 5.5, False)]


@pytest.fixture(scope="module")
def long_video(trained, tmp_path_factory):
    """Clips of the small project one after the other, and the action of each frame."""
    path, actions = tmp_path_factory.mktemp("long") / "long.avi", []
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 24, (160, 120))
    for number, action in enumerate(["wave", "lift", "sit_down", "wave", "stand_up", "lower", "wave", "sit_down"]):
        clip = sorted((trained / "data/demo" / action).iterdir())[number]
        for frame in frames_of(clip):
            writer.write(frame)
            actions.append(action)
    writer.release()
    return path, actions


def test_segments_lie_where_the_actions_are_and_fill_the_video(trained, long_video, monkeypatch, capsys):
    path, actions = long_video
    model = ["--model", trained / "models/all10/model.pt", "--error", "0.3"]
    rows = [
        json.loads(line)
        for line in run_predict(monkeypatch, capsys, path, *model, "--segments", "--json").out.splitlines()
    ]
    assert list(rows[0]) == following.COLUMNS
    assert rows[0]["start"] == 0 and rows[-1]["end"] == pytest.approx(len(actions) / 24, abs=0.01)
    assert all(one["end"] == other["start"] for one, other in itertools.pairwise(rows))
    right = [
        row["action"] == action
        for n, action in enumerate(actions)
        for row in rows
        if row["start"] <= n / 24 < row["end"]
    ]
    assert len(right) == len(actions) and np.mean(right) > 0.6, np.mean(right)  # these clips are half of the training's
    table = list(csv.DictReader(run_predict(monkeypatch, capsys, path, *model, "--segments", "--csv").out.splitlines()))
    assert [float(one["end"]) for one in table] == [row["end"] for row in rows]
    assert [one["known"] for one in table] == ["yes" if row["known"] else "unknown" for row in rows]


def test_a_clip_much_longer_than_those_trained_on_gets_one_hint(trained, long_video, monkeypatch, capsys):
    model = ["--model", trained / "models/all10/model.pt"]
    printed = run_predict(monkeypatch, capsys, long_video[0], long_video[0], *model)
    assert printed.err.count("--segments") == 1 and len(printed.out.splitlines()) == 2


def watched(*arguments):
    """predict.py with a blank model, in a process of its own, with what OpenCV and FFmpeg write, too."""
    command = [sys.executable, ROOT / "tests/watchers.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_bad_videos_are_named_and_the_others_followed(tmp_path):
    good = write_clip(tmp_path / "1.avi", grey_levels(30))
    (tmp_path / "2.mp4").write_text("no video")
    (tmp_path / "3.avi").write_bytes(good.read_bytes()[:-20000])
    (tmp_path / "4.avi").write_bytes(good.read_bytes()[:300])
    write_clip(tmp_path / "5.avi", grey_levels(30), 64, 16)
    done = watched(tmp_path, "--segments", "--csv")
    *named, last = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in named] == [f"{tmp_path}/{name}" for name in ("2.mp4", "4.avi", "5.avi")]
    assert last == "predict: 3 of 5 files could not be used, named above" and done.returncode == 1
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["clip"] for row in rows} == {f"{tmp_path}/{n}.avi" for n in (1, 3)}


def test_a_video_that_ends_before_anything_is_read_is_named(tmp_path):
    clip = write_clip(tmp_path / "1.avi", grey_levels(30))
    done = watched(clip, "--segments", "--window", "600")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"{clip}: ends before a frame of a window of 600 s is read: give a shorter --window")


@pytest.mark.parametrize("fps", [119.873, 90.123, 29.97, 1000 / 33])
def test_an_overlay_takes_any_frame_rate(tmp_path, fps):
    drawn = tmp_path / "drawn.mp4"
    played = playback.VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(30)))
    played.fps = fps
    with overlay.overlay(drawn, played, 0.5) as show:
        for _ in range(3):
            show(np.zeros((48, 64, 3), np.uint8), Stream(Blank(), 2.0))
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FPS) == pytest.approx(fps, abs=0.01)


def test_a_reader_that_has_enough_ends_it_without_a_word(tmp_path):
    clip = write_clip(tmp_path / "1.avi", grey_levels(30))
    command = f"{sys.executable} {ROOT}/tests/watchers.py {clip} {clip} --segments | true"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True).stderr == ""


def test_a_model_that_does_not_say_how_long_its_clips_were_asks_for_the_window(long_video):
    with pytest.raises(SystemExit, match="add --window"):
        predict.window(Blank(seconds=0.0), predict.argparse.Namespace(window=None, model="model.pt"))


def test_the_overlay_is_the_whole_video_with_the_belief_from_each_frame_read_on(trained, tmp_path, monkeypatch, capsys):
    clip, drawn = sorted((trained / "data/demo/wave").iterdir())[0], tmp_path / "new" / "drawn.mp4"
    recognizer = TorchRecognizer(trained / "models/all10/model.pt")
    run_predict(monkeypatch, capsys, clip, "--model", trained / "models/all10/model.pt", "--overlay", drawn)
    before, after = frames_of(clip), frames_of(drawn)
    assert [one.shape for one in before] == [one.shape for one in after]
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FPS) == cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FPS)
    darker = [one[-6:, :120].mean() - other[-6:, :120].mean() for one, other in zip(before, after)]
    read = int(recognizer.positions(clip.name)[0] * 2 + 1) * len(before) // 40
    assert max(darker[:read]) < 10 < 25 < min(darker[read:]) and os.listdir(drawn.parent) == ["drawn.mp4"]


def test_no_overlay_stays_of_a_video_that_could_not_be_drawn_whole(tmp_path):
    played = playback.VideoReader.open(write_clip(tmp_path / "clip.avi", grey_levels(30)))
    with pytest.raises(RuntimeError), overlay.overlay(tmp_path / "drawn.mp4", played, 0.5) as show:
        show(np.zeros((48, 64, 3), np.uint8), Stream(Blank(), 2.0))
        raise RuntimeError
    assert os.listdir(tmp_path) == ["clip.avi"]
    with (
        pytest.raises(SystemExit, match="could not be written"),
        overlay.overlay(tmp_path / "clip.avi/x.mp4", played, 1),
    ):
        pass


def test_names_in_any_writing_and_pictures_of_any_shape_are_drawn():
    stream = Stream(Blank(actions=["прыжок", "跳"]), 2.0)
    stream.now, stream.square = WindowPrediction(0, 2, 10, True, np.array([0.4, 0.6])), (20.0, 30.0, 40.0)
    for height, width in ((24, 24), (24, 480), (480, 24), (720, 1280)):
        frame = np.full((height, width, 3), 90, np.uint8)
        drawn = overlay.draw_overlay(frame, stream, 0.9, "a note")
        assert drawn.shape == frame.shape and (drawn != frame).any() and (frame == 90).all()


@pytest.mark.parametrize(
    "given, named",
    [([], "--camera"), (["a.avi", "--camera", "0"], "--camera"), (["a.avi", "--workers", "0"], "--workers"),
     (["a.avi", "--window", "0"], "--window"), (["--camera", "0", "--csv"], "--camera"),
     (["a.avi", "--window", "1"], "--segments"), (["a.avi", "--overlay", "a.xyz"], ".mp4")],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(monkeypatch, capsys, given, named):
    with pytest.raises(SystemExit):
        run_predict(monkeypatch, capsys, *given)
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_an_overlay_takes_one_clip(trained, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="takes one clip, and 16 were given"):
        run_predict(monkeypatch, capsys, trained / "data/demo/wave", "--overlay", "x.mp4")


def test_no_clip_is_replaced_by_what_is_written(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30)).rename(tmp_path / "clip.mp4")
    content = clip.read_bytes()
    for option in ("--overlay", "--out"):
        with pytest.raises(SystemExit, match=f"{option} .*is one of the clips"):
            run_predict(monkeypatch, capsys, clip, option, clip)
    assert clip.read_bytes() == content


def test_rows_stay_in_order_with_several_workers_and_a_file_is_written_whole(trained, tmp_path, monkeypatch, capsys):
    clips = sorted((trained / "data/demo/wave").iterdir())[:6]
    asked = [*clips, "--model", trained / "models/all10/model.pt", "--csv", "--out"]
    for workers in (1, 3):
        printed = run_predict(monkeypatch, capsys, *asked, tmp_path / f"{workers}.csv", "--workers", workers)
        assert printed.out == "" and printed.err == ""
    one, three = ((tmp_path / f"{workers}.csv").read_text() for workers in (1, 3))
    assert one == three and [row["clip"] for row in csv.DictReader(one.splitlines())] == [*map(str, clips)]


def test_predict_starts_without_anything_but_numpy_and_opencv():
    missing = ["torch", "pandas", "scipy", "torchmetrics", "psutil", "tqdm", "onnxruntime", "onnx", "yaml", "dvc"]
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import predict; predict.arguments()"
    command = [sys.executable, "-c", code, "clip.avi"]
    assert subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True).stderr == ""
