"""Groups and splits: no group is divided, every split has every action, and added clips move few others."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, write_params

from glimpse.core.params_file import load_params, with_overrides
from glimpse.core.settings import parse_settings
from glimpse.split.assign import assign_splits, check_splits
from glimpse.split.groups import assign_group_names
from glimpse.split.stratified import assign_groups

SHARED = ROOT.parent / "shared/data"


def clips_csv(*clips):
    """The columns of clips.csv that follow from the names of clips."""
    folders = ["/".join(clip.split("/")[1:-1]) for clip in clips]
    return pd.DataFrame({"clip": clips, "action": [clip.split("/")[0] for clip in clips], "folder": folders})


def clip_table(groups, actions, clips_each=2, both=False):
    """A data set: `groups` groups with `clips_each` clips of one action each in turn, or of all actions (`both`)."""
    rows = []
    for group in range(groups):
        for action in range(actions) if both else [group % actions]:
            rows += [(f"a{action}/g{group}_{n}.avi", f"a{action}", f"g{group}") for n in range(clips_each)]
    return pd.DataFrame(rows, columns=["clip", "action", "group"])


def splits_of(table, seed=0, folds=0, fold=0):
    overrides = {"split.test": 0.25, "split.val": 0.2, "split.folds": folds, "split.fold": fold}
    settings = parse_settings(with_overrides(load_params(ROOT / "params.yaml"), overrides))
    return assign_splits(table, settings.split, {}, seed)


TABLES = [clip_table(30, 5), clip_table(9, 10, 1, both=True), clip_table(61, 4, 3), clip_table(12, 2, 1, both=True)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_divided_and_every_split_has_every_action(table, seed):
    splits = splits_of(table, seed)
    assert (splits.groupby(table["group"]).nunique() == 1).all()
    assert table.assign(split=splits).groupby("action")["split"].nunique().eq(3).all()


@pytest.mark.parametrize("table", TABLES)
def test_the_shares_are_as_close_as_groups_allow(table):
    largest = table.groupby(["action", "group"]).size().groupby("action").max()
    for split, share in {"test": 0.25, "val": 0.2}.items():
        counts = table["action"][splits_of(table) == split].value_counts()
        expected = table["action"].value_counts() * share
        assert (abs(counts - expected) <= largest).all()


@pytest.mark.parametrize(("table", "folds"), [(TABLES[0], 5), (TABLES[1], 9), (TABLES[2], 4), (TABLES[3], 12)])
def test_folds_test_every_clip_once_and_evenly(table, folds):
    folds_splits = [splits_of(table, folds=folds, fold=fold) for fold in range(folds)]
    tested = sum((splits == "test").astype(int) for splits in folds_splits)
    assert (tested == 1).all()
    for splits in folds_splits:
        assert (splits.groupby(table["group"]).nunique() == 1).all()
        groups = table[splits == "test"].groupby("action")["group"].nunique()
        assert (abs(groups - table.groupby("action")["group"].nunique() / folds) < 1).all()
        assert {"train", "val"} < set(splits)


@pytest.mark.parametrize("folds", [0, 5])
@pytest.mark.parametrize("both", [False, True])
def test_an_added_group_moves_few_others(folds, both):
    table = clip_table(40, 4, both=both)
    moved = []
    for added in range(40, 60):
        wider = pd.concat([table, clip_table(added + 1, 4, both=both).query(f"group == 'g{added}'")], ignore_index=True)
        before, after = splits_of(table, folds=folds), splits_of(wider, folds=folds)[: len(table)]
        moved.append(table["group"][(before != after)].nunique())
    assert np.mean(moved) <= 3 and max(moved) <= 8


def test_the_split_depends_on_the_seed_and_the_names_alone():
    table = TABLES[0]
    shuffled = table.sample(frac=1, random_state=1)
    assert (splits_of(shuffled).sort_index() == splits_of(table)).all()
    assert any((splits_of(table, seed) != splits_of(table)).any() for seed in range(1, 4))


def test_a_split_that_would_lack_an_action_gets_a_group_of_it():
    class_counts = {f"g{n}": {"many": 3} for n in range(20)} | {f"r{n}": {"rare": 1} for n in range(3)}
    splits = assign_groups(class_counts, {"train": 0.8, "val": 0.1, "test": 0.1}, 0)
    assert {splits[f"r{n}"] for n in range(3)} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("clips", "groups", "description"),
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
def test_groups_come_from_the_rule_that_fits_every_clip(clips, groups, description):
    assert assign_group_names(clips_csv(*clips), "auto", {}) == (groups, description)


def test_manual_groups_come_first_then_the_users_pattern():
    clips = clips_csv("a/anna/x1.avi", "b/anna/y2.avi")
    assert assign_group_names(clips, "auto", {"a/anna/x1.avi": "p", "b/anna/y2.avi": "q"})[0] == ["p", "q"]
    assert assign_group_names(clips, r"([xy])\d", {})[0] == ["x", "y"]
    assert assign_group_names(clips, "none", {})[0] == ["a/anna/x1.avi", "b/anna/y2.avi"]
    with pytest.raises(SystemExit, match=r"split\.group_by is \(z\), which gives no group for a/anna/x1"):
        assign_group_names(clips, "(z)", {})
    with pytest.raises(SystemExit, match=r"no group for b/anna/y2\.avi"):
        assign_group_names(clips, "auto", {"a/anna/x1.avi": "p"})


@pytest.fixture
def project(tmp_path):
    """A folder with params.yaml and a clips.csv of 24 clips, 12 groups, 2 actions."""
    (tmp_path / "data").mkdir()
    rows = [(f"{a}/{g:02d}/{n}.avi", a, f"{g:02d}") for a, g, n in itertools.product("ab", range(12), range(1))]
    pd.DataFrame(rows, columns=["clip", "action", "folder"]).to_csv(tmp_path / "data/clips.csv", index=False)
    (tmp_path / "data/duplicates.csv").write_text("clip_a,clip_b,hash_distance\n")
    write_params(tmp_path)
    return tmp_path


def test_label_corrections_are_applied_and_rows_of_unknown_clips_are_named(project, stage, capsys):
    (project / "data/labels.csv").write_text("clip,action\na/03/0.avi,b\na/99/0.avi,b\n")
    stage(project, "split")
    table = pd.read_csv(project / "data/split.csv", dtype=str).set_index("clip")
    assert table.loc["a/03/0.avi", "action"] == "b" and (table["action"] == "b").sum() == 13
    out = capsys.readouterr().out
    assert "a/99/0.avi is not among the usable clips" in out and "groups by the subfolder: 12 groups of 24" in out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.csv", "file,action\nx,y\n", "has no column clip"),
        ("labels.csv", "clip,action\na/03/0.avi,b\na/03/0.avi,a\n", "has more than one row"),
        ("labels.csv", "clip,action\na/03/0.avi,\n", "has no action"),
        ("groups.csv", "clip,group\na/03/0.avi,x\n", "no group for"),
        ("clips.csv", "clip\nx\n", "has no column action, folder"),
    ],
)
def test_manual_tables_are_checked(project, stage, name, text, message):
    (project / "data" / name).write_text(text)
    with pytest.raises(SystemExit, match=message):
        stage(project, "split")


def test_too_few_groups_and_splits_without_an_action_are_named(project, stage):
    clips = [f"{a}/{g}/0.avi" for a in "ab" for g in range(12 if a == "a" else 2)]
    table = pd.DataFrame({"clip": clips, "action": [c[0] for c in clips], "folder": [c.split("/")[1] for c in clips]})
    table.to_csv(project / "data/clips.csv", index=False)
    with pytest.raises(SystemExit, match=r"fewer than 3 groups in b \(2\)"):
        stage(project, "split")
    with pytest.raises(SystemExit, match="test lacks b"):
        groups, splits = list("123123"), ["train", "val", "test", "train", "val", "val"]
        columns = {"action": list("aaabbb"), "original_group": groups, "group": groups, "split": splits}
        check_splits(pd.DataFrame(columns))


def test_official_lists_are_followed_and_val_is_taken_from_train_by_group(project, stage):
    table = pd.read_csv(project / "data/clips.csv", dtype=str)
    lists = project / "lists"
    lists.mkdir()
    train, test = table["clip"][table["folder"] < "08"], table["clip"][table["folder"].between("08", "10")]
    (lists / "trainlist02.txt").write_text("".join(f"{clip} 1\n" for clip in train))
    (lists / "testlist02.txt").write_text("".join(f"{clip}\n" for clip in [*test, "a/not here/0.avi"]))
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 2})
    stage(project, "split")
    split = pd.read_csv(project / "data/split.csv", dtype=str)
    assert set(split["clip"][split["split"] == "test"]) == set(test)
    assert set(split["clip"][split["split"] != "test"]) == set(train)
    assert (split.groupby("group")["split"].nunique() == 1).all() and (split["split"] == "val").any()
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 1})
    with pytest.raises(SystemExit, match=r"trainlist01\.txt"):
        stage(project, "split")
    write_params(project, **{"split.official_lists": "lists", "split.official_split": 2, "split.folds": 3})
    with pytest.raises(SystemExit, match=r"split\.folds is 3, but lists contains official lists"):
        stage(project, "split")
    for path in lists.iterdir():
        path.rename(lists / f"{path.stem}.csv")
    with pytest.raises(
        SystemExit, match=r"split\.official_lists: lists contains testlist02\.csv, but no trainlist02\.txt"
    ):
        stage(project, "split")


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of real clips does not exist")
@pytest.mark.parametrize(("name", "groups"), [("ucf101-5", 121), ("weizmann", 9), ("jhmdb-12", 139)])
def test_the_naming_rules_fit_the_real_data_sets(name, groups):
    clips = [path.relative_to(SHARED / name).as_posix() for path in sorted((SHARED / name).glob("*/*.avi"))]
    assert len(set(assign_group_names(clips_csv(*clips), "auto", {})[0])) == groups
