"""`glimpse predict clips` and the Python API: they give the probabilities of `evaluate`, and name unusable files."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, write_clip

from glimpse import cli
from glimpse.frames.decoder import UnreadableClip
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.predict.load import Prediction, load_recognizer, predict_file

JSON_KEYS = ["clip", "action", "confidence", "known", "frames_to_stable", "frames", "probabilities"]


def run_predict(monkeypatch, capsys, *arguments):
    """What `glimpse predict` prints in this process."""
    monkeypatch.setattr(sys, "argv", ["glimpse", "predict", *map(str, arguments)])
    cli.run_command()
    return capsys.readouterr()


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_predict_gives_the_probabilities_of_evaluate(trained, monkeypatch, capsys, approach):
    evaluated = pd.read_csv(trained / f"metrics/tables/predictions-{approach}.csv")
    paths = [trained / "data/demo" / clip for clip in evaluated["clip"]]
    model = ["--model", trained / f"models/{approach}/model.pt"]
    printed = run_predict(monkeypatch, capsys, "clips", *paths, *model, "--csv").out
    predicted = pd.DataFrame(list(csv.DictReader(printed.splitlines())))
    columns = [name for name in evaluated if name.startswith("p(")]
    assert abs(predicted[columns].astype(float).to_numpy() - evaluated[columns].to_numpy()).max() <= 1e-4
    assert predicted["frames_to_stable"].astype(int).tolist() == evaluated["frames_to_stable"].tolist()


def test_a_prediction_is_a_line_for_people_and_an_object_for_programs(trained, monkeypatch, capsys):
    model = ["--model", trained / "models/all10/model.pt"]
    folder = trained / "data/demo/wave"
    lines = run_predict(monkeypatch, capsys, "clips", folder, *model, "--json").out.splitlines()
    assert len(lines) == 16 and list(json.loads(lines[0])) == JSON_KEYS
    clip = sorted(folder.iterdir())[0]
    text = run_predict(monkeypatch, capsys, "clips", clip, *model, "--top", 2).out
    assert text.startswith(f"{clip}: ") and text.count("%") == 2
    assert re.search(r"; stable after \d+ of 10 frames\n$", text)


def test_unusable_files_are_named_the_others_predicted_and_the_exit_is_an_error(trained, tmp_path, monkeypatch, capsys):
    good = write_clip(tmp_path / "good.avi", [10, 100, 200])
    (tmp_path / "bad.mp4").write_text("no video")
    model = ["--model", trained / "models/all10/model.pt"]
    with pytest.raises(SystemExit, match="2 of 3 files could not be used"):
        run_predict(monkeypatch, capsys, "clips", tmp_path / "none.avi", tmp_path, *model)
    out, err = capsys.readouterr()
    assert out.startswith(str(good)) and "bad.mp4: not a video" in err and "none.avi: can't be read" in err
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="empty: contains no clips"):
        run_predict(monkeypatch, capsys, "clips", tmp_path / "empty", *model)


def test_the_order_of_the_clips_is_kept_with_several_workers_and_a_file_is_complete(
    trained, tmp_path, monkeypatch, capsys
):
    clips = sorted((trained / "data/demo/wave").iterdir())[:6]
    arguments = ["clips", *clips, "--model", trained / "models/all10/model.pt", "--csv", "--out"]
    for workers in (1, 3):
        printed = run_predict(monkeypatch, capsys, *arguments, tmp_path / f"{workers}.csv", "--workers", workers)
        assert printed.out == "" and printed.err == ""
    first, second = ((tmp_path / f"{workers}.csv").read_text() for workers in (1, 3))
    assert first == second and [row["clip"] for row in csv.DictReader(first.splitlines())] == [*map(str, clips)]


def test_no_clip_is_replaced_by_an_output(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30)).rename(tmp_path / "clip.mp4")
    content = clip.read_bytes()
    for form in ("clips", "video"):
        for option in ("--overlay", "--out"):
            with pytest.raises(SystemExit, match=f"{option} .*is one of the clips"):
                run_predict(monkeypatch, capsys, form, clip, option, clip)
    assert clip.read_bytes() == content


def test_predictions_below_the_threshold_of_the_accepted_error_are_unknown(trained, monkeypatch, capsys):
    path = trained / "models/first5/model.pt"
    arguments = ["clips", trained / "data/demo/sit_down", "--model", path, "--max-error"]
    threshold = TorchRecognizer(path).threshold(0.3)
    lines = run_predict(monkeypatch, capsys, *arguments, 0.3, "--json").out.splitlines()
    predictions = [json.loads(line) for line in lines]
    assert all(row["known"] == (max(row["probabilities"].values()) >= threshold) for row in predictions)
    rows = list(csv.DictReader(run_predict(monkeypatch, capsys, *arguments, 0.3, "--csv").out.splitlines()))
    assert [row["known"] for row in rows] == ["yes" if row["known"] else "unknown" for row in predictions]
    # 20 val clips cannot show an error as low as 0.001
    lines = run_predict(monkeypatch, capsys, *arguments, 0.001).out.splitlines()
    assert lines and all(": unknown (most likely: " in line and line.count("%") == 3 for line in lines)


@pytest.mark.parametrize("max_error", ["0", "1", "2", "x", "nan"])
def test_an_error_rate_out_of_range_is_refused(monkeypatch, capsys, max_error):
    with pytest.raises(SystemExit):
        run_predict(monkeypatch, capsys, "clips", "clip.avi", "--max-error", max_error)
    assert "--max-error" in capsys.readouterr().err


def test_python_predicts_what_the_command_prints(trained, monkeypatch, capsys, tmp_path):
    clip = sorted((trained / "data/demo/wave").iterdir())[0]
    path = trained / "models/all10/model.pt"
    model = load_recognizer(path)
    result = predict_file(model, clip)
    assert isinstance(result, Prediction) and result.action == "wave"
    assert result.confidence == result.probabilities["wave"] == max(result.probabilities.values())
    assert sum(result.probabilities.values()) == pytest.approx(1) and [*result.probabilities][0] == "wave"
    assert result.known == (result.confidence >= model.threshold(max_error=0.1))
    assert not predict_file(model, str(clip), max_error=0.0001).known
    printed = json.loads(run_predict(monkeypatch, capsys, "clips", clip, "--model", path, "--json").out)
    assert printed["probabilities"] == pytest.approx(result.probabilities, abs=1e-6)
    assert (printed["action"], printed["frames_to_stable"]) == (result.action, result.frames_to_stable)
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(UnreadableClip, match="not a video"):
        predict_file(model, tmp_path / "bad.mp4")


@pytest.mark.parametrize("form", ["clips", "segments", "camera"])
def test_the_options_of_predict_need_no_package_but_numpy_and_opencv(form):
    missing = "torch torchvision pandas scipy pydantic psutil tqdm onnxruntime onnx yaml dvc jinja2 cleanlab".split()
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
        f"import argparse, glimpse.predict.{form} as form, glimpse.predict.load\n"
        "form.add_arguments(argparse.ArgumentParser())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_exported_model_predicts_without_any_package_but_numpy_opencv_and_onnxruntime(tmp_path):
    """A model made here by hand: its probabilities are the mean of the colours, so no export is needed."""
    onnx_models(tmp_path)
    clip = write_clip(tmp_path / "clip.avi", grey_levels(50))
    missing = "torch torchvision pandas scipy pydantic psutil tqdm onnx yaml dvc jinja2 cleanlab".split()
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
        "from glimpse.predict.load import load_recognizer, predict_file\n"
        f"result = predict_file(load_recognizer({str(tmp_path / 'model.onnx')!r}), {str(clip)!r})\n"
        "assert result.action in ('left', 'right') and result.frames == 10, result\n"
        f"sys.argv = ['glimpse', 'predict', sys.argv[1], {str(clip)!r}, '--csv', '--onnx', '--model', "
        f"{str(tmp_path / 'model.pt')!r}]\n"
        "from glimpse.cli import run_command; run_command()"
    )
    for form, columns in (("clips", "clip,action,known,"), ("video", "clip,start,end,")):
        command = [sys.executable, "-c", code, form]
        done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        header, *rows = done.stdout.splitlines()
        assert header.startswith(columns) and rows and rows[0].startswith(str(clip))


def onnx_models(folder):
    """Write a model.onnx and a stream.onnx for the configuration of fake_recognizers."""
    import onnx
    from fake_recognizers import CONFIG
    from onnx import TensorProto, helper

    from glimpse.predict.onnx_recognizer import FORMAT

    shape = [CONFIG.views.num_modalities, CONFIG.views.size, CONFIG.views.size, 3]
    value = helper.make_tensor_value_info
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [-1])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 2], [0.1, 0.2])

    def write(name, inputs, outputs, nodes):
        graph = helper.make_graph(nodes, "fake", inputs, outputs, [axes, weights])
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
        helper.set_model_props(model, {"format": str(FORMAT), "config": json.dumps(CONFIG.to_dict())})
        onnx.checker.check_model(model)
        (folder / name).write_bytes(model.SerializeToString())

    def probabilities(source, last_axes):
        reduced = helper.make_tensor("last", TensorProto.INT64, [len(last_axes)], last_axes)
        return [
            helper.make_node("Constant", [], ["last"], value=reduced),
            helper.make_node("Cast", [source], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats", "last"], ["mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "axes"], ["column"]),
            helper.make_node("MatMul", ["column", "weights"], ["logits"]),
        ]

    clips = value("views", TensorProto.UINT8, ["clips", CONFIG.num_frames, *shape])
    write("model.onnx", [clips], [value("probabilities", TensorProto.FLOAT, ["clips", CONFIG.num_frames, 2])], [
        *probabilities("views", [2, 3, 4, 5]), helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ])  # fmt: skip
    states = [value(name, TensorProto.FLOAT, ["windows", 2]) for name in ("state", "new_state")]
    write("stream.onnx", [value("view", TensorProto.UINT8, shape), states[0]],
          [value("probabilities", TensorProto.FLOAT, ["windows", 2]), states[1]], [
        *probabilities("view", [0, 1, 2, 3]), helper.make_node("Add", ["state", "logits"], ["new_state"]),
        helper.make_node("Softmax", ["new_state"], ["probabilities"], axis=-1),
    ])  # fmt: skip


def test_a_stream_model_of_another_training_is_refused(tmp_path):
    import onnx

    onnx_models(tmp_path)
    model = load_recognizer(tmp_path / "model.onnx")
    assert model.state_size == 2
    views = np.zeros((model.num_frames, 3, 32, 32, 3), np.uint8)
    assert model.predict_views(views).shape == (10, 2)
    probabilities, state = model.step(views[0], np.zeros((3, 2), np.float32))
    assert probabilities.shape == state.shape == (3, 2)

    stream = onnx.load(tmp_path / "stream.onnx")
    entry = next(entry for entry in stream.metadata_props if entry.key == "config")
    for content, words in (
        (entry.value.replace('"seed": 0', '"seed": 1'), "exported from another training than .*model.onnx"),
        ('{"seed": 1}', "metadata are damaged"), ("[1]", "metadata are damaged"), ("{", "metadata are damaged"),
    ):  # fmt: skip
        entry.value = content
        (tmp_path / "stream.onnx").write_bytes(stream.SerializeToString())
        with pytest.raises(SystemExit, match=f"stream.onnx: .*{words}"):
            _ = load_recognizer(tmp_path / "model.onnx").state_size
