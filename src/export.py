"""Stage `export`: both approaches as ONNX models, for programs without torch, each compared with PyTorch's answers.

Reads models/<approach>/model.pt, and for the comparison data/split.csv, data/clips.csv and data/frames/. Writes beside
each model.pt:

- model.onnx, of a whole clip: from "looks", uint8 RGB (clips, frames, views, size, size, 3), to "probabilities" (clips,
  frames, actions);
- stream.onnx, of one frame: from "look", uint8 RGB (views, size, size, 3), and "carried" (readings, memory), zeros
  where a reading begins, to "probabilities" (readings, actions) and what to carry on.

A look is a frame's square, then its change's, then its flow's (`glimpse.features.views`, `.flow`), as the settings say.
Their metadata tell the actions' names, size, mean and std (which the model applies itself), and what Glimpse needs.
Run: python src/export.py
"""

from glimpse.features.backbone import MEAN, STD, load_backbone  # isort: split

import importlib.util
import json
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import FrameStore
from glimpse.core.splits import load_splits
from glimpse.features.backbone import Backbone, fuse_conv_bn
from glimpse.features.views import clean_views
from glimpse.inference.recognizer import Recognizer
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.network import VideoNetwork
from glimpse.predict.onnx_recognizer import FORMAT, OnnxRecognizer

APPROACHES = ("first5", "all10")
MAX_DIFF = 0.005  # how far a probability may lie from PyTorch's


class HalfPrecisionFeatures(nn.Module):
    """A frozen backbone whose features are rounded as those that are stored, and that were trained on."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.backbone(frames).half().float()


class WholeClip(nn.Module):
    """Looks (clips, frames, views, size, size, 3) to probabilities (clips, frames, actions)."""

    def __init__(self, network: VideoNetwork, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, looks: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(looks) / self.temperature, -1)


class OneFrame(WholeClip):
    """A look (views, size, size, 3) and carried (readings, memory) to probabilities (readings, actions) and carried."""

    def forward(self, look: torch.Tensor, carried: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        logits, after = self.network.step(look, carried)
        return torch.softmax(logits / self.temperature, -1), after


def full_network(recognizer: TorchRecognizer) -> VideoNetwork:
    """All that a model is made of, from looks to logits, batch norms folded, on the CPU."""
    folded = [fuse_conv_bn(load_backbone(state)) for state in recognizer.config.backbones]
    backbones = folded if recognizer.finetuned else map(HalfPrecisionFeatures, folded)
    return VideoNetwork(backbones, recognizer.temporal, recognizer.views.num_images).eval()


def metadata(recognizer: TorchRecognizer) -> dict[str, str]:
    """What goes into a model's file beside the model."""
    plain = {name: value for name, value in recognizer.config.items() if name not in ("backbones", "state")}
    shown = {
        "actions": recognizer.class_names,
        "size": recognizer.views.size,
        "mean": MEAN,
        "std": STD,
        "format": FORMAT,
    }
    return {name: json.dumps(value) for name, value in (shown | {"kept": plain}).items()}


def write(path: Path, module: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], told: dict) -> None:
    """A module as an ONNX file. The first axis of the last of its inputs, clips or readings, may have any length."""
    free = {name: {0: torch.export.Dim("count")} if name == [*inputs][-1] else {} for name in inputs}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            module, tuple(inputs.values()), input_names=[*inputs], output_names=outputs, dynamo=True, verbose=False,
            dynamic_shapes=tuple(free.values()),
        )  # fmt: skip
    assert program is not None
    made = program.model_proto
    for node in made.graph.node:
        del node.metadata_props[:]  # where in which file it comes from, with this machine's paths
    for name, value in told.items():
        made.metadata_props.add(key=name, value=value)
    with atomic_write(path, "wb") as file:
        file.write(made.SerializeToString(deterministic=True))


def export(recognizer: TorchRecognizer, folder: Path) -> None:
    """Write model.onnx and stream.onnx into a folder."""
    network, told, look = full_network(recognizer), metadata(recognizer), recognizer.views
    looks = torch.zeros(2, recognizer.num_frames, look.num_views, look.size, look.size, 3, dtype=torch.uint8)
    whole_clip, one_frame = (kind(network, recognizer.temperature) for kind in (WholeClip, OneFrame))
    write(folder / "model.onnx", whole_clip, {"looks": looks}, ["probabilities"], told)
    one = {"look": looks[0, 0], "carried": torch.zeros(2, network.state_size)}
    write(folder / "stream.onnx", one_frame, one, ["probabilities", "carried on"], told)


def compare(recognizer: TorchRecognizer, exported: OnnxRecognizer, clips: list[str], frames: FrameStore) -> str:
    """What both say of the same clips, in words; probabilities further apart than NEARLY end the program."""
    apart, agree = 0.0, 0
    spent: dict[Recognizer, list[float]] = {recognizer: [], exported: []}
    for clip in clips:
        looks, said = clean_views(frames.load(clip), recognizer.views, recognizer.positions(clip)), []
        for one, times in spent.items():
            began = time.perf_counter()
            said.append(one.predict_views(looks))
            times.append(time.perf_counter() - began)
        carried = np.zeros((1, exported.state_size), np.float32)
        for look in looks:
            streamed, carried = exported.step(look, carried)
        said.append(np.concatenate([said[0][:-1], streamed]))
        apart = max(apart, *(float(np.abs(one - said[0]).max()) for one in said[1:]))
        agree += all(one[-1].argmax() == said[0][-1].argmax() for one in said[1:])
    if apart > MAX_DIFF:
        raise SystemExit(f"export: {exported.path} differs from PyTorch by {apart:.4f}: not what was trained")
    slow, fast = (1000 * float(np.median(times)) for times in spent.values())
    return (
        f"{len(clips)} test clips, probabilities at most {apart:.1e} from PyTorch's, the same answer to {agree}; "
        f"looks to answer {fast:.0f} ms, with PyTorch {slow:.0f} ms"
    )


def main() -> None:
    if not importlib.util.find_spec("onnxscript"):
        raise SystemExit("export: needs onnxscript: run `make export`, or pip install -r requirements-app.txt")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    _, parts = load_splits(["test"])
    for approach in APPROACHES:
        folder = Path("models", approach)
        recognizer = TorchRecognizer(folder / "model.pt")
        export(recognizer, folder)
        exported = OnnxRecognizer(folder / "model.onnx")
        try:
            said = compare(recognizer, exported, parts["test"].clips, FrameStore("data/frames"))
        except SystemExit:
            for name in ("model.onnx", "stream.onnx"):  # or `predict --onnx` would use it
                (folder / name).unlink()
            raise
        print(f"export: {exported.path}: {said}")


if __name__ == "__main__":
    main()
