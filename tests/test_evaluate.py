"""Evaluation: its metrics and tables agree with each other and with the split."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from glimpse.evaluate import metrics
from glimpse.model.model_file import load_model, save_model


def test_accuracy_is_per_clip_and_recall_per_action():
    probs = np.eye(3)[[0, 0, 0, 1, 2, 2]].astype(np.float32)
    scores = metrics.accuracy_and_recall(probs, np.array([0, 0, 1, 1, 1, 2]))
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["recall"] == pytest.approx((2 / 2 + 1 / 3 + 1 / 1) / 3)


def test_test_json_agrees_with_the_predictions_of_every_test_clip(trained):
    test_json = json.loads((trained / "metrics/test.json").read_text())
    split = pd.read_csv(trained / "data/split.csv")
    assert list(test_json) == ["n", "first5", "all10"]
    for approach in ("first5", "all10"):
        table = pd.read_csv(trained / f"metrics/tables/predictions-{approach}.csv")
        assert set(table["clip"]) == set(split["clip"][split["split"] == "test"]) and len(table) == test_json["n"]
        correct = table["action"] == table["predicted"]
        assert list(test_json[approach]) == ["accuracy", "recall"]
        assert test_json[approach]["accuracy"] == pytest.approx(correct.mean(), abs=1e-4)
        recall = correct.groupby(table["action"]).mean().mean()
        assert test_json[approach]["recall"] == pytest.approx(recall, abs=1e-4)
        probs = table.filter(like="p(")
        assert np.allclose(probs.sum(axis=1), 1, atol=1e-4)
        assert (probs.idxmax(axis=1) == "p(" + table["predicted"] + ")").all()


def test_a_model_trained_with_other_versions_is_named_in_one_line(copied, stage, capsys, monkeypatch):
    installed = metrics.versions()
    stage(copied, "evaluate")
    assert "was made with" not in capsys.readouterr().out
    monkeypatch.setattr(metrics, "versions", lambda: installed | {"torch": "99.0", "cv2": "98.0"})
    stage(copied, "evaluate")
    printed = [line for line in capsys.readouterr().out.splitlines() if "was made with" in line]
    versions = f"cv2 {installed['cv2']}, torch {installed['torch']}"
    message = f"was made with {versions}: scores may differ in the last digits"
    assert printed == [f"evaluate: models/{approach}/model.pt {message}" for approach in ("first5", "all10")]


def test_a_model_of_other_actions_is_refused_in_one_line(copied, stage):
    path = copied / "models/first5/model.pt"
    model = load_model(path)
    save_model(path, replace(model, config=replace(model.config, class_names=["a", "b", "c", "d", "e"])))
    with pytest.raises(SystemExit, match="models/first5/model.pt: trained on other actions .a, b, c, d, e.: run `dvc"):
        stage(copied, "evaluate")


def test_overfitting_is_checked_on_the_model_before_it_was_refitted_on_val(copied, stage):
    path = copied / "models/first5/model.pt"
    model = load_model(path)
    wrong = [False] * len(model.config.val_correct)
    save_model(path, replace(model, config=replace(model.config, val_correct=wrong)))
    stage(copied, "evaluate")
    warnings = pd.read_csv(copied / "metrics/tables/warnings.csv")
    messages = warnings[warnings["check"] == "train far above val"].set_index("approach")["message"]
    assert "and 0% on val" in messages["first5"] and "all10" not in messages


def test_leaked_test_clips_give_a_warning(copied, stage):
    path = copied / "data/split.csv"
    split = pd.read_csv(path, dtype=str, keep_default_na=False)
    split.loc[split.index[split["split"] == "test"][:3], "leaked"] = "yes"
    split.to_csv(path, index=False)
    stage(copied, "evaluate")
    warnings = pd.read_csv(copied / "metrics/tables/warnings.csv").set_index("check")
    test_clips = (split["split"] == "test").sum()
    assert warnings.loc["leakage", "message"].startswith(f"3 of {test_clips} test clips are near duplicates")


def test_accuracy_by_frames_has_every_frame_and_ends_at_the_accuracy(trained):
    table = pd.read_csv(trained / "metrics/tables/accuracy_by_frames.csv")
    test_json = json.loads((trained / "metrics/test.json").read_text())
    assert table["frames"].tolist() == list(range(1, 11))
    assert set(table["first5"][4:]) == {test_json["first5"]["accuracy"]}  # it reads no more: its prediction stays
    assert table["all10"][9] == test_json["all10"]["accuracy"] and table["all10"].nunique() > 2


def test_subsets_are_random_halves_of_the_train_and_val_clips(trained):
    subsets = pd.read_csv(trained / "metrics/tables/subsets.csv")
    split = pd.read_csv(trained / "data/split.csv")
    assert len(subsets) == 4 and set(subsets["seen_clips"]) == {(split["split"] != "test").sum() // 2}
    assert subsets.filter(regex="_(accuracy|recall)").stack().between(0, 1).all()


def test_recall_per_action_agrees_with_macro_recall(trained):
    table = pd.read_csv(trained / "metrics/tables/recall.csv")
    test_json = json.loads((trained / "metrics/test.json").read_text())
    assert table["clips"].sum() == test_json["n"]
    assert table["all10"].mean() == pytest.approx(test_json["all10"]["recall"], abs=1e-3)
