"""Grad-CAM (Selvaraju et al. 2017): heatmaps of the pixels that support a prediction. Needs PyTorch, for gradients."""

import cv2
import numpy as np
import torch
from torch.nn import functional

from glimpse.features.views import Box, ClipViews, clamp_box
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.network import VideoNetwork

MAX_OPACITY = 0.7  # of the heatmap, where it is 1


def gradcam(
    recognizer: TorchRecognizer, clip_views: ClipViews, label: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Probabilities after each frame of a clip, (frames, classes), and a heatmap of each frame.

    A heatmap is float32 (height, width) as the frame is stored: how much its pixels, and those of its RGB difference,
    support the class `label`, by default the one predicted after the last frame. It is 0 outside the crop box and 1 at
    the maximum over the clip (0 everywhere where no pixel supports the class). Flow features are not explained.
    """
    network, device = recognizer.network
    views = torch.from_numpy(clip_views.clean).to(device)
    maps, flow = _feature_maps(network, views), network.flow_features(views)
    maps.requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's LSTM has no gradients in eval mode
        logits = network.head(torch.cat([maps.mean((3, 4)).flatten(1), flow], 1)[None])[0]
    label = int(logits[-1].argmax()) if label is None else label
    (gradients,) = torch.autograd.grad(logits[-1, label], maps)
    # per position and channel, summed over channels; negative parts removed; summed over RGB and RGB difference
    support = functional.relu((gradients * maps).sum(2)).sum(1).detach().cpu().numpy()
    heatmaps = [
        _uncrop(values, frame, box)
        for values, frame, box in zip(support, clip_views.frames, clip_views.boxes, strict=True)
    ]
    maximum = max(heatmap.max() for heatmap in heatmaps) or 1.0
    probs = torch.softmax(logits.detach() / recognizer.config.temperature, -1).cpu().numpy()
    return probs, [heatmap / maximum for heatmap in heatmaps]


@torch.no_grad()
def _feature_maps(network: VideoNetwork, views: torch.Tensor) -> torch.Tensor:
    """The backbone's last feature maps of views (frames, modalities, size, size, 3).

    Returns (frames, num_images, channels, rows, columns).
    """
    shared = len(network.backbones) == 1
    backbones = [network.backbones[0]] * len(views) if shared else list(network.backbones)
    images = views[:, : network.num_images]
    return torch.stack([backbone.feature_maps(image) for backbone, image in zip(backbones, images, strict=False)])  # type: ignore[operator]


def _uncrop(values: np.ndarray, frame: np.ndarray, box: Box) -> np.ndarray:
    """Resize values (rows, columns) of a crop to its box in the frame: float32 (height, width), 0 outside."""
    left, top, side = clamp_box(frame, box)
    heatmap = np.zeros(frame.shape[:2], np.float32)
    heatmap[top : top + side, left : left + side] = cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR)
    return heatmap


def blend_heatmap(frame: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Blend a heatmap (height, width), 0 to 1, over a BGR frame: the higher, the brighter and the more opaque."""
    colours = cv2.applyColorMap(np.round(heatmap * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = MAX_OPACITY * np.sqrt(heatmap[..., None])
    return np.round(frame * (1 - opacity) + colours * opacity).astype(np.uint8)
