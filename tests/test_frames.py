"""Decoding and storing: frames are the expected ones, every file is accounted for, and no clip is decoded twice."""

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, write_clip, write_params

from glimpse.core import frame_store
from glimpse.core.image import from_jpeg
from glimpse.core.sampling import evenly_spaced
from glimpse.frames import decode_all, decoder
from glimpse.frames.find_clips import find_clips

ODD = ROOT.parent / "shared/data/odd"


def left_levels(frames):
    """The grey level in the left half of each decoded frame."""
    return np.array([frame[:, : frame.shape[1] // 2].mean() for frame in frames])


@pytest.mark.parametrize("count", [2, 3, 19, 20, 21, 47])
def test_synthetic_clips_decode_to_the_frames_they_were_written_from(tmp_path, count):
    levels = grey_levels(count)
    clip = decoder.read_clip(write_clip(tmp_path / "clip.avi", levels), 20, 32)
    assert (clip.frames, clip.fps, clip.width, clip.height) == (count, 25, 64, 48)
    assert len(clip.candidates) == 20
    assert abs(left_levels(clip.candidates) - levels[evenly_spaced(count, 20)]).max() < 2


def test_the_short_side_gets_the_requested_size_and_the_aspect_ratio_is_kept(tmp_path):
    wide = decoder.read_clip(write_clip(tmp_path / "wide.avi", [10, 200], 128, 48), 2, 96)
    tall = decoder.read_clip(write_clip(tmp_path / "tall.avi", [10, 200], 48, 128), 2, 24)
    assert wide.candidates[0].shape == (96, 256, 3)
    assert tall.candidates[0].shape == (64, 24, 3)


class WrongCount:
    """A reader that declares more or fewer frames than there are, as many real files do."""

    def __init__(self, path, declared):
        self.reader, self.declared = cv2.VideoCapture(str(path)), declared

    def get(self, prop):
        return self.declared if prop == cv2.CAP_PROP_FRAME_COUNT else self.reader.get(prop)

    def __getattr__(self, name):
        return getattr(self.reader, name)


@pytest.mark.parametrize("declared", [0, -1, 7, 23, 40, 10**12])
def test_frames_are_spread_over_what_can_be_decoded_whatever_the_file_declares(tmp_path, monkeypatch, declared):
    levels = grey_levels(30)
    path = write_clip(tmp_path / "clip.avi", levels)
    opened = []
    monkeypatch.setattr(decoder, "open_capture", lambda path: opened.append(path) or WrongCount(path, declared))
    clip = decoder.read_clip(path, 10, 32)
    assert clip.frames == 30 and len(opened) == 2
    assert abs(left_levels(clip.candidates) - levels[evenly_spaced(30, 10)]).max() < 2


def test_a_clip_that_declares_the_right_number_of_frames_is_decoded_once(tmp_path, monkeypatch):
    opened, open_capture = [], decoder.open_capture
    monkeypatch.setattr(decoder, "open_capture", lambda path: opened.append(path) or open_capture(path))
    decoder.read_clip(write_clip(tmp_path / "clip.avi", grey_levels(30)), 10, 32)
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
def test_a_file_that_cannot_be_used_gives_the_reason(tmp_path, make, reason):
    make(tmp_path / "clip.avi")
    with pytest.raises(decoder.UnreadableClip, match=reason):
        decoder.read_clip(tmp_path / "clip.avi", 5, 32)


@pytest.mark.skipif(not ODD.exists(), reason="the folder of odd real clips does not exist")
def test_rotation_is_applied_in_real_clips():
    upright = decoder.read_clip(ODD / "rotation_0.mov", 3, 64)
    rotated = decoder.read_clip(ODD / "rotation_90.mov", 3, 64)
    assert (upright.width, upright.height) == (568, 320) and (rotated.width, rotated.height) == (320, 568)


def test_every_file_is_a_clip_or_listed_with_a_reason(tmp_path):
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
    clips, ignored = find_clips(tmp_path)
    assert [clip.name for clip in clips] == sorted(names)
    assert [clip.folder for clip in clips] == ["", "", "anna", ""]
    assert ignored == odd


@pytest.fixture
def dataset(tmp_path):
    """A folder with params.yaml and six clips of two actions."""
    for action, base in (("up", 0), ("down", 7)):
        for number in range(3):
            write_clip(tmp_path / "clips" / action / f"{number}.avi", grey_levels(12 + base + number))
    write_params(tmp_path, dataset="clips", candidates=6, frame_size=32, frames=5)
    return tmp_path


def outputs(folder):
    """{path: bytes} of what the stage wrote."""
    return {file.relative_to(folder): file.read_bytes() for file in (folder / "data").rglob("*") if file.is_file()}


def test_an_added_clip_is_the_only_one_decoded_and_changes_one_shard(dataset, stage):
    def cache_entries():
        return {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}

    stage(dataset, "frames", "--workers", "1")
    before, entries = outputs(dataset), cache_entries()
    assert len(entries) == 6
    write_clip(dataset / "clips/up/new.avi", grey_levels(33))
    stage(dataset, "frames", "--workers", "1")
    assert len(cache_entries()) == 7 and entries.items() <= cache_entries().items()
    changed = {path.name for path, content in outputs(dataset).items() if before.get(path) != content}
    assert changed == {"clips.csv", frame_store.shard_name("up/new.avi")}
    assert pd.read_csv(dataset / "data/clips.csv")["frames"].tolist() == [19, 20, 21, 12, 13, 14, 33]


def test_the_same_bytes_with_any_number_of_workers_and_without_the_cache(dataset, stage):
    stage(dataset, "frames", "--workers", "1")
    before = outputs(dataset)
    (dataset / ".cache").rename(dataset / "other")
    stage(dataset, "frames", "--workers", "3")
    assert outputs(dataset) == before


def test_stored_frames_are_the_decoded_ones(dataset, stage):
    stage(dataset, "frames")
    stored = frame_store.FrameStore(dataset / "data/frames").load("up/1.avi")
    positions, levels = evenly_spaced(13, 6), grey_levels(13)
    assert abs(left_levels([from_jpeg(jpeg) for jpeg in stored.frames]) - levels[positions]).max() < 3
    differences = levels[positions] - levels[np.maximum(positions - 2, 0)]  # 0.08 seconds at 25 frames per second
    assert abs(left_levels([from_jpeg(jpeg) for jpeg in stored.diffs]) - 128 - differences).max() < 3
    with tarfile.open(dataset / "data/frames" / frame_store.shard_name("up/1.avi")) as tar:
        assert {"up/1.avi/05.jpg", "up/1.avi/05-change.jpg"} <= set(tar.getnames())


def test_a_cache_entry_with_other_properties_besides_is_still_read(dataset, stage):
    stage(dataset, "frames")
    before = outputs(dataset)
    for entry in (dataset / ".cache").rglob("*.tar"):
        properties, jpegs = frame_store.read_entry(entry)
        frame_store.write_entry(entry, properties | {"hashes": "0f 1e"}, jpegs)
    stage(dataset, "frames")
    assert outputs(dataset) == before


@pytest.mark.parametrize("change", ["bytes", "candidates", "size", "OpenCV", "code"])
def test_a_cache_entry_is_used_for_the_same_bytes_settings_opencv_and_code_alone(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "clip.avi", grey_levels(9))
    entry = decode_all.decode(str(clip), 5, 32).entry
    monkeypatch.setattr(decoder, "read_clip", lambda *_: pytest.fail("decoded again"))
    assert decode_all.decode(str(clip), 5, 32).entry == entry
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    if change == "bytes":
        write_clip(clip, grey_levels(10))
    elif change == "OpenCV":
        monkeypatch.setattr(decode_all.cv2, "__version__", "0.0")
    elif change == "code":
        monkeypatch.setattr(decode_all, "_code_hash", lambda: "other")
    assert (
        decode_all.decode(str(clip), 6 if change == "candidates" else 5, 64 if change == "size" else 32).entry != entry
    )


def test_a_stored_clip_has_the_length_that_follows_from_its_frames_and_frame_rate(tmp_path):
    clip = decoder.read_clip(write_clip(tmp_path / "clip.avi", grey_levels(30)), 5, 32)
    stored = decoder.store_clip(clip)
    assert stored.seconds == 30 / 25 and len(stored.frames) == len(stored.diffs) == 5
    clip.fps = 0.0
    assert decoder.store_clip(clip).seconds == 0.0


def test_the_data_set_may_be_a_link_to_a_folder_elsewhere(dataset, stage, tmp_path_factory):
    stage(dataset, "frames")
    before = outputs(dataset)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "my clips"
    (dataset / "clips").rename(elsewhere)
    (dataset / "clips").symlink_to(elsewhere)
    stage(dataset, "frames")
    assert outputs(dataset) == before


def test_fewer_than_two_usable_actions_is_one_line(dataset, stage):
    for clip in (dataset / "clips/up").iterdir():
        clip.write_bytes(b"")
    with pytest.raises(SystemExit, match="usable clips of 1 actions"):
        stage(dataset, "frames")
    rejected = pd.read_csv(dataset / "data/rejected.csv")
    assert rejected["clip"].tolist() == [f"up/{n}.avi" for n in range(3)]
    assert set(rejected["reason"]) == {"empty file"}


def test_time_and_disk_space_are_estimated_beforehand(dataset, stage, capsys, monkeypatch):
    monkeypatch.setattr(decode_all, "SAMPLE", 2)
    stage(dataset, "frames")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "frames: 6 clips of 2 actions in clips"
    assert "needs about" in lines[1] and "min and" in lines[1] and "MB of disk space" in lines[1]


def test_a_missing_data_set_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="is not a folder"):
        find_clips(Path(tmp_path / "none"))
