"""`predict`: it gives the probabilities of `evaluate`, for people and for programs, and names bad files."""

import csv
import json
import sys

import cv2
import pandas as pd
import picture
import predict
import pytest
from conftest import write_clip

from glimpse.inference.torch_recognizer import TorchRecognizer


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


def test_predict_says_unknown_below_the_threshold_of_the_stated_error(trained, monkeypatch, capsys):
    path = trained / "models/first5/model.pt"
    asked = [trained / "data/demo/sit_down", "--model", path, "--error"]
    least = TorchRecognizer(path).threshold(0.3)
    answers = [json.loads(line) for line in run_predict(monkeypatch, capsys, *asked, 0.3, "--json").out.splitlines()]
    assert all(one["known"] == (max(one["probabilities"].values()) >= least) for one in answers)
    rows = list(csv.DictReader(run_predict(monkeypatch, capsys, *asked, 0.3, "--csv").out.splitlines()))
    assert [row["known"] for row in rows] == ["yes" if one["known"] else "unknown" for one in answers]
    lines = run_predict(monkeypatch, capsys, *asked, 0.001).out.splitlines()  # no val part of 20 clips shows that
    assert all(": unknown (likeliest: " in line and line.count("%") == 3 for line in lines)


@pytest.mark.parametrize("error", ["0", "1", "2", "x"])
def test_an_error_rate_out_of_range_is_refused(monkeypatch, capsys, error):
    with pytest.raises(SystemExit):
        run_predict(monkeypatch, capsys, "clip.avi", "--error", error)
    assert "--error" in capsys.readouterr().err
