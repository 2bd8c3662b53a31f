"""Streams: a window is predicted as a clip of that length would be, late frames are skipped, memory is constant."""

import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, grey_levels, peak_memory, write_clip
from fake_recognizers import FakeRecognizer

from glimpse.frames.decoder import read_clip, store_clip
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict.stream import DiffBuffer, Stream
from glimpse.predict.video_reader import VideoReader


def moving_clip(path, count, fps):
    """A clip in which a lighter square moves to the right over a background that gets lighter."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (96, 64))
    for number, level in enumerate(grey_levels(count) // 2):
        frame = np.full((64, 96, 3), level, np.uint8)
        frame[20:36, (x := number * 80 // count) : x + 16] = level + 100
        writer.write(frame)
    writer.release()
    return path


def infer(recognizer, path, seconds):
    """The predictions of all windows of a video."""
    return list(VideoReader.open(path).infer(Stream(recognizer, seconds)))


@pytest.mark.parametrize(
    "count, fps", [(50, 25), (47, 24), (61, 30), (64, 30000 / 1001), (10, 10), (19, 12), (150, 60), (40, 20), (9, 5)]
)
def test_the_views_of_a_window_are_those_of_a_clip_of_that_length(tmp_path, count, fps):
    path, recognizer = moving_clip(tmp_path / "clip.avi", count, fps), FakeRecognizer(frames=8, num_frames=8)
    clip = read_clip(path, 20, 48)
    predictions = infer(recognizer, path, count / clip.fps)
    assert np.array_equal(recognizer.seen_views, recognizer.prepare(path.name, store_clip(clip)).clean)
    (prediction,) = predictions
    assert prediction.complete and prediction.frames == 8
    assert (prediction.start, prediction.end) == (0, pytest.approx(count / clip.fps))


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_a_window_as_long_as_a_clip_gets_the_prediction_of_the_clip(trained, approach):
    recognizer = TorchRecognizer(trained / f"models/{approach}/model.pt")
    for action in ("wave", "lift", "stand_up"):
        path = sorted((trained / "data/demo" / action).iterdir())[0]
        clip = read_clip(path, 20, 176)
        expected = recognizer.predict(recognizer.prepare(path.name, store_clip(clip)))[-1]
        predictions = infer(recognizer, path, clip.frames / clip.fps)
        assert predictions[0].probabilities == pytest.approx(expected, abs=1e-5)


def test_windows_slide_by_one_frame_read_and_the_backbone_encodes_each_once(tmp_path):
    path, recognizer = moving_clip(tmp_path / "clip.avi", 150, 25), FakeRecognizer()
    predictions = infer(recognizer, path, 2.0)
    assert len(recognizer.seen_views) == 30 and len(predictions) == 21
    assert [window.start for window in predictions] == pytest.approx(np.arange(21) * 0.2)
    assert all(window.complete and window.frames == 10 and window.probabilities[1] == 1 for window in predictions)


def test_a_model_that_reads_the_first_frames_predicts_when_it_has_read_them(tmp_path):
    path, recognizer = moving_clip(tmp_path / "clip.avi", 150, 25), FakeRecognizer(num_frames=5)
    predictions = infer(recognizer, path, 2.0)
    assert len(predictions) == 26 and {window.frames for window in predictions} == {5}
    assert predictions[-1].start == pytest.approx(5) and predictions[-1].end == pytest.approx(7)


def test_a_video_shorter_than_a_window_is_predicted_from_the_frames_it_has(tmp_path):
    (prediction,) = infer(FakeRecognizer(), moving_clip(tmp_path / "clip.avi", 25, 25), 2.0)
    assert not prediction.complete and prediction.frames == 5 and prediction.probabilities[1] == 0.5


def test_live_frames_that_come_late_are_fewer_and_windows_keep_their_length():
    recognizer, frame = FakeRecognizer(), np.zeros((64, 96, 3), np.uint8)
    live, predictions = Stream(recognizer, 2.0), []
    for time in np.arange(0, 10, 0.5):  # 4 a window instead of 10
        predictions += live.add(time, frame, frame)
    assert len(recognizer.seen_views) == 19  # no candidate is due at time 0
    assert all(window.complete and window.frames in (4, 5) for window in predictions)
    assert all(time - 0.6 < window.end < time + 0.6 for time, window in zip(np.arange(2, 10, 0.5), predictions))


def test_after_a_pause_as_long_as_a_window_earlier_frames_do_not_count():
    frame = np.zeros((64, 96, 3), np.uint8)
    live = Stream(FakeRecognizer(), 2.0)
    for time in (*np.arange(0, 1.5, 0.1), 60.0):
        assert live.add(time, frame, frame) == []
    assert live.latest.frames == 1 and live.latest.start == pytest.approx(59.8, abs=0.2)


def test_the_reference_of_a_difference_is_the_frame_nearest_to_the_interval():
    buffer, frames = DiffBuffer(), [np.full(1, number) for number in range(60)]
    previous = [buffer.add(number / 24, frame)[0] for number, frame in enumerate(frames)]
    assert previous == [0, 0, *range(58)]
    slow = DiffBuffer()
    assert [slow.add(float(number), frame)[0] for number, frame in enumerate(frames[:4])] == [0, 0, 1, 2]


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    peaks = []
    for count in (250, 5000):
        path = write_clip(tmp_path / f"{count}.avi", np.arange(count) % 200 + 20, 160, 120)
        command = ["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, ROOT / "tests/fake_recognizers.py"]
        printed, peak = peak_memory([*command, "predict", "video", path, "--json"], tmp_path)
        assert f'"end": {count / 25}' in printed
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 5, peaks
