"""What is exported says what PyTorch says, whole or frame by frame, and needs no torch."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv

import export
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from conftest import ROOT

from glimpse.core.frame_store import FrameStore
from glimpse.features.backbone import MEAN, STD, pretrained_weights
from glimpse.features.flow_histograms import FLOW_DIM
from glimpse.features.views import clean_views
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model import network as model
from glimpse.predict.onnx_recognizer import OnnxRecognizer

exporter = pytest.mark.skipif(
    not importlib.util.find_spec("onnxscript"), reason="onnxscript of requirements-app.txt is not installed"
)
ONLY = ("numpy", "opencv-python", "onnxruntime")


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """The small project's approach all10, exported: its folder."""
    folder = tmp_path_factory.mktemp("exported")
    export.export(TorchRecognizer(trained / "models/all10/model.pt"), folder)
    return folder


@pytest.mark.slow
@exporter
def test_the_exported_model_says_what_pytorch_says(trained, exported):
    """All of the small project's clips, the last frames alone as well, and several clips at once."""
    ours, theirs = TorchRecognizer(trained / "models/all10/model.pt"), OnnxRecognizer(exported / "model.onnx")
    clips, frames = pd.read_csv(trained / "data/clips.csv")["clip"], FrameStore(trained / "data/frames")
    assert export.compare(ours, theirs, list(clips), frames).startswith(f"{len(clips)} test clips")
    looks = [clean_views(frames.load(clip), ours.views, ours.positions(clip)) for clip in clips[:3]]
    together = theirs.session.run(None, {"looks": np.stack(looks)})[0]
    for one, said in zip(looks, together, strict=True):
        assert np.allclose(ours.predict_views(one), said, atol=1e-4)
    carried = np.zeros((2, theirs.state_size), np.float32)
    both, after = theirs.step(looks[0][0], carried)
    assert both.shape == (2, 5) and after.shape == carried.shape and np.allclose(both[0], together[0, 0], atol=1e-4)
    assert theirs.config == {name: value for name, value in ours.config.items() if name not in ("backbones", "state")}


@pytest.mark.slow
@exporter
def test_a_model_that_answers_otherwise_is_refused(trained, exported, tmp_path):
    contents = model.load(trained / "models/all10/model.pt")
    contents.pop("format")
    contents["temperature"] *= 2
    model.save(tmp_path / "model.pt", contents)
    clip, frames = pd.read_csv(trained / "data/clips.csv")["clip"][0], FrameStore(trained / "data/frames")
    with pytest.raises(SystemExit, match="differs from PyTorch by 0"):
        export.compare(TorchRecognizer(tmp_path / "model.pt"), OnnxRecognizer(exported / "model.onnx"), [clip], frames)


@pytest.mark.slow
@exporter
def test_metadata_tell_all_that_others_need(trained, exported):
    for name in ("model", "stream"):
        told = {one.key: json.loads(one.value) for one in onnx.load(exported / f"{name}.onnx").metadata_props}
        assert told["actions"] == ["lift", "lower", "sit_down", "stand_up", "wave"] and told["size"] == 128
        assert (tuple(told["mean"]), tuple(told["std"])) == (MEAN, STD)
        content = (exported / f"{name}.onnx").read_bytes()
        assert not [path for path in (ROOT, sysconfig.get_path("purelib")) if str(path).encode() in content]


@pytest.mark.slow
@exporter
@pytest.mark.parametrize("kind", ["gru", "attention", "ridge"])  # ridge: without flow
def test_every_reader_and_tuned_and_untied_backbones_are_exported(trained, tmp_path, kind):
    contents = model.load(trained / "models/all10/model.pt")
    contents.pop("format")
    torch.manual_seed(0)
    tied, flow = kind == "gru", kind != "ridge"
    contents["look"] |= {"flow": flow}
    temporal = model.build_head(kind, [1280, 1280, *[FLOW_DIM] * flow], 8, 5)
    backbones = [pretrained_weights("none") | {"0.0.weight": torch.randn(32, 3, 3, 3)} for _ in range(1 if tied else 3)]
    contents |= {"temporal": {"kind": kind, "hidden": 8}, "state": temporal.state_dict(), "tune": 1, "use": 3}
    model.save(tmp_path / "model.pt", contents | {"backbones": backbones})
    ours = TorchRecognizer(tmp_path / "model.pt")
    export.export(ours, tmp_path)
    theirs, looks = (
        OnnxRecognizer(tmp_path / "model.onnx"),
        np.random.default_rng(0).integers(0, 255, (3, 2 + flow, 128, 128, 3)),
    )
    whole, carried = ours.predict_views(looks.astype(np.uint8)), np.zeros((1, ours.state_size), np.float32)
    assert np.allclose(theirs.predict_views(looks.astype(np.uint8)), whole, atol=1e-4)
    also = carried
    for look, said in zip(looks.astype(np.uint8), whole, strict=True):
        one, carried = ours.step(look, carried)
        other, also = theirs.step(look, also)
        assert np.allclose(one[0], said, atol=1e-4) and np.allclose(other[0], said, atol=1e-4)


@pytest.mark.slow
@exporter
def test_predict_runs_on_exported_models_where_there_is_no_torch(trained, exported, tmp_path):
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = re.findall(rf"^(?:{'|'.join(ONLY)})==.*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(pins) == len(ONLY)
    done = subprocess.run([python, "-m", "pip", "install", "-q", *pins], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode

    def predicted(with_python, model, *how):
        command = [with_python, ROOT / "src/predict.py", trained / "data/demo/wave", "--model", model, *how]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    for how in ([], ["--segments", "--window", "1", "--csv"]):
        ours = predicted(sys.executable, trained / "models/all10/model.pt", *how)
        assert ours.count("\n") >= 16 and "wave" in ours
        assert predicted(python, exported / "model.onnx", *how) == ours
    assert predicted(python, exported / "model.pt", "--onnx") == predicted(python, exported / "model.onnx")


def test_what_is_no_exported_model_is_refused_in_one_line(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    with pytest.raises(SystemExit, match="model.onnx: No such file or directory: run `make export` to write it"):
        OnnxRecognizer(path)
    path.write_bytes(b"no model")
    with pytest.raises(SystemExit, match=r"model.onnx: not a model, or damaged \(\w+\)"):
        OnnxRecognizer(path)
    value = onnx.helper.make_tensor_value_info
    same = onnx.helper.make_node("Identity", ["a"], ["b"])
    graph = onnx.helper.make_graph([same], "other", [value("a", 1, [1])], [value("b", 1, [1])])
    other = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 17)])
    path.write_bytes(other.SerializeToString())
    with pytest.raises(SystemExit, match="model.onnx: not a model that this version of Glimpse exported"):
        OnnxRecognizer(path)
    assert capfd.readouterr() == ("", "")


def test_export_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install -r requirements-app.txt"):
        export.main()
