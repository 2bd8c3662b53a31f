"""Movement as numbers: where in the square how much moves in which direction, from pictures of optical flow."""

import math

import torch
from torch.nn import functional

from glimpse.flow import REST, STEP

CELLS = 4  # of the square, a side
DIRECTIONS = 8
MOVED = 3 * DIRECTIONS * CELLS**2  # numbers for a frame


def movement(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures of flow as `flow_of` makes them, uint8 RGB (frames, height, width, 3), to numbers (frames, MOVED).

    For each cell how much moves in each direction, and in which directions movement to the right, and movement down,
    grow: histograms of flow and of motion boundaries (Dalal et al. 2006), the square roots of their means. Nothing in
    it is learnt. Rounded as features are when they are stored.
    """
    flow = (pictures[..., :2].permute(0, 3, 1, 2).float() - REST) / STEP
    angles = torch.arange(DIRECTIONS, device=flow.device) * (2 * math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None]
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=flow.device) / 8
    slopes = torch.stack([across, across.T])[:, None]
    smooth = functional.pad(functional.avg_pool2d(flow, 2), (1, 1, 1, 1), mode="replicate")
    fields = [flow, *(functional.conv2d(part, slopes) for part in smooth.split(1, 1))]
    amounts = [functional.adaptive_avg_pool2d(functional.conv2d(field, directions).relu(), CELLS) for field in fields]
    return torch.cat(amounts, 1).flatten(1).sqrt().half().float()
