"""Histograms of optical flow and of motion boundaries (HOF and MBH, Dalal et al. 2006) in a grid of cells."""

import math

import torch
from torch.nn import functional

from glimpse.features.flow import FLOW_SCALE, ZERO_FLOW

CELLS = 4  # per side of the view
DIRECTIONS = 8
FLOW_DIM = 3 * DIRECTIONS * CELLS**2  # features per frame


def flow_histograms(images: torch.Tensor) -> torch.Tensor:
    """Flow images of `compute_flow`, but RGB: uint8 (frames, height, width, 3), to features (frames, FLOW_DIM).

    Per cell and direction the mean flow, and the mean gradients of horizontal and of vertical flow; square roots.
    Nothing is learnt. Rounded to float16 as stored features are. No convolutions, which mixed precision would round.
    """
    flow = (images[..., :2].permute(0, 3, 1, 2).float() - ZERO_FLOW) / FLOW_SCALE
    smooth = functional.pad(functional.avg_pool2d(flow, 2), (1, 1, 1, 1), mode="replicate")
    fields = [flow, *(_gradients(component) for component in smooth.split(1, 1))]
    histograms = [functional.adaptive_avg_pool2d(_orientation_bins(field), CELLS) for field in fields]
    return torch.cat(histograms, 1).flatten(1).sqrt().half().float()


def _gradients(values: torch.Tensor) -> torch.Tensor:
    """Sobel gradients, horizontal and vertical: (frames, 1, height + 2, width + 2) to (frames, 2, height, width)."""
    rows = values[:, :, :-2] + 2 * values[:, :, 1:-1] + values[:, :, 2:]
    columns = values[..., :-2] + 2 * values[..., 1:-1] + values[..., 2:]
    return torch.cat([rows[..., 2:] - rows[..., :-2], columns[:, :, 2:] - columns[:, :, :-2]], 1) / 8


def _orientation_bins(field: torch.Tensor) -> torch.Tensor:
    """Component of each vector (frames, 2, height, width) along each direction: (frames, DIRECTIONS, height, width)."""
    angles = torch.arange(DIRECTIONS, device=field.device)[:, None, None] * (2 * math.pi / DIRECTIONS)
    return (field[:, :1] * angles.cos() + field[:, 1:] * angles.sin()).relu()
