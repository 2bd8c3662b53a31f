"""Near duplicates are detected, and split keeps them in one split, or reports them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import write_params

from glimpse.core.image import to_jpeg
from glimpse.demo import draw
from glimpse.duplicates.near_duplicates import clip_thumbnails, near_duplicates
from glimpse.frames.decoder import read_clip
from glimpse.split.leakage import COLUMNS, connected_components, leaked_test_clips, merge_groups

CLIPS = Path(os.environ.get("GLIMPSE_CLIPS", "not given"))
REAL = pytest.mark.skipif(not (CLIPS / "jhmdb-12").is_dir(), reason="set GLIMPSE_CLIPS to the folder of real clips")


def cropped(frame, top, left):
    """Crop a twentieth of the height and width; the fractions `top` and `left` of it at the start."""
    height, width = (round(0.05 * size) for size in frame.shape[:2])
    top, left = round(height * top), round(width * left)
    return frame[top : frame.shape[0] - height + top, left : frame.shape[1] - width + left]


KINDS = {
    "encoded again": lambda frames: frames,
    "scaled": lambda frames: [cv2.resize(f, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for f in frames],
    "cropped around": lambda frames: [cropped(f, 0.5, 0.5) for f in frames],
    "cropped at a corner": lambda frames: [cropped(f, 1, 0) for f in frames],
    "brighter": lambda frames: [cv2.convertScaleAbs(f, alpha=1.1, beta=20) for f in frames],
    "trimmed": lambda frames: frames[len(frames) // 5 :],
}


def write_copy(clip, path, kind):
    """Write a copy of a clip, changed and encoded again at low quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reader, frames = cv2.VideoCapture(str(clip)), []
    while (read := reader.read())[0]:
        frames.append(read[1])
    changed = KINDS[kind](frames)
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, draw.MJPG, 24, changed[0].shape[1::-1])
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 10)
    for frame in changed:
        writer.write(frame)
    writer.release()


def thumbnails(path):
    return clip_thumbnails([to_jpeg(frame) for frame in read_clip(path, 20, 176).candidates])


def test_copies_are_detected_and_clips_of_two_actors_never_match(tmp_path):
    clips = [(actor, action) for actor in range(10) for action in ("wave", "lift")]
    for actor, action in clips:
        draw.write_clip(tmp_path / f"{actor}{action}.avi", action, actor, 1, seed=0)
    originals = [thumbnails(tmp_path / f"{actor}{action}.avi") for actor, action in clips]
    hits, wrong = {}, []
    for kind in KINDS:
        copies = []
        for actor, action in clips:
            write_copy(tmp_path / f"{actor}{action}.avi", tmp_path / "copy.avi", kind)
            copies.append(thumbnails(tmp_path / "copy.avi"))
        pairs = {(first, second) for first, second, _ in near_duplicates(np.stack(originals + copies))}
        hits[kind] = sum((number, number + len(clips)) in pairs for number in range(len(clips)))
        actors = [actor for actor, _ in clips] * 2
        wrong += [(kind, clips[a % len(clips)], clips[b % len(clips)]) for a, b in pairs if actors[a] != actors[b]]
    assert not wrong, f"{len(wrong)} pairs across actors: {wrong}"
    assert sum(hits.values()) >= 0.9 * len(clips) * len(KINDS), f"detected of {len(clips)} copies each: {hits}"


@pytest.mark.parametrize("frames", [1, 2, 5, 20])
def test_frames_of_one_colour_match_none_for_any_number_of_frames(frames):
    flat = np.full((3, frames, 48, 64), 7, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (5, frames, 48, 64), np.uint8)
    pairs = near_duplicates(np.concatenate([flat, noise, noise]))
    assert [pair[:2] for pair in pairs] == [(3 + n, 8 + n) for n in range(5)]


def test_clips_with_the_same_background_differ_by_their_motion():
    """Six clips of one background, in each of which a block moves differently; the seventh is a copy of the first."""
    background = np.random.default_rng(0).integers(0, 200, (4, 5), np.uint8)
    clips = np.tile(cv2.resize(background, (64, 48), interpolation=cv2.INTER_CUBIC), (7, 20, 1, 1))
    for clip, (top, left, down, right) in enumerate([(4, 2, 0, 2), (4, 50, 0, -2), (30, 2, 0, 2), (4, 8, 1, 0),
                                                     (4, 40, 1, 0), (30, 50, -1, -2), (4, 2, 0, 2)]):  # fmt: skip
        for frame in range(20):
            row, column = top + down * frame, left + right * frame
            clips[clip, frame, row : row + 5, column : column + 5] = 255
    assert [pair[:2] for pair in near_duplicates(clips)] == [(0, 6)]


def test_groups_connected_over_any_number_of_pairs_are_merged_and_get_the_first_name():
    components = connected_components([("c", "b"), ("d", "e"), ("b", "a"), ("e", "d")])
    assert components == dict.fromkeys("abc", "a") | dict.fromkeys("de", "d") and connected_components([]) == {}
    assert merge_groups(list("zyxw"), list("abcd"), [("a", "b"), ("b", "c")]) == ["x", "x", "x", "w"]
    assert merge_groups(list("zy"), list("ab"), []) == ["z", "y"]


def test_a_test_clip_is_leaked_if_it_is_related_to_train_or_val_also_over_other_clips():
    rows = [("a", "b", "near duplicate", "test/train"), ("c", "d", "near duplicate", "test/test"),
            ("e", "f", "named", "test/test"), ("e", "g", "named", "test/val"),
            ("h", "i", "named", "test/")]  # fmt: skip
    table = pd.DataFrame([(*row, "reported") for row in rows], columns=COLUMNS)
    assert leaked_test_clips(table) == {"a", "e", "f"}
    assert leaked_test_clips(table[:0]) == set()


@pytest.fixture(scope="module")
def dataset_with_copy(tmp_path_factory):
    """A data set of six actors and two actions, with a copy of one clip under the other action and another group."""
    folder = tmp_path_factory.mktemp("leaks")
    for actor in range(6):
        for action in ("wave", "lift"):
            draw.write_clip(folder / f"clips/{action}/actor{actor}/1.avi", action, actor, 1, seed=0)
    write_copy(folder / "clips/wave/actor3/1.avi", folder / "clips/lift/stranger/1.avi", "cropped around")
    return folder


@pytest.fixture
def project(dataset_with_copy, tmp_path):
    (tmp_path / "clips").symlink_to(dataset_with_copy / "clips")
    return tmp_path


def run(folder, stage, *stages, **changes):
    """Run stages; return split.csv by clip, and leaks.csv."""
    write_params(folder, dataset="clips", **changes)
    for name in stages:
        stage(folder, name)
    split = pd.read_csv(folder / "data/split.csv", dtype=str, keep_default_na=False).set_index("clip")
    return split, pd.read_csv(folder / "data/leaks.csv", dtype=str, keep_default_na=False)


def test_a_copy_in_another_group_is_merged_into_one_group_and_one_split(project, stage, capsys):
    for seed in range(5):
        stages = ["split"] if seed else ["frames", "duplicates", "split"]
        split, leaks = run(project, stage, *stages, seed=seed)
        copy, original = split.loc["lift/stranger/1.avi"], split.loc["wave/actor3/1.avi"]
        assert copy["group"] == original["group"] == "actor3" and copy["split"] == original["split"]
        row = ["lift/stranger/1.avi", "wave/actor3/1.avi", "near duplicate"]
        assert row in leaks[["clip", "other", "reason"]].values.tolist()
        assert set(leaks["handling"]) == {"merged"} and set(split["leaked"]) == {""}
        out = capsys.readouterr().out
        assert "split: 2 groups merged into 1, because they contain near duplicates: data/leaks.csv" in out
        assert "WARNING" not in out


def test_two_runs_write_the_same_bytes(project, stage):
    outputs = []
    for _ in range(2):
        run(project, stage, "frames", "duplicates", "split")
        outputs.append([(project / f"data/{name}.csv").read_bytes() for name in ("duplicates", "split", "leaks")])
    assert outputs[0] == outputs[1]


def test_with_report_no_group_is_changed_and_leaks_are_reported(project, stage, capsys):
    run(project, stage, "frames", "duplicates", "split")
    for seed in range(20):  # with some seed one of the two clips is in test and the other is not
        split, leaks = run(project, stage, "split", seed=seed, **{"split.near_duplicates": "report"})
        splits = split.loc[["lift/stranger/1.avi", "wave/actor3/1.avi"], "split"]
        assert split.loc["lift/stranger/1.avi", "group"] == "stranger"
        assert set(leaks["handling"]) == {"reported"}
        out = capsys.readouterr().out
        leaked = splits.index[splits == "test"].tolist() if splits.nunique() == 2 else []
        assert split.index[split["leaked"] == "yes"].tolist() == leaked
        warning = "WARNING: 1 of" in out and "are near duplicates of clips of train or val (data/leaks.csv)" in out
        assert warning == bool(leaked)
        if warning:
            assert "Set split.near_duplicates to merge\n" in out
            return
    pytest.fail("no seed puts the copy and its original into different splits")


def write_tables(folder, clips, pairs=()):
    """Write clips.csv and duplicates.csv as the earlier stages would."""
    (folder / "data").mkdir(exist_ok=True)
    rows = [(clip, clip.split("/")[0], "/".join(clip.split("/")[1:-1])) for clip in clips]
    pd.DataFrame(rows, columns=["clip", "action", "folder"]).to_csv(folder / "data/clips.csv", index=False)
    table = pd.DataFrame([(*pair, "0.0") for pair in pairs], columns=["clip_a", "clip_b", "hash_distance"])
    table.to_csv(folder / "data/duplicates.csv", index=False)


def test_official_lists_are_never_changed_whatever_the_setting(tmp_path, stage, capsys):
    clips = [f"{action}/g{group}/1.avi" for action in "ab" for group in range(10)]
    write_tables(tmp_path, clips, [("a/g0/1.avi", "b/g8/1.avi"), ("a/g1/1.avi", "b/g9/1.avi")])
    (tmp_path / "lists").mkdir()
    test = [clip for clip in clips if clip[3] in "78"]
    (tmp_path / "lists/testlist01.txt").write_text("\n".join(test))
    (tmp_path / "lists/trainlist01.txt").write_text("\n".join(c for c in clips if c[3] in "0123456"))
    results = [
        run(tmp_path, stage, "split", **{"split.official_lists": "lists", "split.near_duplicates": value})
        for value in ("merge", "report")
    ]
    pd.testing.assert_frame_equal(results[0][0], results[1][0])
    split, leaks = results[0]
    assert set(split.index[split["split"] == "test"]) == set(test) and set(leaks["handling"]) == {"reported"}
    assert split.index[split["leaked"] == "yes"].tolist() == ["b/g8/1.avi"]
    assert leaks["splits"].tolist()[0].endswith("/test") and leaks["splits"].tolist()[1].endswith("/")
    out = capsys.readouterr().out
    assert (
        "WARNING: 1 of 4 test clips are near duplicates of clips" in out and "Official lists are never changed" in out
    )
    assert "groups merged" not in out


def test_groups_that_names_show_are_reported_if_the_setting_ignores_them(tmp_path, stage, capsys):
    clips = [f"{action}/{who}_{action}_{n}.avi" for action in ("sit", "run") for who in "abcd" for n in (1, 2, 3)]
    write_tables(tmp_path, clips)
    split, leaks = run(tmp_path, stage, "split", **{"split.group_by": "none"})
    assert len(leaks) == 4 * 5 and set(leaks["handling"]) == {"reported"}  # each clip beyond the first of an actor
    assert set(leaks["reason"]) == {"file names as in Weizmann (the first word is the actor)"}
    assert split["group"].nunique() == 24
    out = capsys.readouterr().out
    assert "test clips are related by name to clips of train or val" in out and "Set split.group_by to auto\n" in out
    _, leaks = run(tmp_path, stage, "split")
    assert leaks.empty and "WARNING" not in capsys.readouterr().out


def test_a_divided_group_that_names_show_leaks_all_its_test_clips(tmp_path, stage):
    """Also clips in the same split as the first clip of their group, with which they have no row."""
    clips = [f"a/g{group}/{n}.avi" for group in range(4) for n in range(3)]
    clips += [clip.replace("a/", "b/") for clip in clips]
    write_tables(tmp_path, clips)
    (tmp_path / "lists").mkdir()
    test = [clip for clip in clips if clip[3] == "3" or clip in ("a/g0/0.avi", "a/g0/1.avi")]
    (tmp_path / "lists/testlist01.txt").write_text("\n".join(test))
    (tmp_path / "lists/trainlist01.txt").write_text("\n".join(sorted(set(clips) - set(test))))
    split, leaks = run(tmp_path, stage, "split", **{"split.official_lists": "lists"})
    leaked = {"a/g0/0.avi", "a/g0/1.avi"}
    assert leaked_test_clips(leaks) == set(split.index[split["leaked"] == "yes"]) == leaked


def test_too_few_groups_after_merging_are_explained(tmp_path, stage):
    clips = [f"{action}/g{group}/1.avi" for action in "ab" for group in range(3)]
    write_tables(tmp_path, clips, [("a/g0/1.avi", "b/g2/1.avi")])
    with pytest.raises(
        SystemExit, match=r"fewer than 3 groups in a \(2\).*Groups with near duplicates were merged \(3 became 2\)"
    ):
        run(tmp_path, stage, "split")
    assert (tmp_path / "data/leaks.csv").exists()
    split, _ = run(tmp_path, stage, "split", **{"split.near_duplicates": "report"})
    assert split["group"].nunique() == 3


def test_a_pair_with_a_clip_that_does_not_exist_is_named(tmp_path, stage):
    write_tables(tmp_path, ["a/x/1.avi", "b/y/1.avi"], [("a/x/1.avi", "b/gone/1.avi")])
    with pytest.raises(SystemExit, match=r"b/gone/1\.avi is not among the usable clips"):
        run(tmp_path, stage, "split")


@REAL
def test_real_clips_without_groups_raise_a_warning_and_with_groups_none(tmp_path, stage, capsys):
    (tmp_path / "clips").symlink_to(CLIPS / "jhmdb-12")
    wrong = {"split.group_by": "none", "split.near_duplicates": "report"}
    run(tmp_path, stage, "frames", "duplicates", "split", **wrong)
    assert "test clips are near duplicates of or related by name to clips of train or val" in capsys.readouterr().out
    _, leaks = run(tmp_path, stage, "split")
    assert leaks.empty and "WARNING" not in capsys.readouterr().out
