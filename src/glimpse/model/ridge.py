"""Ridge regression as a temporal head: no order and no epochs, solved in closed form within a second."""

from collections.abc import Sequence

import torch
from torch import nn

PENALTY = 1.0  # on the squared weights, where the features of a clip are scaled to a mean squared norm of 1


class Ridge(nn.Module):
    """Linear classifier on the running mean of the frames so far, with the interface of `TemporalHead`.

    feature_dims: of each modality, normalised on its own. One regression per class, to 1 for its clips and to 0 for
    the others (Hoerl and Kennard 1970).
    """

    closed_form = True
    SCALE = 10.0  # logits per unit of the regression target, so that temperatures are of the usual size

    def __init__(self, feature_dims: Sequence[int], classes: int) -> None:
        super().__init__()
        self.feature_dims = [*feature_dims]
        self.classifier = nn.Linear(sum(feature_dims), classes).requires_grad_(False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (clips, frames, sum of feature_dims) to logits (clips, frames, classes)."""
        return self.classifier(self.summary(features))

    def summary(self, features: torch.Tensor) -> torch.Tensor:
        """Running mean of the normalised features, in and out (clips, frames, sum of feature_dims)."""
        normalized = self._normalize(features)
        return normalized.cumsum(1) / torch.arange(1, normalized.shape[1] + 1, device=normalized.device)[:, None]

    def _normalize(self, features: torch.Tensor) -> torch.Tensor:
        """Layer-normalise each modality of features (…, sum of feature_dims) on its own."""
        modalities = features.split(self.feature_dims, -1)
        return torch.cat([nn.functional.layer_norm(modality, modality.shape[-1:]) for modality in modalities], -1)

    @property
    def state_sizes(self) -> dict[str, int]:
        """Numbers of state carried from frame to frame: the sum of the features, and of how many frames it is."""
        return {"ridge": sum(self.feature_dims) + 1}

    def step(self, features: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One more frame, as `TemporalHead.step`: features (clips, sum of feature_dims), state (clips, numbers)."""
        normalized = self._normalize(features)
        total = state + torch.cat([normalized, torch.ones_like(normalized[:, :1])], 1)
        return self.classifier(total[:, :-1] / total[:, -1:]), total

    @torch.no_grad()
    def fit(self, summaries: torch.Tensor, labels: torch.Tensor, balanced: bool) -> None:
        """Fit to the summaries after the last frame, (clips, sum of feature_dims), and class indices (clips,).

        balanced: all classes have the same total weight. Solved in the primal or the dual, whichever is smaller.
        """
        inputs, classes = summaries.double(), self.classifier.out_features
        targets = nn.functional.one_hot(labels, classes).double()
        weight = torch.ones(len(inputs), dtype=torch.double)
        if balanced:
            weight = (targets / targets.sum(0).clamp(min=1)).sum(1)
        weight = weight[:, None] * len(inputs) / weight.sum()
        input_mean, target_mean = (weight * inputs).mean(0), (weight * targets).mean(0)
        std = (weight * (inputs - input_mean) ** 2).mean(0).sqrt() + 1e-3
        scaled = weight.sqrt() * (inputs - input_mean) / std / len(std) ** 0.5
        residual = weight.sqrt() * (targets - target_mean)
        if len(scaled) < scaled.shape[1]:
            solution = scaled.T @ torch.linalg.solve(scaled @ scaled.T + PENALTY * torch.eye(len(scaled)), residual)
        else:
            solution = torch.linalg.solve(scaled.T @ scaled + PENALTY * torch.eye(scaled.shape[1]), scaled.T @ residual)
        weights = self.SCALE * (solution / len(std) ** 0.5 / std[:, None]).T
        self.classifier.weight.copy_(weights)
        self.classifier.bias.copy_(self.SCALE * target_mean - weights @ input_mean)
