"""Movement as numbers: where in the square how much moves in which direction, from pictures of optical flow."""

import math

import torch
from torch.nn import functional

from glimpse.features.flow import REST, STEP

CELLS = 4  # of the square, a side
DIRECTIONS = 8
MOVED = 3 * DIRECTIONS * CELLS**2  # numbers for a frame


def movement(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures of flow as `flow_of` makes them, but RGB: uint8 (frames, height, width, 3), to numbers (frames, MOVED).

    For each cell how much moves in each direction, and in which directions movement to the right, and movement down,
    grow: histograms of flow and of motion boundaries (Dalal et al. 2006), the square roots of their means. Nothing in
    it is learnt. Rounded as features are when they are stored. No convolutions: mixed precision would touch them.
    """
    flow = (pictures[..., :2].permute(0, 3, 1, 2).float() - REST) / STEP
    smooth = functional.pad(functional.avg_pool2d(flow, 2), (1, 1, 1, 1), mode="replicate")
    fields = [flow, *(_slopes(part) for part in smooth.split(1, 1))]
    amounts = [functional.adaptive_avg_pool2d(_by_direction(field), CELLS) for field in fields]
    return torch.cat(amounts, 1).flatten(1).sqrt().half().float()


def _slopes(values: torch.Tensor) -> torch.Tensor:
    """How values grow to the right and down by Sobel: (frames, 1, height + 2, width + 2) to (…, 2, height, width)."""
    rows = values[:, :, :-2] + 2 * values[:, :, 1:-1] + values[:, :, 2:]
    columns = values[..., :-2] + 2 * values[..., 1:-1] + values[..., 2:]
    return torch.cat([rows[..., 2:] - rows[..., :-2], columns[:, :, 2:] - columns[:, :, :-2]], 1) / 8


def _by_direction(field: torch.Tensor) -> torch.Tensor:
    """How far arrows (frames, 2, height, width) point in each direction: (frames, DIRECTIONS, height, width)."""
    angles = torch.arange(DIRECTIONS, device=field.device)[:, None, None] * (2 * math.pi / DIRECTIONS)
    return (field[:, :1] * angles.cos() + field[:, 1:] * angles.sin()).relu()
