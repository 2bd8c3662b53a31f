"""The whole model: backbones that encode each frame, and the temporal head that reads their features in order."""

from collections.abc import Iterable

import torch
from torch import nn

from glimpse.features.flow_histograms import flow_histograms
from glimpse.model.heads import TemporalHead
from glimpse.model.ridge import Ridge


class VideoNetwork(nn.Module):
    """Views to logits: uint8 RGB (clips, frames, modalities, height, width, 3) to what the head returns.

    One backbone for all frames, or one for each frame position. They encode the first `num_images` modalities;
    a further one, flow, becomes histograms.
    """

    closed_form = False  # trained by gradient descent

    def __init__(self, backbones: Iterable[nn.Module], head: TemporalHead | Ridge, num_images: int) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        self.head, self.num_images = head, num_images

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        clips, frames, images = views.shape[0], views.shape[1], views[:, :, : self.num_images]
        if len(self.backbones) == 1:
            features = self.backbones[0](images.flatten(0, 2)).unflatten(0, (clips, frames, self.num_images))
        else:
            encoded = [
                backbone(images[:, position].flatten(0, 1)).unflatten(0, (clips, -1))
                for position, backbone in enumerate(self.backbones)
            ]
            features = torch.stack(encoded, dim=1)
        flow = self.flow_features(views.flatten(0, 1)).unflatten(0, (clips, frames))
        return self.head(torch.cat([features.flatten(2).float(), flow], 2))

    def flow_features(self, views: torch.Tensor) -> torch.Tensor:
        """Flow histograms of views (frames, modalities, height, width, 3): (frames, FLOW_DIM), or (frames, 0)."""
        flow = views[:, self.num_images :]
        return flow_histograms(flow[:, 0]) if flow.shape[1] else flow.flatten(1).float()

    @property
    def state_size(self) -> int:
        """Numbers of state carried from frame to frame: the head's and, with a backbone per position, a count."""
        return sum(self.head.state_sizes.values()) + (len(self.backbones) > 1)

    def step(self, view: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One more frame for several windows at once: uint8 RGB (modalities, height, width, 3), (windows, state_size).

        Returns the logits (windows, classes) that `forward` has after this frame, and the new state.
        """
        flow = self.flow_features(view[None])[0]
        features = torch.stack(
            [torch.cat([backbone(view[: self.num_images]).flatten().float(), flow]) for backbone in self.backbones]
        )
        if len(self.backbones) == 1:
            return self.head.step(features.expand(state.shape[0], -1), state)
        head_state, count = state[:, :-1], state[:, -1]
        logits, head_state = self.head.step(features[count.long().clamp(max=len(features) - 1)], head_state)
        return logits, torch.cat([head_state, count[:, None] + 1], 1)
