"""Temporal heads: from the features of a clip's frames, in time order, to class logits after each frame.

All are causal: the logits after frame t depend on frames 1..t alone, so one pass gives the accuracy after 1, 2, …
frames, and a stream is predicted frame by frame (`step`) with the same result. Ridge regression is in `ridge`.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from glimpse.model.ridge import Ridge


class VariationalDropout(nn.Dropout):
    """Dropout with one mask for all frames of a clip (Gal and Ghahramani 2016): (clips, frames, features)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * nn.functional.dropout(torch.ones_like(features[:, :1]), self.p, self.training)


class TemporalHead(nn.Module):
    """Features (clips, frames, sum of feature_dims) to logits (clips, frames, classes).

    feature_dims: of each modality; each is layer-normalised on its own. kind: `lstm` or `gru` (LRCN, Donahue et al.
    2015); `mean`, the running mean of the frames so far; `attention`, their softmax-weighted mean (Ilse et al. 2018);
    or several joined by "+", whose probabilities are averaged. In training each kind has its own loss: the logits
    are then (kinds, clips, frames, classes).
    """

    closed_form = False  # trained by gradient descent

    def __init__(self, kind: str, feature_dims: Sequence[int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.kinds, self.feature_dims = kind.split("+"), [*feature_dims]
        self.norm = nn.ModuleList(map(nn.LayerNorm, feature_dims))
        self.dropout = VariationalDropout(dropout)
        self.proj = nn.Linear(sum(feature_dims), hidden)
        recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = nn.ModuleDict(
            {name: recurrent[name](hidden, hidden, batch_first=True) for name in self.kinds if name in recurrent}
        )
        if "attention" in self.kinds:
            self.attn = nn.Linear(hidden, 1)
        self.classifier = nn.ModuleDict({name: nn.Linear(hidden, classes) for name in self.kinds})

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        embedded = self._embed(features)
        logits = torch.stack([self.classifier[kind](self.dropout(self._pool(kind, embedded))) for kind in self.kinds])
        return logits if self.training else mean_logits(logits)

    def _embed(self, features: torch.Tensor) -> torch.Tensor:
        """Features (clips, frames, sum of feature_dims) to (clips, frames, hidden)."""
        modalities = features.split(self.feature_dims, 2)
        normalized = [norm(modality) for norm, modality in zip(self.norm, modalities, strict=True)]
        return torch.relu(self.proj(self.dropout(torch.cat(normalized, 2))))

    def _pool(self, kind: str, embedded: torch.Tensor) -> torch.Tensor:
        """Summary of the frames so far, after each frame: (clips, frames, hidden)."""
        frames = embedded.shape[1]
        if kind in self.rnn:
            return self.rnn[kind](embedded)[0]
        if kind == "mean":
            return embedded.cumsum(1) / torch.arange(1, frames + 1, device=embedded.device)[:, None]
        scores = self.attn(embedded).transpose(1, 2).expand(-1, frames, -1)  # (clips, up to frame, of frame)
        later = torch.ones(frames, frames, dtype=torch.bool, device=embedded.device).triu(1)
        return scores.masked_fill(later, -torch.inf).softmax(2) @ embedded

    @property
    def state_sizes(self) -> dict[str, int]:
        """Numbers of state that each kind carries from frame to frame."""
        hidden = self.proj.out_features
        sizes = {"lstm": 2 * hidden, "gru": hidden, "mean": hidden + 1, "attention": hidden + 2}
        return {kind: sizes[kind] for kind in self.kinds}

    def step(self, features: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One more frame: features (clips, sum of feature_dims), state (clips, sum of state_sizes), zeros at first.

        Returns the logits (clips, classes) that `forward` has after this frame, and the new state.
        """
        embedded = self._embed(features[:, None])[:, 0]
        logits, states = [], []
        for kind, previous in zip(self.kinds, state.split([*self.state_sizes.values()], 1), strict=True):
            summary, updated = self._step_one(kind, embedded, previous)
            logits.append(self.classifier[kind](summary))
            states.append(updated)
        return mean_logits(torch.stack(logits)), torch.cat(states, 1)

    def _step_one(self, kind: str, embedded: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The summary after one more frame, (clips, hidden), and the new state of this kind."""
        hidden = embedded.shape[1]
        if kind == "lstm":
            previous = tuple(half[None].contiguous() for half in state.split(hidden, 1))  # hidden state, cell state
            _, (output, cell) = self.rnn[kind](embedded[:, None], previous)
            return output[0], torch.cat([output[0], cell[0]], 1)
        if kind == "gru":
            _, output = self.rnn[kind](embedded[:, None], state[None].contiguous())
            return output[0], output[0]
        if kind == "mean":
            total = state + torch.cat([embedded, torch.ones_like(embedded[:, :1])], 1)  # sum, count
            return total[:, :-1] / total[:, -1:], total
        total, weight, highest = state.split([hidden, 1, 1], 1)  # weights relative to exp(highest): none overflows
        score = self.attn(embedded)
        new_highest = torch.where(weight > 0, torch.maximum(highest, score), score)
        decay, own = torch.exp(highest - new_highest), torch.exp(score - new_highest)
        total, weight = total * decay + embedded * own, weight * decay + own
        return total / weight, torch.cat([total, weight, new_highest], 1)


def mean_logits(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the mean of the kinds' probabilities: (kinds, …, classes) to (…, classes)."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def build_head(
    kind: str, feature_dims: Sequence[int], hidden: int, classes: int, dropout: float = 0.0
) -> TemporalHead | Ridge:
    """The temporal head that the setting `model.head` names."""
    return (
        Ridge(feature_dims, classes) if kind == "ridge" else TemporalHead(kind, feature_dims, hidden, classes, dropout)
    )
