"""An exported model predicts what PyTorch predicts, whole clips and frame by frame, and needs no torch."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from conftest import ROOT, run_tool

from glimpse.core.frame_store import FrameStore
from glimpse.features.backbone import FEATURE_DIM, MEAN, STD, pretrained_weights
from glimpse.features.flow_histograms import FLOW_DIM
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.heads import build_head
from glimpse.model.model_file import load_model, save_model
from glimpse.predict.onnx_recognizer import OnnxRecognizer
from glimpse.tools import export

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
def test_the_exported_model_predicts_what_pytorch_predicts(trained, exported):
    """On all of the small project's clips, on several clips at once, and for several windows of a stream at once."""
    torch_model, onnx_model = (
        TorchRecognizer(trained / "models/all10/model.pt"),
        OnnxRecognizer(exported / "model.onnx"),
    )
    clips, store = pd.read_csv(trained / "data/clips.csv")["clip"], FrameStore(trained / "data/frames")
    assert export.compare(torch_model, onnx_model, list(clips), store).startswith(f"{len(clips)} test clips")
    views = [torch_model.prepare(clip, store.load(clip)).clean for clip in clips[:3]]
    batch = onnx_model.session.run(None, {"views": np.stack(views)})[0]
    for clip_views, probabilities in zip(views, batch, strict=True):
        assert np.allclose(torch_model.predict_views(clip_views), probabilities, atol=1e-4)
    state = np.zeros((2, onnx_model.state_size), np.float32)
    both, new_state = onnx_model.step(views[0][0], state)
    assert both.shape == (2, 5) and new_state.shape == state.shape and np.allclose(both[0], batch[0, 0], atol=1e-4)
    assert onnx_model.config == torch_model.config


@pytest.mark.slow
@exporter
def test_a_model_that_predicts_otherwise_is_refused(trained, exported, tmp_path):
    model = load_model(trained / "models/all10/model.pt")
    config = replace(model.config, temperature=2 * model.config.temperature)
    save_model(tmp_path / "model.pt", replace(model, config=config))
    clip, store = pd.read_csv(trained / "data/clips.csv")["clip"][0], FrameStore(trained / "data/frames")
    with pytest.raises(SystemExit, match="differs from PyTorch by 0"):
        export.compare(TorchRecognizer(tmp_path / "model.pt"), OnnxRecognizer(exported / "model.onnx"), [clip], store)


@pytest.mark.slow
@exporter
def test_the_metadata_hold_all_that_other_programs_need(trained, exported):
    for name in ("model", "stream"):
        properties = onnx.load(exported / f"{name}.onnx").metadata_props
        metadata = {entry.key: json.loads(entry.value) for entry in properties}
        assert metadata["class_names"] == ["lift", "lower", "sit_down", "stand_up", "wave"]
        assert (metadata["input_size"], tuple(metadata["mean"]), tuple(metadata["std"])) == (128, MEAN, STD)
        content = (exported / f"{name}.onnx").read_bytes()
        assert not [path for path in (ROOT, sysconfig.get_path("purelib")) if str(path).encode() in content]


@pytest.mark.slow
@exporter
@pytest.mark.parametrize("kind", ["gru", "attention", "ridge"])  # ridge: without flow
def test_every_head_and_finetuned_backbones_for_each_frame_are_exported(trained, tmp_path, kind):
    model = load_model(trained / "models/all10/model.pt")
    torch.manual_seed(0)
    shared, flow = kind == "gru", kind != "ridge"
    head = build_head(kind, [FEATURE_DIM, FEATURE_DIM, *[FLOW_DIM] * flow], 8, 5)
    backbones = [
        pretrained_weights("none") | {"0.0.weight": torch.randn(32, 3, 3, 3)} for _ in range(1 if shared else 3)
    ]
    config = replace(
        model.config, head=kind, hidden=8, views=replace(model.config.views, flow=flow), finetune_blocks=1, num_frames=3
    )
    save_model(tmp_path / "model.pt", replace(model, config=config, backbones=backbones, head=head.state_dict()))
    torch_model = TorchRecognizer(tmp_path / "model.pt")
    export.export(torch_model, tmp_path)
    onnx_model = OnnxRecognizer(tmp_path / "model.onnx")
    views = np.random.default_rng(0).integers(0, 255, (3, 2 + flow, 128, 128, 3)).astype(np.uint8)
    whole = torch_model.predict_views(views)
    assert np.allclose(onnx_model.predict_views(views), whole, atol=1e-4)
    torch_state = onnx_state = np.zeros((1, torch_model.state_size), np.float32)
    for view, expected in zip(views, whole, strict=True):
        torch_step, torch_state = torch_model.step(view, torch_state)
        onnx_step, onnx_state = onnx_model.step(view, onnx_state)
        assert np.allclose(torch_step[0], expected, atol=1e-4) and np.allclose(onnx_step[0], expected, atol=1e-4)


@pytest.mark.slow
@exporter
def test_predict_runs_on_exported_models_where_there_is_no_torch(trained, exported, tmp_path):
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = re.findall(rf"^(?:{'|'.join(ONLY)})==.*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(pins) == len(ONLY)
    process = subprocess.run([python, "-m", "pip", "install", "-q", *pins], capture_output=True, text=True, check=False)
    if process.returncode:
        pytest.skip(f"no package index: {process.stderr.strip().splitlines()[-1]}")
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode

    def predict(interpreter, model, form="clips", *options):
        paths = [trained / "data/demo/wave"] if form == "clips" else sorted((trained / "data/demo/wave").iterdir())
        command = [interpreter, "-m", "glimpse.cli", "predict", form, *paths, "--model", model, *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert process.returncode == 0 and process.stderr == "", process.stderr
        return process.stdout

    for options in (["clips"], ["video", "--window", "1", "--csv"]):
        with_torch = predict(sys.executable, trained / "models/all10/model.pt", *options)
        assert with_torch.count("\n") >= 16 and "wave" in with_torch
        assert predict(python, exported / "model.onnx", *options) == with_torch
    assert predict(python, exported / "model.pt", "clips", "--onnx") == predict(python, exported / "model.onnx")


def test_a_file_that_is_no_exported_model_is_refused_in_one_line(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    with pytest.raises(SystemExit, match="model.onnx: No such file or directory: run `make export` to write it"):
        OnnxRecognizer(path)
    path.write_bytes(b"no model")
    with pytest.raises(SystemExit, match=r"model.onnx: not a model, or damaged \(\w+\)"):
        OnnxRecognizer(path)
    value = onnx.helper.make_tensor_value_info
    identity = onnx.helper.make_node("Identity", ["a"], ["b"])
    graph = onnx.helper.make_graph([identity], "other", [value("a", 1, [1])], [value("b", 1, [1])])
    other = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 17)])
    path.write_bytes(other.SerializeToString())
    with pytest.raises(SystemExit, match="model.onnx: not a model exported by this version of Glimpse"):
        OnnxRecognizer(path)
    assert capfd.readouterr() == ("", "")


def test_export_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install -r requirements-app.txt"):
        run_tool(export)
