"""Grad-CAM (Selvaraju et al. 2017): heatmaps of the pixels that support a prediction. Needs PyTorch, for gradients."""

from itertools import cycle

import cv2
import numpy as np
import torch
from torch.nn import functional

from glimpse.features.views import Box, ClipViews, clamp_box
from glimpse.inference.torch_recognizer import TorchRecognizer

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
    flow = network.flow_features(views)
    with torch.no_grad():  # the last feature maps: (frames, num_images, channels, rows, columns)
        pairs = zip(cycle(network.backbones), views)  # one backbone for all frames, or one for each
        maps = torch.stack([backbone.feature_maps(view[: network.num_images]) for backbone, view in pairs])  # type: ignore[operator]
    maps.requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's LSTM has no gradients in eval mode
        logits = network.head(torch.cat([maps.mean((3, 4)).flatten(1), flow], 1)[None])[0]
    label = int(logits[-1].argmax()) if label is None else label
    (gradients,) = torch.autograd.grad(logits[-1, label], maps)
    # per position and channel, summed over channels; negative parts removed; summed over RGB and RGB difference
    support = functional.relu((gradients * maps).sum(2)).sum(1).detach().cpu().numpy()
    heatmaps = [*map(_uncrop, support, clip_views.frames, clip_views.boxes)]
    maximum = max(heatmap.max() for heatmap in heatmaps) or 1.0
    probs = torch.softmax(logits.detach() / recognizer.config.temperature, -1).cpu().numpy()
    return probs, [heatmap / maximum for heatmap in heatmaps]


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
