"""Figures: they are what the tables say, and predict says of a clip what evaluate says."""

import csv
import json
import sys

import cv2
import numpy as np
import pandas as pd
import picture
import predict
import pytest
from conftest import write_clip

import evaluate
from evaluate import accuracy_and_recall
from glimpse.model import network as model


def test_accuracy_and_recall_are_worked_out_per_clip_and_per_action():
    probabilities = np.eye(3)[[0, 0, 0, 1, 2, 2]].astype(np.float32)
    found = accuracy_and_recall(probabilities, np.array([0, 0, 1, 1, 1, 2]))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["recall"] == pytest.approx((2 / 2 + 1 / 3 + 1 / 1) / 3)


def test_the_metrics_agree_with_the_table_of_every_test_clip(trained):
    metrics = json.loads((trained / "metrics/test.json").read_text())
    split = pd.read_csv(trained / "data/split.csv")
    for approach in ("first5", "all10"):
        table = pd.read_csv(trained / f"metrics/predictions-{approach}.csv")
        assert set(table["clip"]) == set(split["clip"][split["part"] == "test"]) and len(table) == metrics["n"]
        right = table["action"] == table["predicted"]
        assert metrics[approach]["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
        assert metrics[approach]["recall"] == pytest.approx(right.groupby(table["action"]).mean().mean(), abs=1e-4)
        chances = table.filter(like="p(")
        assert np.allclose(chances.sum(axis=1), 1, atol=1e-4)
        assert (chances.idxmax(axis=1) == "p(" + table["predicted"] + ")").all()


def test_a_model_made_with_other_versions_is_said_in_one_line(copied, stage, capsys, monkeypatch):
    here = evaluate.versions()
    stage(copied, "evaluate")
    assert "was made with" not in capsys.readouterr().out
    monkeypatch.setattr(evaluate, "versions", lambda: here | {"torch": "99.0", "cv2": "98.0"})
    stage(copied, "evaluate")
    said = [line for line in capsys.readouterr().out.splitlines() if "was made with" in line]
    made = f"was made with cv2 {here['cv2']}, torch {here['torch']}: here, figures may differ in the last digits"
    assert said == [f"evaluate: models/{approach}/model.pt {made}" for approach in ("first5", "all10")]


def test_alarms_judge_val_by_the_model_that_had_not_been_trained_on_it(copied, stage):
    kept = model.load(copied / "models/first5/model.pt")
    kept["val"]["right"] = [False] * len(kept["val"]["right"])
    model.save(copied / "models/first5/model.pt", {key: value for key, value in kept.items() if key != "format"})
    stage(copied, "evaluate")
    alarms = pd.read_csv(copied / "metrics/alarms.csv")
    of = alarms[alarms["alarm"] == "train far above val"].set_index("approach")["sentence"]
    assert "on 0% of val" in of["first5"] and "all10" not in of


def test_the_early_curve_ends_at_the_accuracy_and_has_every_frame(trained):
    early = pd.read_csv(trained / "metrics/early.csv")
    metrics = json.loads((trained / "metrics/test.json").read_text())
    assert early["frames"].tolist() == list(range(1, 11))
    assert set(early["first5"][4:]) == {metrics["first5"]["accuracy"]}  # it reads no more, its answer stands
    assert early["all10"][9] == metrics["all10"]["accuracy"] and early["all10"].nunique() > 2


def test_four_subsets_of_clips_the_models_know(trained):
    subsets, split = pd.read_csv(trained / "metrics/subsets.csv"), pd.read_csv(trained / "data/split.csv")
    assert len(subsets) == 4 and set(subsets["seen_clips"]) == {(split["part"] != "test").sum() // 2}
    assert subsets.filter(regex="_(accuracy|recall)").stack().between(0, 1).all()


def test_recall_of_each_action_comes_with_its_clips(trained):
    recall = pd.read_csv(trained / "metrics/recall.csv")
    metrics = json.loads((trained / "metrics/test.json").read_text())
    assert recall["clips"].sum() == metrics["n"]
    assert recall["all10"].mean() == pytest.approx(metrics["all10"]["recall"], abs=1e-3)


def run_predict(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    predict.main()
    return capsys.readouterr()


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_predict_gives_the_probabilities_of_evaluate(trained, monkeypatch, capsys, approach):
    table = pd.read_csv(trained / f"metrics/predictions-{approach}.csv")
    paths = [trained / "data/demo" / clip for clip in table["clip"]]
    out = run_predict(monkeypatch, capsys, *paths, "--model", trained / f"models/{approach}/model.pt", "--csv").out
    said = pd.DataFrame(list(csv.DictReader(out.splitlines())))
    chances = [name for name in table if name.startswith("p(")]
    assert abs(said[chances].astype(float).to_numpy() - table[chances].to_numpy()).max() <= 1e-4
    assert said["settled_after"].astype(int).tolist() == table["settled_after"].tolist()


def test_predict_tells_people_and_programs(trained, monkeypatch, capsys):
    model = ["--model", trained / "models/all10/model.pt"]
    folder = trained / "data/demo/wave"
    lines = run_predict(monkeypatch, capsys, folder, *model, "--json").out.splitlines()
    keys = ["clip", "action", "known", "settled_after", "frames", "probabilities"]
    assert len(lines) == 16 and list(json.loads(lines[0])) == keys
    clip = sorted(folder.iterdir())[0]
    text = run_predict(monkeypatch, capsys, clip, *model, "--top", 2).out
    assert text.startswith(f"{clip}: ") and text.count("%") == 2 and "of 10 frames" in text


def test_predict_names_bad_files_does_the_others_and_ends_with_1(trained, tmp_path, monkeypatch, capsys):
    good = write_clip(tmp_path / "good.avi", [10, 100, 200])
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(SystemExit) as stop:
        run_predict(monkeypatch, capsys, tmp_path / "none.avi", tmp_path, "--model", trained / "models/all10/model.pt")
    out, err = capsys.readouterr()
    assert "2 of 3 files could not be used" in str(stop.value)
    assert out.startswith(str(good)) and "bad.mp4: not a video" in err and "none.avi: can't be read" in err
    with pytest.raises(SystemExit, match="no clips there"):
        (tmp_path / "empty").mkdir()
        run_predict(monkeypatch, capsys, tmp_path / "empty", "--model", trained / "models/all10/model.pt")


def test_the_picture_shows_one_test_clip_of_each_action(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "argv", ["picture.py", str(tmp_path / "demo.png")])
    picture.main()
    sheet = cv2.imread(str(tmp_path / "demo.png"))
    assert sheet.shape[0] >= 5 * picture.TALL and sheet.shape[1] >= picture.WIDE + 10 * picture.TALL
