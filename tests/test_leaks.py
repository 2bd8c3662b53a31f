"""Copies of clips are found, and split keeps them on one side, or says so."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import write_params

import demo
import duplicates
from glimpse.core import frame_store as store
from glimpse.duplicates.near_duplicates import near_duplicates
from glimpse.frames import decoder as video
from glimpse.split.leakage import connected_components, leaked_test_clips, merge_groups

CLIPS = Path(os.environ.get("GLIMPSE_CLIPS", "not given"))
REAL = pytest.mark.skipif(not (CLIPS / "jhmdb-12").is_dir(), reason="real clips not here: GLIMPSE_CLIPS names them")


def cropped(frame, top, left):
    """A frame without a twentieth of its height and width, `top` and `left` of which (0 to 1) at the start."""
    high, wide = (round(0.05 * size) for size in frame.shape[:2])
    top, left = round(high * top), round(wide * left)
    return frame[top : frame.shape[0] - high + top, left : frame.shape[1] - wide + left]


KINDS = {
    "encoded again": lambda frames: frames,
    "scaled": lambda frames: [cv2.resize(one, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for one in frames],
    "cropped around": lambda frames: [cropped(one, 0.5, 0.5) for one in frames],
    "cropped at a corner": lambda frames: [cropped(one, 1, 0) for one in frames],
    "brighter": lambda frames: [cv2.convertScaleAbs(one, alpha=1.1, beta=20) for one in frames],
    "trimmed": lambda frames: frames[len(frames) // 5 :],
}


def write_copy(clip, path, kind):
    """A copy of a clip, changed and encoded again at low quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reader, frames = cv2.VideoCapture(str(clip)), []
    while (read := reader.read())[0]:
        frames.append(read[1])
    changed = KINDS[kind](frames)
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, demo.MJPG, 24, changed[0].shape[1::-1])
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 10)
    for frame in changed:
        writer.write(frame)
    writer.release()


def pictures(path):
    return duplicates.thumbnails([store.to_jpeg(frame) for frame in video.read_clip(path, 20, 176).candidates])


def test_copies_are_found_and_no_two_actors_are_taken_for_one(tmp_path):
    clips = [(actor, action) for actor in range(10) for action in ("wave", "lift")]
    for actor, action in clips:
        demo.write_clip(tmp_path / f"{actor}{action}.avi", action, actor, 1, seed=0)
    originals = [pictures(tmp_path / f"{actor}{action}.avi") for actor, action in clips]
    hits, wrong = {}, []
    for kind in KINDS:
        copies = []
        for actor, action in clips:
            write_copy(tmp_path / f"{actor}{action}.avi", tmp_path / "copy.avi", kind)
            copies.append(pictures(tmp_path / "copy.avi"))
        pairs = {(first, second) for first, second, _ in near_duplicates(np.stack(originals + copies))}
        hits[kind] = sum((number, number + len(clips)) in pairs for number in range(len(clips)))
        actors = [actor for actor, _ in clips] * 2
        wrong += [(kind, clips[a % len(clips)], clips[b % len(clips)]) for a, b in pairs if actors[a] != actors[b]]
    assert not wrong, f"{len(wrong)} pairs across actors: {wrong}"
    assert sum(hits.values()) >= 0.9 * len(clips) * len(KINDS), f"found of {len(clips)} copies each: {hits}"


@pytest.mark.parametrize("frames", [1, 2, 5, 20])
def test_pictures_of_one_colour_are_like_none_however_few_the_frames(frames):
    flat = np.full((3, frames, 48, 64), 7, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (5, frames, 48, 64), np.uint8)
    pairs = near_duplicates(np.concatenate([flat, noise, noise]))
    assert [pair[:2] for pair in pairs] == [(3 + n, 8 + n) for n in range(5)]


def test_people_in_one_place_differ_by_what_moves():
    """Six clips of one place, a block moving its own way in each; the seventh is a copy of the first."""
    place = np.random.default_rng(0).integers(0, 200, (4, 5), np.uint8)
    shown = np.tile(cv2.resize(place, (64, 48), interpolation=cv2.INTER_CUBIC), (7, 20, 1, 1))
    for clip, (top, left, down, right) in enumerate([(4, 2, 0, 2), (4, 50, 0, -2), (30, 2, 0, 2), (4, 8, 1, 0),
                                                     (4, 40, 1, 0), (30, 50, -1, -2), (4, 2, 0, 2)]):  # fmt: skip
        for frame in range(20):
            row, column = top + down * frame, left + right * frame
            shown[clip, frame, row : row + 5, column : column + 5] = 255
    assert [pair[:2] for pair in near_duplicates(shown)] == [(0, 6)]


def test_groups_joined_by_any_chain_are_one_and_named_after_the_first():
    assert connected_components([("c", "b"), ("d", "e"), ("b", "a"), ("e", "d")]) == dict.fromkeys("abc", "a") | {
        "d": "d",
        "e": "d",
    }
    assert merge_groups(list("zyxw"), list("abcd"), [("a", "b"), ("b", "c")]) == ["x", "x", "x", "w"]
    assert merge_groups(list("zy"), list("ab"), []) == ["z", "y"]


def test_a_test_clip_is_exposed_by_what_training_sees_through_chains_too():
    rows = [("a", "b", "looks alike", "test/train"), ("c", "d", "looks alike", "test/test"),
            ("e", "f", "named", "test/test"), ("e", "g", "named", "test/val"),
            ("h", "i", "named", "test/")]  # fmt: skip
    table = pd.DataFrame([(*row, "reported") for row in rows], columns=["clip", "like", "why", "parts", "done"])
    assert leaked_test_clips(table) == {"a", "e", "f"}
    assert leaked_test_clips(table[:0]) == set()


@pytest.fixture(scope="module")
def copied_clip(tmp_path_factory):
    """A data set of six actors in two actions, and a copy of one clip under the other action and another's name."""
    folder = tmp_path_factory.mktemp("leaks")
    for actor in range(6):
        for action in ("wave", "lift"):
            demo.write_clip(folder / f"clips/{action}/actor{actor}/1.avi", action, actor, 1, seed=0)
    write_copy(folder / "clips/wave/actor3/1.avi", folder / "clips/lift/stranger/1.avi", "cropped around")
    return folder


@pytest.fixture
def project(copied_clip, tmp_path):
    (tmp_path / "clips").symlink_to(copied_clip / "clips")
    return tmp_path


def run(folder, stage, *stages, **changes):
    """Run stages; returns split.csv by clip, and leaks.csv."""
    write_params(folder, dataset="clips", **changes)
    for name in stages:
        stage(folder, name)
    split = pd.read_csv(folder / "data/split.csv", dtype=str).set_index("clip")
    return split, pd.read_csv(folder / "data/leaks.csv", dtype=str, keep_default_na=False)


def test_a_copy_under_another_name_is_joined_and_never_straddles(project, stage, capsys):
    for seed in range(5):
        stages = ["split"] if seed else ["frames", "duplicates", "split"]
        split, rows = run(project, stage, *stages, seed=seed)
        one, other = split.loc["lift/stranger/1.avi"], split.loc["wave/actor3/1.avi"]
        assert one["group"] == other["group"] == "actor3" and one["part"] == other["part"]
        assert ["lift/stranger/1.avi", "wave/actor3/1.avi", "looks alike"] in rows[
            ["clip", "like", "why"]
        ].values.tolist()
        assert set(rows["done"]) == {"joined"}
        out = capsys.readouterr().out
        assert "split: 2 groups joined to 1, since clips in them look alike: data/leaks.csv" in out
        assert "WARNING" not in out


def test_two_runs_write_the_same_bytes(project, stage):
    made = []
    for _ in range(2):
        run(project, stage, "frames", "duplicates", "split")
        made.append([(project / f"data/{name}.csv").read_bytes() for name in ("alike", "split", "leaks")])
    assert made[0] == made[1]


def test_with_report_nothing_is_changed_but_said(project, stage, capsys):
    run(project, stage, "frames", "duplicates", "split")
    for seed in range(20):  # some seed takes the copy's clip into the test part and its original not
        split, rows = run(project, stage, "split", seed=seed, **{"split.near_duplicates": "report"})
        parts = {split.loc[clip, "part"] for clip in ("lift/stranger/1.avi", "wave/actor3/1.avi")}
        assert split.loc["lift/stranger/1.avi", "group"] == "stranger"
        assert set(rows["done"]) == {"reported"}
        out = capsys.readouterr().out
        warned = "test clips look like clips the training sees (data/leaks.csv)" in out
        assert warned == ("test" in parts and len(parts) == 2)
        if warned:
            assert "Set split.near_duplicates to join\n" in out
            return
    pytest.fail("no seed parts the copy from its original")


def table_of(folder, clips, pairs=()):
    """clips.csv and alike.csv as the stages before would leave them."""
    (folder / "data").mkdir(exist_ok=True)
    rows = [(clip, clip.split("/")[0], "/".join(clip.split("/")[1:-1])) for clip in clips]
    pd.DataFrame(rows, columns=["clip", "action", "folder"]).to_csv(folder / "data/clips.csv", index=False)
    pd.DataFrame([(*pair, "0.0") for pair in pairs], columns=["clip", "like", "differ"]).to_csv(
        folder / "data/alike.csv", index=False
    )


def test_official_lists_are_not_changed_whatever_the_setting(tmp_path, stage, capsys):
    clips = [f"{action}/g{group}/1.avi" for action in "ab" for group in range(10)]
    table_of(tmp_path, clips, [("a/g0/1.avi", "b/g8/1.avi"), ("a/g1/1.avi", "b/g9/1.avi")])
    (tmp_path / "lists").mkdir()
    test = [clip for clip in clips if clip[3] in "78"]
    (tmp_path / "lists/testlist01.txt").write_text("\n".join(test))
    (tmp_path / "lists/trainlist01.txt").write_text("\n".join(c for c in clips if c[3] in "0123456"))
    made = [
        run(tmp_path, stage, "split", **{"split.official_lists": "lists", "split.near_duplicates": how})
        for how in ("join", "report")
    ]
    pd.testing.assert_frame_equal(made[0][0], made[1][0])
    split, rows = made[0]
    assert set(split.index[split["part"] == "test"]) == set(test) and set(rows["done"]) == {"reported"}
    assert rows["parts"].tolist()[0].endswith("/test") and rows["parts"].tolist()[1].endswith("/")
    out = capsys.readouterr().out
    assert "WARNING: 1 of 4 test clips look like clips" in out and "The official lists have it so" in out
    assert "groups joined" not in out


def test_groups_that_names_give_away_are_reported_when_the_setting_ignores_them(tmp_path, stage, capsys):
    clips = [f"{action}/{who}_{action}_{n}.avi" for action in ("sit", "run") for who in "abcd" for n in (1, 2, 3)]
    table_of(tmp_path, clips)
    split, rows = run(tmp_path, stage, "split", **{"split.group_by": "none"})
    assert len(rows) == 4 * 5 and set(rows["done"]) == {"reported"}  # each clip beyond the first of an actor
    assert set(rows["why"]) == {"file names as in Weizmann (the first word is the actor)"}
    assert split["group"].nunique() == 24
    out = capsys.readouterr().out
    assert "test clips are named like clips the training sees" in out and "Set split.group_by to auto\n" in out
    split, rows = run(tmp_path, stage, "split")
    assert rows.empty and "WARNING" not in capsys.readouterr().out


def test_a_named_group_torn_apart_exposes_all_its_test_clips(tmp_path, stage):
    """Also those in one part with the first of their group, by whom they have no row of their own."""
    clips = [f"a/g{group}/{n}.avi" for group in range(4) for n in range(3)]
    clips += [clip.replace("a/", "b/") for clip in clips]
    table_of(tmp_path, clips)
    (tmp_path / "lists").mkdir()
    test = [clip for clip in clips if clip[3] == "3" or clip in ("a/g0/0.avi", "a/g0/1.avi")]
    (tmp_path / "lists/testlist01.txt").write_text("\n".join(test))
    (tmp_path / "lists/trainlist01.txt").write_text("\n".join(sorted(set(clips) - set(test))))
    _, rows = run(tmp_path, stage, "split", **{"split.official_lists": "lists"})
    assert leaked_test_clips(rows) == {"a/g0/0.avi", "a/g0/1.avi"}


def test_too_few_groups_because_of_joining_is_said(tmp_path, stage):
    clips = [f"{action}/g{group}/1.avi" for action in "ab" for group in range(3)]
    table_of(tmp_path, clips, [("a/g0/1.avi", "b/g2/1.avi")])
    with pytest.raises(SystemExit, match=r"fewer than 3 groups in a \(2\).*Groups were joined \(3 became 2\)"):
        run(tmp_path, stage, "split")
    assert (tmp_path / "data/leaks.csv").exists()
    split, _ = run(tmp_path, stage, "split", **{"split.near_duplicates": "report"})
    assert split["group"].nunique() == 3


def test_a_pair_of_clips_that_are_gone_is_named(tmp_path, stage):
    table_of(tmp_path, ["a/x/1.avi", "b/y/1.avi"], [("a/x/1.avi", "b/gone/1.avi")])
    with pytest.raises(SystemExit, match=r"b/gone/1\.avi is not among the usable clips"):
        run(tmp_path, stage, "split")


@REAL
def test_real_clips_grouped_wrongly_raise_the_alarm_and_grouped_rightly_none(tmp_path, stage, capsys):
    (tmp_path / "clips").symlink_to(CLIPS / "jhmdb-12")
    run(
        tmp_path,
        stage,
        "frames",
        "duplicates",
        "split",
        **{"split.group_by": "none", "split.near_duplicates": "report"},
    )
    assert "test clips look like, or are named like, clips the training sees" in capsys.readouterr().out
    _, rows = run(tmp_path, stage, "split")
    assert rows.empty and "WARNING" not in capsys.readouterr().out
