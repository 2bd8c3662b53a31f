"""Ridge regression in place of a network that reads the looks: no order, no epochs, solved in one step.

With few clips it holds its own against what is trained step by step, and takes a second.
"""

from collections.abc import Sequence

import torch
from torch import nn

PENALTY = 1.0  # on the weights, where the squares of a clip's numbers come to 1 on average


class Ridge(nn.Module):
    """Features (clips, frames, width) to logits (clips, frames, actions): linear in the running mean of all frames so
    far. What reads looks in other ways, `Temporal`, has the same methods.

    `widths`: of each view of a frame, which together are the width. Each action is told from the others by regression
    on 1 where it is shown and 0 where it isn't (Hoerl and Kennard 1970).
    """

    SHARP = 10.0  # logits for a step from 0 to 1, so that temperatures are of the usual size

    def __init__(self, widths: Sequence[int], actions: int) -> None:
        super().__init__()
        self.widths = [*widths]
        self.answer = nn.Linear(sum(widths), actions).requires_grad_(False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.answer(self.summary(features))

    def summary(self, features: torch.Tensor) -> torch.Tensor:
        """The mean of all frames so far, after each: (clips, frames, width), from features of that shape."""
        alike = self._alike(features)
        return alike.cumsum(1) / torch.arange(1, alike.shape[1] + 1, device=alike.device)[:, None]

    def _alike(self, features: torch.Tensor) -> torch.Tensor:
        """Features (…, width) of which no view and no frame outweighs another."""
        views = features.split(self.widths, -1)
        return torch.cat([nn.functional.layer_norm(view, view.shape[-1:]) for view in views], -1)

    @property
    def carried(self) -> dict[str, int]:
        """How many numbers are carried from frame to frame: the sum, and of how many frames it is."""
        return {"ridge": sum(self.widths) + 1}

    def step(self, features: torch.Tensor, carried: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One frame more, as `Temporal.step` has it: features (clips, width), carried (clips, numbers)."""
        alike = self._alike(features)
        total = carried + torch.cat([alike, torch.ones_like(alike[:, :1])], 1)
        return self.answer(total[:, :-1] / total[:, -1:]), total

    @torch.no_grad()
    def solve(self, summary: torch.Tensor, actions: torch.Tensor, balanced: bool) -> None:
        """Learn the actions' numbers (clips,) from summaries (clips, width); balanced: all actions count alike.

        Solved in as many unknowns as there are clips or numbers, whichever are fewer.
        """
        read, count = summary.double(), self.answer.out_features
        wanted = nn.functional.one_hot(actions, count).double()
        weight = (wanted / wanted.sum(0).clamp(min=1)).sum(1) if balanced else torch.ones(len(read), dtype=torch.double)
        weight = weight[:, None] * len(read) / weight.sum()
        middle, aim = (weight * read).mean(0), (weight * wanted).mean(0)
        spread = (weight * (read - middle) ** 2).mean(0).sqrt() + 1e-3
        scaled = weight.sqrt() * (read - middle) / spread / len(spread) ** 0.5
        asked = weight.sqrt() * (wanted - aim)
        if len(scaled) < scaled.shape[1]:
            found = scaled.T @ torch.linalg.solve(scaled @ scaled.T + PENALTY * torch.eye(len(scaled)), asked)
        else:
            found = torch.linalg.solve(scaled.T @ scaled + PENALTY * torch.eye(scaled.shape[1]), scaled.T @ asked)
        weights = self.SHARP * (found / len(spread) ** 0.5 / spread[:, None]).T
        self.answer.weight.copy_(weights)
        self.answer.bias.copy_(self.SHARP * aim - weights @ middle)
