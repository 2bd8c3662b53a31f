"""Grad-CAM (Selvaraju et al. 2017): where in the frames it read a model found its answer, and that as a picture.

PyTorch: whatever else runs a model has no gradients.
"""

from collections.abc import Collection
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch.nn import functional

from glimpse.core.frame_store import StoredClip
from glimpse.features.views import clamp_box, clean_views, prepare_frames
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.network import VideoNetwork

STRENGTH = 0.7  # how far the hottest spot hides the frame under it


def gradcam(
    recognizer: TorchRecognizer,
    stored: StoredClip,
    positions: Collection[int] | None,
    clip: str,
    action: int | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What a model believes after each frame of a clip, (use, actions), and where it found its last answer.

    The heat of each frame read, float32 (height, width) as it is stored: 0 outside the square that was looked at, 1 at
    the clip's hottest spot (all 0 where nothing spoke for the answer). What flow said isn't in it. `positions`: as in
    `believe`; `action`: the number of the one to explain, the answer if None.
    """
    positions = recognizer.positions(clip) if positions is None else positions
    network, device = recognizer.network
    looks = torch.from_numpy(clean_views(stored, recognizer.views, positions)).to(device)
    maps, moved = _feature_maps(network, looks), network.flow_features(looks)
    maps.requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # its LSTM has no gradients outside of training
        logits = network.temporal(torch.cat([maps.mean((3, 4)).flatten(1), moved], 1)[None])[0]
    asked = int(logits[-1].argmax()) if action is None else action
    (slopes,) = torch.autograd.grad(logits[-1, asked], maps)
    spoke = functional.relu((slopes * maps).sum(2)).sum(1).detach().cpu().numpy()  # of the frame and of its change
    pictures, squares = prepare_frames(stored, replace(recognizer.views, flow=False), positions)
    laid = [_place_heatmap(one, views[0], square) for one, views, square in zip(spoke, pictures, squares, strict=True)]
    hottest = max(one.max() for one in laid) or 1.0
    beliefs = torch.softmax(logits.detach() / recognizer.temperature, -1).cpu().numpy()
    return beliefs, [one / hottest for one in laid]


@torch.no_grad()
def _feature_maps(network: VideoNetwork, looks: torch.Tensor) -> torch.Tensor:
    """The backbone's last maps of looks (frames, views, size, size, 3): (frames, seen, 1280, rows, columns)."""
    sees = list(network.backbones) if len(network.backbones) > 1 else [network.backbones[0]] * len(looks)
    return torch.stack([see.maps(views[: network.num_images]) for see, views in zip(sees, looks, strict=False)])  # type: ignore[operator]


def _place_heatmap(spoke: np.ndarray, frame: np.ndarray, square: tuple[float, float, float]) -> np.ndarray:
    """What spoke in each part of a square, (rows, columns), on the frame that it was cut from: (height, width)."""
    left, top, side = clamp_box(frame, square)
    laid = np.zeros(frame.shape[:2], np.float32)
    laid[top : top + side, left : left + side] = cv2.resize(spoke, (side, side), interpolation=cv2.INTER_LINEAR)
    return laid


def blend_heatmap(frame: np.ndarray, gradcam: np.ndarray) -> np.ndarray:
    """A BGR frame with its heat, 0 to 1, laid over it: the hotter, the brighter, and the less of the frame is seen."""
    colours = cv2.applyColorMap(np.round(gradcam * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = STRENGTH * np.sqrt(gradcam[..., None])
    return np.round(frame * (1 - share) + colours * share).astype(np.uint8)
