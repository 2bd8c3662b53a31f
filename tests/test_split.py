"""Groups and parts: nobody is on both sides, every action on each, and little moves when clips come."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, write_params

import split
from glimpse.split.groups import assign_group_names
from glimpse.split.stratified import assign_groups

SHARED = ROOT.parent / "shared/data"


def rows(*clips):
    """Rows as in clips.csv, from clip names."""
    folders = ["/".join(clip.split("/")[1:-1]) for clip in clips]
    return [SimpleNamespace(clip=c, action=c.split("/")[0], folder=f) for c, f in zip(clips, folders, strict=True)]


def table_of(groups, actions, clips_each=2, both=False):
    """A data set: `groups` groups with `clips_each` clips of one action each in turn, or of all actions (`both`)."""
    held = []
    for group in range(groups):
        for action in range(actions) if both else [group % actions]:
            held += [(f"a{action}/g{group}_{n}.avi", f"a{action}", f"g{group}") for n in range(clips_each)]
    return pd.DataFrame(held, columns=["clip", "action", "group"])


def parts_of(table, seed=0, folds=0, fold=0, lists=None):
    return split.assign_splits(table, 0.25, 0.2, folds, fold, lists or {}, seed)


TABLES = [table_of(30, 5), table_of(9, 10, 1, both=True), table_of(61, 4, 3), table_of(12, 2, 1, both=True)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("seed", range(5))
def test_a_group_never_straddles_and_every_part_has_every_action(table, seed):
    parts = parts_of(table, seed)
    assert (parts.groupby(table["group"]).nunique() == 1).all()
    assert table.assign(part=parts).groupby("action")["part"].nunique().eq(3).all()


@pytest.mark.parametrize("table", TABLES)
def test_the_shares_are_kept_as_far_as_groups_allow(table):
    largest = table.groupby(["action", "group"]).size().groupby("action").max()
    for part, share in {"test": 0.25, "val": 0.2}.items():
        held = table["action"][parts_of(table) == part].value_counts()
        wanted = table["action"].value_counts() * share
        assert (abs(held - wanted) <= largest).all()


@pytest.mark.parametrize(("table", "folds"), [(TABLES[0], 5), (TABLES[1], 9), (TABLES[2], 4), (TABLES[3], 12)])
def test_folds_test_every_clip_once_and_evenly(table, folds):
    parts = [parts_of(table, folds=folds, fold=fold) for fold in range(folds)]
    tested = sum((part == "test").astype(int) for part in parts)
    assert (tested == 1).all()
    for part in parts:
        assert (part.groupby(table["group"]).nunique() == 1).all()
        groups = table[part == "test"].groupby("action")["group"].nunique()
        assert (abs(groups - table.groupby("action")["group"].nunique() / folds) < 1).all()
        assert {"train", "val"} < set(part)


@pytest.mark.parametrize("folds", [0, 5])
@pytest.mark.parametrize("both", [False, True])
def test_an_added_group_moves_few_others(folds, both):
    table = table_of(40, 4, both=both)
    moved = []
    for added in range(40, 60):
        wider = pd.concat([table, table_of(added + 1, 4, both=both).query(f"group == 'g{added}'")], ignore_index=True)
        before, after = parts_of(table, folds=folds), parts_of(wider, folds=folds)[: len(table)]
        moved.append(table["group"][(before != after)].nunique())
    assert np.mean(moved) <= 3 and max(moved) <= 8


def test_the_seed_and_the_names_alone_decide():
    table = TABLES[0]
    shuffled = table.sample(frac=1, random_state=1)
    assert (parts_of(shuffled).sort_index() == parts_of(table)).all()
    assert any((parts_of(table, seed) != parts_of(table)).any() for seed in range(1, 4))


def test_a_part_that_would_lack_an_action_gets_a_group_of_it():
    holdings = {f"g{n}": {"many": 3} for n in range(20)} | {f"r{n}": {"rare": 1} for n in range(3)}
    parts = assign_groups(holdings, {"train": 0.8, "val": 0.1, "test": 0.1}, 0)
    assert {parts[f"r{n}"] for n in range(3)} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("clips", "groups", "words"),
    [
        (["a/anna/1.avi", "a/bob/1.avi", "b/anna/2.avi"], ["anna", "bob", "anna"], "the subfolder"),
        ([f"Surf/v_Surf_g0{g}_c0{c}.avi" for g in (1, 2, 3) for c in (1, 2)],
         [f"v_Surf_g0{g}" for g in (1, 2, 3) for c in (1, 2)], "file names as in UCF101 (action and gNN)"),
        ([f"boxing/person0{p}_boxing_d{d}_uncomp.avi" for p in (1, 2, 3) for d in (1, 2)],
         [f"person0{p}" for p in (1, 2, 3) for d in (1, 2)], "file names as in KTH (personNN)"),
        ([f"kick ball/My_{n}_Film_kick_ball_f_cm_np1_le_med_{k}.avi" for n in "abc" for k in (0, 1)],
         [f"My_{n}_Film" for n in "abc" for k in (0, 1)], "file names as in HMDB51 (the name before the action)"),
        ([f"sit_down/{n}_sit_down_{k}.avi" for n in ("lena", "ido", "eli") for k in (1, 2)],
         [n for n in ("lena", "ido", "eli") for k in (1, 2)], 
         "file names as in Weizmann (the first word is the actor)"),
        (["a/1.avi", "a/2.avi", "b/v_b_g01_c01.avi"], ["a/1.avi", "a/2.avi", "b/v_b_g01_c01.avi"], "each clip alone"),
        (["a/clip_a1.avi", "a/clip_a2.avi"], ["a/clip_a1.avi", "a/clip_a2.avi"], "each clip alone"),
    ],
)  # fmt: skip
def test_groups_are_told_by_the_rule_that_fits_every_clip(clips, groups, words):
    assert assign_group_names(rows(*clips), "auto", {}) == (groups, words)


def test_groups_by_hand_come_first_then_the_users_pattern():
    clips = rows("a/anna/x1.avi", "b/anna/y2.avi")
    assert assign_group_names(clips, "auto", {"a/anna/x1.avi": "p", "b/anna/y2.avi": "q"})[0] == ["p", "q"]
    assert assign_group_names(clips, r"([xy])\d", {})[0] == ["x", "y"]
    assert assign_group_names(clips, "none", {})[0] == ["a/anna/x1.avi", "b/anna/y2.avi"]
    with pytest.raises(SystemExit, match=r"split\.group is \(z\), which finds no group in a/anna/x1"):
        assign_group_names(clips, "(z)", {})
    with pytest.raises(SystemExit, match=r"no group for b/anna/y2\.avi"):
        assign_group_names(clips, "auto", {"a/anna/x1.avi": "p"})


@pytest.fixture
def project(tmp_path):
    """A folder with params.yaml and a clips.csv of 24 clips, 12 groups, 2 actions."""
    (tmp_path / "data").mkdir()
    named = [(f"{a}/{g:02d}/{n}.avi", a, f"{g:02d}") for a, g, n in itertools.product("ab", range(12), range(1))]
    pd.DataFrame(named, columns=["clip", "action", "folder"]).to_csv(tmp_path / "data/clips.csv", index=False)
    (tmp_path / "data/alike.csv").write_text("clip,like,differ\n")
    write_params(tmp_path)
    return tmp_path


def test_corrected_labels_are_respected_and_rows_for_unknown_clips_named(project, stage, capsys):
    (project / "data/labels.csv").write_text("clip,action\na/03/0.avi,b\na/99/0.avi,b\n")
    stage(project, "split")
    table = pd.read_csv(project / "data/split.csv", dtype=str).set_index("clip")
    assert table.loc["a/03/0.avi", "action"] == "b" and (table["action"] == "b").sum() == 13
    out = capsys.readouterr().out
    assert "a/99/0.avi is not among the usable clips" in out and "groups by the subfolder: 12 groups of 24" in out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.csv", "file,action\nx,y\n", "has no column clip"),
        ("labels.csv", "clip,action\na/03/0.avi,b\na/03/0.avi,a\n", "stands there twice"),
        ("labels.csv", "clip,action\na/03/0.avi,\n", "has no action"),
        ("groups.csv", "clip,group\na/03/0.avi,x\n", "no group for"),
        ("clips.csv", "clip\nx\n", "has no column action, folder"),
    ],
)
def test_tables_kept_by_hand_are_checked(project, stage, name, text, words):
    (project / "data" / name).write_text(text)
    with pytest.raises(SystemExit, match=words):
        stage(project, "split")


def test_too_few_groups_and_parts_without_an_action_are_named(project, stage):
    clips = [f"{a}/{g}/0.avi" for a in "ab" for g in range(12 if a == "a" else 2)]
    table = pd.DataFrame({"clip": clips, "action": [c[0] for c in clips], "folder": [c.split("/")[1] for c in clips]})
    table.to_csv(project / "data/clips.csv", index=False)
    with pytest.raises(SystemExit, match=r"fewer than 3 groups in b \(2\)"):
        stage(project, "split")
    with pytest.raises(SystemExit, match="test lacks b"):
        split.check_splits(pd.DataFrame({"action": list("aaabbb"), "group": list("123123"),
                                  "part": ["train", "val", "test", "train", "val", "val"]}),
                    pd.Series(list("123123")))  # fmt: skip


def test_official_lists_are_followed_and_val_is_taken_from_train_by_group(project, stage):
    table = pd.read_csv(project / "data/clips.csv", dtype=str)
    lists = project / "lists"
    lists.mkdir()
    train, test = table["clip"][table["folder"] < "08"], table["clip"][table["folder"].between("08", "10")]
    (lists / "trainlist02.txt").write_text("".join(f"{clip} 1\n" for clip in train))
    (lists / "testlist02.txt").write_text("".join(f"{clip}\n" for clip in [*test, "a/not here/0.avi"]))
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 2})
    stage(project, "split")
    made = pd.read_csv(project / "data/split.csv", dtype=str)
    assert set(made["clip"][made["part"] == "test"]) == set(test)
    assert set(made["clip"][made["part"] != "test"]) == set(train)
    assert (made.groupby("group")["part"].nunique() == 1).all() and (made["part"] == "val").any()
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 1})
    with pytest.raises(SystemExit, match=r"trainlist01\.txt"):
        stage(project, "split")
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 2, "split.folds": 3})
    with pytest.raises(SystemExit, match=r"split\.folds is 3, but lists has official lists"):
        stage(project, "split")
    for path in lists.iterdir():
        path.rename(lists / f"{path.stem}.csv")
    with pytest.raises(SystemExit, match=r"split\.lists: lists has testlist02\.csv, but no trainlist02\.txt"):
        stage(project, "split")


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of real clips is not here")
@pytest.mark.parametrize(("name", "groups"), [("ucf101-5", 121), ("weizmann", 9), ("jhmdb-12", 139)])
def test_the_naming_rules_fit_the_real_data_sets(name, groups):
    clips = [path.relative_to(SHARED / name).as_posix() for path in sorted((SHARED / name).glob("*/*.avi"))]
    assert len(set(assign_group_names(rows(*clips), "auto", {})[0])) == groups
