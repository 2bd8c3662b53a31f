"""The model: a backbone that looks at each frame, and what reads its looks in time order.

It goes forward only: after frame t it says what it believes from frames 1..t. One pass gives the whole curve of
accuracy against frames seen, and a stream can be followed as it comes.
"""

import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn

from glimpse.core.files import whole
from glimpse.features.flow_histograms import movement
from glimpse.model.ridge import Ridge

FORMAT = 5  # of model.pt; a file of another format is refused


class LockedDropout(nn.Dropout):
    """Dropout that drops the same numbers in all frames of a clip (Gal and Ghahramani 2016): (clips, frames, width)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * nn.functional.dropout(torch.ones_like(features[:, :1]), self.p, self.training)


class Temporal(nn.Module):
    """Features (clips, frames, width) to logits (clips, frames, actions), a row of logits after each frame.

    widths: of each view of a frame, which together are the width. kind: `lstm` or `gru` read in order; `mean` is the
    running mean of all frames so far; `attention` weighs them, each by itself, so that a frame that tells much counts
    more (softmax over the frames so far). With `lstm+mean` two readers of the same looks come to an answer each, and
    their probabilities are averaged: where order is hard to learn, the mean holds the answer steady. In training the
    answers are learnt each by itself, and come as (readers, clips, frames, actions). Sources: LSTM over frames as in
    LRCN (Donahue et al. 2015); attention as in Ilse et al. 2018.
    """

    def __init__(self, kind: str, widths: Sequence[int], hidden: int, actions: int, dropout: float) -> None:
        super().__init__()
        self.kinds, self.widths = kind.split("+"), [*widths]
        self.norms = nn.ModuleList(map(nn.LayerNorm, widths))
        self.drop = LockedDropout(dropout)
        self.squeeze = nn.Linear(sum(widths), hidden)
        ordered = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.read = nn.ModuleDict(
            {one: ordered[one](hidden, hidden, batch_first=True) for one in self.kinds if one in ordered}
        )
        if "attention" in self.kinds:
            self.score = nn.Linear(hidden, 1)
        self.answer = nn.ModuleDict({one: nn.Linear(hidden, actions) for one in self.kinds})

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        seen = self._seen(features)
        logits = torch.stack([self.answer[one](self.drop(self._summary(one, seen))) for one in self.kinds])
        return logits if self.training else together(logits)

    def _seen(self, features: torch.Tensor) -> torch.Tensor:
        """What all readers are given of features (clips, frames, width): (clips, frames, hidden)."""
        views = features.split(self.widths, 2)
        alike = [norm(view) for norm, view in zip(self.norms, views, strict=True)]  # no view outweighs another
        return torch.relu(self.squeeze(self.drop(torch.cat(alike, 2))))

    @property
    def carried(self) -> dict[str, int]:
        """How many numbers each reader carries from frame to frame."""
        hidden = self.squeeze.out_features
        of = {"lstm": 2 * hidden, "gru": hidden, "mean": hidden + 1, "attention": hidden + 2}
        return {kind: of[kind] for kind in self.kinds}

    def step(self, features: torch.Tensor, carried: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One frame more: features (clips, width) and what is carried from the frames before, (clips, numbers),
        zeros before the first. Returns the logits (clips, actions) that `forward` has there, and what to carry on."""
        seen = self._seen(features[:, None])[:, 0]
        logits, after = [], []
        for kind, before in zip(self.kinds, carried.split([*self.carried.values()], 1), strict=True):
            summary, kept = self._stepped(kind, seen, before)
            logits.append(self.answer[kind](summary))
            after.append(kept)
        return together(torch.stack(logits)), torch.cat(after, 1)

    def _stepped(self, kind: str, seen: torch.Tensor, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What a reader knows after one frame more, (clips, hidden), and what it carries on."""
        hidden = seen.shape[1]
        if kind == "lstm":
            _, kept = self.read[kind](seen[:, None], tuple(part[None].contiguous() for part in before.split(hidden, 1)))
            return kept[0][0], torch.cat([kept[0][0], kept[1][0]], 1)
        if kind == "gru":
            _, last = self.read[kind](seen[:, None], before[None].contiguous())
            return last[0], last[0]
        if kind == "mean":
            total = before + torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
            return total[:, :-1] / total[:, -1:], total
        total, weight, highest = before.split([hidden, 1, 1], 1)  # weights relative to exp(highest), so none overflows
        score = self.score(seen)
        above = torch.where(weight > 0, torch.maximum(highest, score), score)
        less, own = torch.exp(highest - above), torch.exp(score - above)
        total, weight = total * less + seen * own, weight * less + own
        return total / weight, torch.cat([total, weight, above], 1)

    def _summary(self, kind: str, seen: torch.Tensor) -> torch.Tensor:
        """What a reader knows after each frame: (clips, frames, hidden)."""
        frames = seen.shape[1]
        if kind in self.read:
            return self.read[kind](seen)[0]
        if kind == "mean":
            return seen.cumsum(1) / torch.arange(1, frames + 1, device=seen.device)[:, None]  # of the frames so far
        scores = self.score(seen).transpose(1, 2).expand(-1, frames, -1)  # (clips, after this frame, of this frame)
        later = torch.ones(frames, frames, dtype=torch.bool, device=seen.device).triu(1)
        return scores.masked_fill(later, -torch.inf).softmax(2) @ seen


def reader(kind: str, widths: Sequence[int], hidden: int, actions: int, dropout: float = 0.0) -> Temporal | Ridge:
    """What reads the looks, as the setting `model.temporal` says."""
    return Ridge(widths, actions) if kind == "ridge" else Temporal(kind, widths, hidden, actions, dropout)


def together(logits: torch.Tensor) -> torch.Tensor:
    """The logits of the readers' mean probabilities: (readers, …, actions) to (…, actions)."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


class Network(nn.Module):
    """Looks to logits: uint8 RGB (clips, frames, views, height, width, 3) to what is answered by what reads them.

    One backbone for all frames, or, untied, as many backbones as frames: the n-th looks at the n-th frame. They see the
    first `seen` views of it, and `movement` the one after those, if there is one.
    """

    def __init__(self, backbones: Iterable[nn.Module], temporal: Temporal | Ridge, seen: int) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        self.temporal, self.seen = temporal, seen

    def forward(self, looks: torch.Tensor) -> torch.Tensor:
        clips, frames, views = looks.shape[0], looks.shape[1], looks[:, :, : self.seen]
        if len(self.backbones) == 1:
            features = self.backbones[0](views.flatten(0, 2)).unflatten(0, (clips, frames, self.seen))
        else:
            each = [see(views[:, t].flatten(0, 1)).unflatten(0, (clips, -1)) for t, see in enumerate(self.backbones)]
            features = torch.stack(each, dim=1)
        moved = self.moved(looks.flatten(0, 1)).unflatten(0, (clips, frames))
        return self.temporal(torch.cat([features.flatten(2).float(), moved], 2))

    def moved(self, looks: torch.Tensor) -> torch.Tensor:
        """What is made of flow, of looks (frames, views, height, width, 3): (frames, MOVED), or (frames, 0)."""
        flow = looks[:, self.seen :]
        return movement(flow[:, 0]) if flow.shape[1] else looks.new_zeros((looks.shape[0], 0), dtype=torch.float32)

    @property
    def memory(self) -> int:
        """How many numbers a reading carries from frame to frame: the readers', and untied the frames it has seen."""
        return sum(self.temporal.carried.values()) + (len(self.backbones) > 1)

    def step(self, look: torch.Tensor, carried: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One frame more, seen by several readings: uint8 RGB (views, height, width, 3), carried (readings, memory).

        Returns the logits (readings, actions) that `forward` has there, and what to carry on.
        """
        moved = self.moved(look[None])[0]
        features = torch.stack(
            [torch.cat([backbone(look[: self.seen]).flatten().float(), moved]) for backbone in self.backbones]
        )
        if len(self.backbones) == 1:
            return self.temporal.step(features.expand(carried.shape[0], -1), carried)
        before, count = carried[:, :-1], carried[:, -1]
        logits, after = self.temporal.step(features[count.long().clamp(max=len(features) - 1)], before)
        return logits, torch.cat([after, count[:, None] + 1], 1)


def save(path: Path | str, contents: dict) -> None:
    """Write model.pt: a plain dict of numbers, words and tensors, and no code."""
    with whole(path, "wb") as file:
        file.write(packed({"format": FORMAT, **contents}))


def packed(contents: dict) -> bytes:
    """What torch would write, to be written by us: on a full disk torch raises errors of its own."""
    made = io.BytesIO()
    torch.save(contents, made)
    return made.getvalue()


def unpacked(path: Path | str) -> dict:
    """What `packed` made, on the CPU, its check sums compared, which torch doesn't; no code in it is run.

    Raises OSError for a file that can't be read, and many kinds of errors for one that is damaged.
    """
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise zipfile.BadZipFile(damaged)
    return torch.load(path, weights_only=True, map_location="cpu")


def load(path: Path | str) -> dict:
    """What `save` wrote. A file that is missing, damaged or of another format ends the program with one line."""
    try:
        contents = unpacked(path)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to train it") from None
    except Exception as error:  # many kinds, for bytes that are no model, or that hold code
        raise SystemExit(f"{path}: not a model of Glimpse, or damaged ({type(error).__name__})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise SystemExit(f"{path}: not a model of this version of Glimpse (format {FORMAT}): train it again")
    return contents
