"""Streams: a window is told as the clip would be, frames that come late are skipped, and memory doesn't grow."""

import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, grey_levels, peak_of, write_clip
from fake_recognizers import Blank

from glimpse.core.frame_store import StoredClip
from glimpse.features.views import clean_views
from glimpse.frames import decoder as video
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict import stream
from glimpse.predict import video_reader as playback


def moving_clip(path, count, fps):
    """A clip in which a lighter square goes to the right over a background that gets lighter."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (96, 64))
    for number, level in enumerate(grey_levels(count) // 2):
        frame = np.full((64, 96, 3), level, np.uint8)
        frame[20:36, (x := number * 80 // count) : x + 16] = level + 100
        writer.write(frame)
    writer.release()
    return path


def followed(recognizer, path, seconds, **given):
    return list(playback.VideoReader.open(path).followed(stream.Stream(recognizer, seconds, **given)))


@pytest.mark.parametrize(
    "count, fps", [(50, 25), (47, 24), (61, 30), (64, 30000 / 1001), (10, 10), (19, 12), (150, 60), (40, 20), (9, 5)]
)
def test_what_is_read_of_a_window_is_what_is_read_of_a_clip_that_long(tmp_path, count, fps):
    path, recognizer = moving_clip(tmp_path / "clip.avi", count, fps), Blank(frames=8, use=8)
    clip = video.read_clip(path, 20, 48)
    beliefs = followed(recognizer, path, count / clip.fps)
    looks = clean_views(StoredClip.from_clip(clip), recognizer.views, recognizer.positions(path.name))
    assert np.array_equal(recognizer.looks, looks)
    assert len(beliefs) == 1 and beliefs[0].whole and beliefs[0].frames == 8
    assert (beliefs[0].start, beliefs[0].end) == (0, pytest.approx(count / clip.fps))


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_a_window_as_long_as_a_clip_is_believed_what_the_clip_is(trained, approach):
    recognizer = TorchRecognizer(trained / f"models/{approach}/model.pt")
    for action in ("wave", "lift", "stand_up"):
        path = sorted((trained / "data/demo" / action).iterdir())[0]
        clip = video.read_clip(path, 20, 176)
        expected = recognizer.predict(path.name, StoredClip.from_clip(clip))[-1]
        beliefs = followed(recognizer, path, clip.frames / clip.fps)
        assert beliefs[0].probabilities == pytest.approx(expected, abs=1e-5)


def test_windows_slide_by_one_frame_read_and_the_backbone_sees_each_once(tmp_path):
    path, recognizer = moving_clip(tmp_path / "clip.avi", 150, 25), Blank()
    beliefs = followed(recognizer, path, 2.0)
    assert len(recognizer.looks) == 30 and len(beliefs) == 21
    assert [one.start for one in beliefs] == pytest.approx(np.arange(21) * 0.2)
    assert all(one.whole and one.frames == 10 and one.probabilities[1] == 1 for one in beliefs)


def test_a_model_that_reads_the_first_frames_only_answers_when_it_has_read_them(tmp_path):
    path, recognizer = moving_clip(tmp_path / "clip.avi", 150, 25), Blank(use=5)
    beliefs = followed(recognizer, path, 2.0)
    assert len(beliefs) == 26 and {one.frames for one in beliefs} == {5}
    assert beliefs[-1].start == pytest.approx(5) and beliefs[-1].end == pytest.approx(7)


def test_a_video_shorter_than_a_window_is_told_from_what_was_read(tmp_path):
    (belief,) = followed(Blank(), moving_clip(tmp_path / "clip.avi", 25, 25), 2.0)
    assert not belief.whole and belief.frames == 5 and belief.probabilities[1] == 0.5


def test_live_frames_that_come_late_are_fewer_and_windows_stay_as_long():
    recognizer, frame = Blank(), np.zeros((64, 96, 3), np.uint8)
    live, told = stream.Stream(recognizer, 2.0), []
    for time in np.arange(0, 10, 0.5):  # 4 a window in place of 10
        told += live.see(time, frame, frame)
    assert len(recognizer.looks) == 19  # at 0 nothing is due
    assert all(one.whole and one.frames in (4, 5) for one in told)
    assert all(time - 0.6 < one.end < time + 0.6 for time, one in zip(np.arange(2, 10, 0.5), told))


def test_after_a_pause_as_long_as_a_window_nothing_seen_before_counts():
    frame = np.zeros((64, 96, 3), np.uint8)
    live = stream.Stream(Blank(), 2.0)
    for time in (*np.arange(0, 1.5, 0.1), 60.0):
        assert live.see(time, frame, frame) == []
    assert live.now.frames == 1 and live.now.start == pytest.approx(59.8, abs=0.2)


def test_the_frame_before_is_the_nearest_to_the_right_time():
    recent, frames = stream.DiffBuffer(), [np.full(1, number) for number in range(60)]
    before = [recent.add(number / 24, frame)[0] for number, frame in enumerate(frames)]
    assert before == [0, 0, *range(58)]
    slow = stream.DiffBuffer()
    assert [slow.add(float(number), frame)[0] for number, frame in enumerate(frames[:4])] == [0, 0, 1, 2]


def test_memory_does_not_grow_with_the_video(tmp_path):
    peaks = []
    for count in (250, 5000):
        path = write_clip(tmp_path / f"{count}.avi", np.arange(count) % 200 + 20, 160, 120)
        watcher = ["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, ROOT / "tests/watchers.py"]
        printed, peak = peak_of([*watcher, path, "--segments", "--json"], tmp_path)
        assert f'"end": {count / 25}' in printed
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 5, peaks
