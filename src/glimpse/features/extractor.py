"""Feature extraction with a frozen backbone: ONNX Runtime on a CPU in float32 (twice as fast there), else PyTorch.

The choice follows from the device and the setting `precision`, never from a measurement.
"""

import contextlib
import copy
from collections.abc import Callable
from importlib import metadata
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

from glimpse.features.backbone import FEATURE_DIM, Backbone, fuse_conv_bn
from glimpse.features.flow_histograms import FLOW_DIM, flow_histograms
from glimpse.features.onnx_session import open_session
from glimpse.features.views import ViewConfig


def versions() -> dict[str, str]:
    """Versions of the libraries on which the features depend."""
    modules = {module.__name__: str(module.__version__) for module in (cv2, np, torch, torchvision)}
    return dict(sorted((modules | {"onnxruntime": metadata.version("onnxruntime")}).items()))


def pick_device() -> torch.device:
    """CUDA if there is a GPU for it, then Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def mixed_precision(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context in which convolutions run in `precision`, float32 or bfloat16."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def frozen_extractor(backbone: Backbone, device: torch.device, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 RGB images (images, height, width, 3) to float16 features (images, 1280), both NumPy.

    It may be called from several threads at once; on a CPU each call uses one core.
    """
    backbone = fuse_conv_bn(copy.deepcopy(backbone).eval())
    if device.type == "cpu" and precision == "float32":
        session = open_session(to_onnx(backbone), threads=1)
        return lambda frames: session.run(None, {"frames": frames})[0].astype(np.float16)
    backbone = backbone.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(frames: np.ndarray) -> np.ndarray:
        with mixed_precision(device, precision):
            return backbone(torch.from_numpy(frames).to(device)).float().cpu().numpy().astype(np.float16)

    return run


def feature_dims(config: ViewConfig) -> list[int]:
    """Number of features of each modality."""
    return [FEATURE_DIM] * config.num_images + [FLOW_DIM] * config.flow


def extract_features(extract: Callable[[np.ndarray], np.ndarray], views: np.ndarray, config: ViewConfig) -> np.ndarray:
    """Features of views (frames, modalities, size, size, 3): float16 (frames, sum of feature_dims).

    `extract`: made by `frozen_extractor`.
    """
    images = views[:, : config.num_images]
    features = extract(images.reshape(-1, *views.shape[2:])).reshape(len(views), -1)
    if not config.flow:
        return features
    return np.concatenate([features, flow_histograms(torch.from_numpy(views[:, -1])).numpy().astype(np.float16)], 1)


def to_onnx(backbone: Backbone) -> bytes:
    """A `Backbone`, its batch norms fused, as the bytes of an ONNX model.

    Its input is "frames", uint8 (n, height, width, 3), its output "features", float32 (n, 1280).
    """
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []

    def constant(tensor: torch.Tensor) -> str:
        constants.append(numpy_helper.from_array(tensor.detach().numpy(), f"c{len(constants)}"))
        return constants[-1].name

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"n{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def add(module: nn.Module, x: str) -> str:
        if isinstance(module, InvertedResidual):
            inner = add(module.conv, x)
            return node("Add", x, inner) if module.use_res_connect else inner
        if isinstance(module, nn.Sequential):
            for child in module:
                x = add(child, x)
            return x
        if isinstance(module, nn.Conv2d):
            weights = map(constant, module.parameters())
            strides, pads = list(module.stride), [*module.padding] * 2
            return node("Conv", x, *weights, strides=strides, pads=pads, group=module.groups)
        if isinstance(module, nn.ReLU6):
            return node("Clip", x, constant(torch.tensor(0.0)), constant(torch.tensor(6.0)))
        if isinstance(module, nn.Identity):
            return x
        raise TypeError(f"no ONNX form known for {type(module).__name__}")

    pixels = node("Transpose", node("Cast", "frames", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    pixels = node("Div", node("Sub", pixels, constant(backbone.mean)), constant(backbone.std))
    pooled = node("GlobalAveragePool", add(backbone.features, pixels))
    nodes.append(helper.make_node("Flatten", [pooled], ["features"]))
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", "height", "width", 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURE_DIM])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
