"""Decoding and storing: known frames come back, odd files are named, and work is done once."""

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, write_clip, write_params

import frames
from glimpse.core import frame_store as store
from glimpse.core.sampling import evenly_spaced
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video

ODD = ROOT.parent / "shared/data/odd"


def seen_levels(candidates):
    """The grey level in the left half of each decoded frame."""
    return np.array([frame[:, : frame.shape[1] // 2].mean() for frame in candidates])


@pytest.mark.parametrize("count", [2, 3, 19, 20, 21, 47])
def test_made_up_clips_decode_to_the_frames_they_were_made_of(tmp_path, count):
    levels = grey_levels(count)
    clip = video.read_clip(write_clip(tmp_path / "clip.avi", levels), 20, 32)
    assert (clip.frames, clip.fps, clip.width, clip.height) == (count, 25, 64, 48)
    assert len(clip.candidates) == 20
    assert abs(seen_levels(clip.candidates) - levels[evenly_spaced(count, 20)]).max() < 2


def test_stored_frames_cover_the_size_and_keep_their_aspect(tmp_path):
    wide = video.read_clip(write_clip(tmp_path / "wide.avi", [10, 200], 128, 48), 2, 96)
    tall = video.read_clip(write_clip(tmp_path / "tall.avi", [10, 200], 48, 128), 2, 24)
    assert wide.candidates[0].shape == (96, 256, 3)
    assert tall.candidates[0].shape == (64, 24, 3)


class WrongCount:
    """A reader that states more or fewer frames than it has, as many real files do."""

    def __init__(self, path, stated):
        self.reader, self.declared_frames = cv2.VideoCapture(str(path)), stated

    def get(self, what):
        return self.declared_frames if what == cv2.CAP_PROP_FRAME_COUNT else self.reader.get(what)

    def __getattr__(self, name):
        return getattr(self.reader, name)


@pytest.mark.parametrize("stated", [0, -1, 7, 23, 40, 10**12])
def test_frames_are_spread_over_what_can_be_decoded_whatever_the_file_states(tmp_path, monkeypatch, stated):
    levels = grey_levels(30)
    path = write_clip(tmp_path / "clip.avi", levels)
    opened = []
    monkeypatch.setattr(video, "open_capture", lambda path: opened.append(path) or WrongCount(path, stated))
    clip = video.read_clip(path, 10, 32)
    assert clip.frames == 30 and len(opened) == 2
    assert abs(seen_levels(clip.candidates) - levels[evenly_spaced(30, 10)]).max() < 2


def test_a_clip_whose_count_is_right_is_decoded_once(tmp_path, monkeypatch):
    opened, real = [], video.open_capture
    monkeypatch.setattr(video, "open_capture", lambda path: opened.append(path) or real(path))
    video.read_clip(write_clip(tmp_path / "clip.avi", grey_levels(30)), 10, 32)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_text("not a video"), "not a video"),
        (lambda path: write_clip(path, [100]), "only one frame"),
        (lambda path: write_clip(path, [100] * 9), "identical"),
        (lambda path: write_clip(path, [0, 200], 16, 16), "too small: 16x16"),
        (lambda path: None, "can't be read"),
    ],
)
def test_a_file_that_cant_be_used_says_why(tmp_path, make, reason):
    make(tmp_path / "clip.avi")
    with pytest.raises(video.UnreadableClip, match=reason):
        video.read_clip(tmp_path / "clip.avi", 5, 32)


@pytest.mark.skipif(not ODD.exists(), reason="the folder of odd real clips is not here")
def test_rotation_is_honoured_in_real_clips():
    upright = video.read_clip(ODD / "rotation_0.mov", 3, 64)
    turned = video.read_clip(ODD / "rotation_90.mov", 3, 64)
    assert (upright.width, upright.height) == (568, 320) and (turned.width, turned.height) == (320, 568)


def test_files_are_found_or_named_with_a_reason(tmp_path):
    names = ["a/1.avi", "a/2.MP4", "a/anna/3.mov", "b/日本 [x].mkv"]
    odd = {
        "4.avi": "not in the folder of an action", "a/.5.avi": "hidden file", "a/6": "no extension",
        "a/Thumbs.db": "not the extension of a video: .db", ".git": "hidden folder",
        "a/anna/deep": "folder deeper than <action>/<group>/<clip>",
    }  # fmt: skip
    for name in [*names, *odd, ".git/7.avi", "a/anna/deep/8.avi"]:
        if name in (".git", "a/anna/deep"):
            continue
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found, ignored = clips.find_clips(tmp_path)
    assert [one.clip for one in found] == sorted(names)
    assert [one.folder for one in found] == ["", "", "anna", ""]
    assert ignored == odd


@pytest.fixture
def dataset(tmp_path):
    """A folder with params.yaml and six clips of two actions."""
    for action, base in (("up", 0), ("down", 7)):
        for number in range(3):
            write_clip(tmp_path / "clips" / action / f"{number}.avi", grey_levels(12 + base + number))
    write_params(tmp_path, dataset="clips", candidates=6, store_size=32, frames=5)
    return tmp_path


def made(folder):
    """{path: bytes} of what the stage wrote."""
    return {file.relative_to(folder): file.read_bytes() for file in (folder / "data").rglob("*") if file.is_file()}


def test_an_added_clip_decodes_one_and_changes_one_shard(dataset, stage):
    def decoded():
        return {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}

    stage(dataset, "frames", "--workers", "1")
    before, entries = made(dataset), decoded()
    assert len(entries) == 6
    write_clip(dataset / "clips/up/new.avi", grey_levels(33))
    stage(dataset, "frames", "--workers", "1")
    assert len(decoded()) == 7 and entries.items() <= decoded().items()
    changed = {path.name for path, content in made(dataset).items() if before.get(path) != content}
    assert changed == {"clips.csv", store.shard_name("up/new.avi")}
    assert pd.read_csv(dataset / "data/clips.csv")["frames"].tolist() == [19, 20, 21, 12, 13, 14, 33]


def test_the_same_bytes_with_any_number_of_workers_and_without_the_cache(dataset, stage):
    stage(dataset, "frames", "--workers", "1")
    before = made(dataset)
    (dataset / ".cache").rename(dataset / "gone")
    stage(dataset, "frames", "--workers", "3")
    assert made(dataset) == before


def test_stored_frames_are_the_decoded_ones(dataset, stage):
    stage(dataset, "frames")
    stored = store.FrameStore(dataset / "data/frames").load("up/1.avi")
    positions, levels = evenly_spaced(13, 6), grey_levels(13)
    assert abs(seen_levels([store.from_jpeg(jpeg) for jpeg in stored.frames]) - levels[positions]).max() < 3
    changed = levels[positions] - levels[np.maximum(positions - 2, 0)]  # 0.08 seconds at 25 frames a second
    assert abs(seen_levels([store.from_jpeg(jpeg) for jpeg in stored.diffs]) - 128 - changed).max() < 3
    with tarfile.open(dataset / "data/frames" / store.shard_name("up/1.avi")) as tar:
        assert {"up/1.avi/05.jpg", "up/1.avi/05-change.jpg"} <= set(tar.getnames())


def test_what_an_older_version_kept_in_the_cache_is_still_read(dataset, stage):
    stage(dataset, "frames")
    before = made(dataset)
    for entry in (dataset / ".cache").rglob("*.tar"):
        measures, jpegs = store.read_entry(entry)
        store.write_entry(entry, measures | {"hashes": "0f 1e"}, jpegs)
    stage(dataset, "frames")
    assert made(dataset) == before


def test_the_data_set_may_be_a_link_and_lie_outside(dataset, stage, tmp_path_factory):
    stage(dataset, "frames")
    before = made(dataset)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "my clips"
    (dataset / "clips").rename(elsewhere)
    (dataset / "clips").symlink_to(elsewhere)
    stage(dataset, "frames")
    assert made(dataset) == before


def test_fewer_than_two_usable_actions_is_an_error_that_says_so(dataset, stage):
    for clip in (dataset / "clips/up").iterdir():
        clip.write_bytes(b"")
    with pytest.raises(SystemExit, match="usable clips of 1 actions"):
        stage(dataset, "frames")
    rejected = pd.read_csv(dataset / "data/rejected.csv")
    assert rejected["clip"].tolist() == [f"up/{n}.avi" for n in range(3)]
    assert set(rejected["reason"]) == {"empty file"}


def test_what_will_be_done_is_said_beforehand(dataset, stage, capsys, monkeypatch):
    monkeypatch.setattr(frames, "SAMPLE", 2)
    stage(dataset, "frames")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "frames: 6 clips of 2 actions in clips"
    assert "min and" in lines[1] and "MB of disk ahead" in lines[1]


def test_a_data_set_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="is not a folder"):
        clips.find_clips(Path(tmp_path / "none"))
