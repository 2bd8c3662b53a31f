"""Export: writes both models as ONNX, for programs without torch, and compares them with PyTorch on all test clips.

Reads models/<approach>/model.pt, and for the comparison data/clips.csv, data/split.csv and data/frames/.
Writes beside each model.pt:

- model.onnx, for a whole clip: from "views", uint8 RGB (clips, frames, modalities, size, size, 3), to "probabilities"
  (clips, frames, classes);
- stream.onnx, for one frame: from "view", uint8 RGB (modalities, size, size, 3), and "state" (windows, state_size),
  zeros where a window begins, to "probabilities" (windows, classes) and "new_state".

A view has the modalities RGB, RGB difference and flow, as far as the settings use them (glimpse.features.views). The
metadata hold the format, the configuration of the model, class names, input size, and mean and std, which the model
applies itself. Needs onnxscript: pip install -r requirements-app.txt.
"""

import argparse
import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import FrameStore
from glimpse.core.settings import APPROACHES
from glimpse.core.splits import load_splits
from glimpse.features.backbone import MEAN, STD, fuse_conv_bn, load_backbone
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.network import VideoNetwork
from glimpse.predict.onnx_recognizer import FORMAT, OnnxRecognizer

MAX_DIFF = 0.005  # largest difference of a probability from PyTorch's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> None:
    if not importlib.util.find_spec("onnxscript"):
        raise SystemExit("export: needs onnxscript: run `make export`, or pip install -r requirements-app.txt")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    clips = load_splits(["test"])[1]["test"].clips
    for approach in APPROACHES:
        folder = Path("models", approach)
        recognizer = TorchRecognizer(folder / "model.pt")
        export(recognizer, folder)
        exported = OnnxRecognizer(folder / "model.onnx")
        try:
            result = compare(recognizer, exported, clips, FrameStore("data/frames"))
        except SystemExit:
            for name in ("model.onnx", "stream.onnx"):  # `glimpse predict --onnx` must not use them
                (folder / name).unlink()
            raise
        print(f"export: {exported.path}: {result}", flush=True)


class HalfPrecision(nn.Module):
    """Rounds features like the stored ones, on which the head was trained."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.half().float()


class WholeClip(nn.Module):
    """Views (clips, frames, modalities, size, size, 3) to probabilities (clips, frames, classes)."""

    def __init__(self, network: VideoNetwork, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(views) / self.temperature, -1)


class OneFrame(WholeClip):
    """A view (modalities, size, size, 3) and states (windows, state_size) to probabilities and new states."""

    def forward(self, view: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        logits, new_state = self.network.step(view, state)
        return torch.softmax(logits / self.temperature, -1), new_state


def export(recognizer: TorchRecognizer, folder: Path) -> None:
    """Write model.onnx and stream.onnx into a folder."""
    backbones: list[nn.Module] = [fuse_conv_bn(load_backbone(state)) for state in recognizer.model.backbones]
    if not recognizer.finetuned:
        backbones = [nn.Sequential(backbone, HalfPrecision()) for backbone in backbones]
    config, views = recognizer.config, recognizer.views
    network = VideoNetwork(backbones, recognizer.head, views.num_images).eval()
    values = {
        "format": FORMAT, "config": config.to_dict(), "class_names": config.class_names, "input_size": views.size,
        "mean": MEAN, "std": STD,
    }  # fmt: skip
    metadata = {name: json.dumps(value) for name, value in values.items()}
    clips = torch.zeros(2, config.num_frames, views.num_modalities, views.size, views.size, 3, dtype=torch.uint8)
    frame = {"view": clips[0, 0], "state": torch.zeros(2, network.state_size)}
    whole_clip, one_frame = WholeClip(network, config.temperature), OneFrame(network, config.temperature)
    write_onnx(folder / "model.onnx", whole_clip, {"views": clips}, ["probabilities"], metadata)
    write_onnx(folder / "stream.onnx", one_frame, frame, ["probabilities", "new_state"], metadata)


def write_onnx(
    path: Path, module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: list[str], metadata: Mapping[str, str]
) -> None:
    """Write a module as an ONNX file. The first axis of its last input, clips or windows, may have any length."""
    dynamic = tuple({0: torch.export.Dim("count")} if name == [*inputs][-1] else {} for name in inputs)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            module, tuple(inputs.values()), input_names=[*inputs], output_names=outputs, dynamo=True, verbose=False,
            dynamic_shapes=dynamic,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # source lines, with paths of this machine
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value)
    with atomic_write(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def compare(recognizer: TorchRecognizer, exported: OnnxRecognizer, clips: Sequence[str], store: FrameStore) -> str:
    """Compare both on the same clips, whole and frame by frame; returns a sentence, exits beyond MAX_DIFF."""
    max_diff, agreements, seconds = 0.0, 0, []
    for clip in clips:
        views = recognizer.prepare(clip, store.load(clip)).clean
        start = time.perf_counter()
        expected = recognizer.predict_views(views)
        middle = time.perf_counter()
        whole = exported.predict_views(views)
        seconds.append((middle - start, time.perf_counter() - middle))
        streamed, state = np.empty_like(whole), np.zeros((1, exported.state_size), np.float32)
        for number, view in enumerate(views):
            streamed[number : number + 1], state = exported.step(view, state)
        max_diff = max(max_diff, *(float(np.abs(actual - expected).max()) for actual in (whole, streamed)))
        agreements += all(actual[-1].argmax() == expected[-1].argmax() for actual in (whole, streamed))
    if max_diff > MAX_DIFF:
        raise SystemExit(
            f"export: {exported.path}: a probability differs from PyTorch by {max_diff:.4f}, more than {MAX_DIFF}: "
            "the file is deleted"
        )
    torch_ms, onnx_ms = 1000 * np.median(seconds, axis=0)
    return (
        f"{len(clips)} test clips, probabilities differ from PyTorch by at most {max_diff:.1e}, {agreements} equal "
        f"predictions; {onnx_ms:.0f} ms from views to probabilities, with PyTorch {torch_ms:.0f} ms"
    )
