"""The model: a backbone that looks at each frame, and what reads its looks in time order.

It goes forward only: after frame t it says what it believes from frames 1..t. One pass gives the whole curve of
accuracy against frames seen, and a stream can be followed as it comes.
"""

import io
import zipfile

import torch
from torch import nn

from glimpse.files import whole

FORMAT = 2  # of model.pt; a file of another format is refused


class LockedDropout(nn.Dropout):
    """Dropout that drops the same numbers in all frames of a clip (Gal and Ghahramani 2016): (clips, frames, width)."""

    def forward(self, features):
        return features * nn.functional.dropout(torch.ones_like(features[:, :1]), self.p, self.training)


class Temporal(nn.Module):
    """Features (clips, frames, views * width) to logits (clips, frames, actions), a row of logits after each frame.

    kind: `lstm` or `gru` read in order; `mean` is the running mean of all frames so far; `attention` weighs them, each
    by itself, so that a frame that tells much counts more (softmax over the frames so far). Sources: LSTM over frames
    as in LRCN (Donahue et al. 2015); attention as in Ilse et al. 2018.
    """

    def __init__(self, kind, views, width, hidden, actions, dropout):
        super().__init__()
        self.kind, self.views = kind, views
        self.norm = nn.LayerNorm(width)
        self.drop = LockedDropout(dropout)
        self.squeeze = nn.Linear(views * width, hidden)
        if kind in ("lstm", "gru"):
            self.read = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](hidden, hidden, batch_first=True)
        elif kind == "attention":
            self.score = nn.Linear(hidden, 1)
        self.answer = nn.Linear(hidden, actions)

    def forward(self, features):
        alike = self.norm(features.unflatten(2, (self.views, -1))).flatten(2)  # no view outweighs another
        seen = torch.relu(self.squeeze(self.drop(alike)))  # (clips, frames, hidden)
        frames = seen.shape[1]
        if self.kind in ("lstm", "gru"):
            summary, _ = self.read(seen)
        elif self.kind == "mean":
            summary = seen.cumsum(1) / torch.arange(1, frames + 1, device=seen.device)[:, None]  # of the frames so far
        else:
            scores = self.score(seen).transpose(1, 2).expand(-1, frames, -1)  # (clips, after this frame, of this frame)
            later = torch.ones(frames, frames, dtype=torch.bool, device=seen.device).triu(1)
            summary = scores.masked_fill(later, -torch.inf).softmax(2) @ seen
        return self.answer(self.drop(summary))


class Network(nn.Module):
    """Looks to logits: uint8 RGB (clips, frames, views, height, width, 3) to (clips, frames, actions).

    One backbone for all frames, or, untied, as many backbones as frames: the n-th looks at the n-th frame.
    """

    def __init__(self, backbones, temporal):
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        self.temporal = temporal

    def forward(self, looks):
        clips, frames, views = looks.shape[:3]
        if len(self.backbones) == 1:
            features = self.backbones[0](looks.flatten(0, 2)).unflatten(0, (clips, frames, views))
        else:
            each = [see(looks[:, t].flatten(0, 1)).unflatten(0, (clips, views)) for t, see in enumerate(self.backbones)]
            features = torch.stack(each, dim=1)
        return self.temporal(features.flatten(2).float())


def save(path, contents):
    """Write model.pt: a plain dict of numbers, words and tensors, and no code."""
    made = io.BytesIO()  # torch has words of its own for a disk that is full
    torch.save({"format": FORMAT, **contents}, made)
    with whole(path, "wb") as file:
        file.write(made.getvalue())


def load(path):
    """What `save` wrote. A file that is missing, damaged or of another format ends the program with one line."""
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # torch reads on over wrong check sums
                raise zipfile.BadZipFile(damaged)
        contents = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to train it") from None
    except Exception as error:  # many kinds, for bytes that are no model, or that hold code
        raise SystemExit(f"{path}: not a model of Glimpse, or damaged ({type(error).__name__})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise SystemExit(f"{path}: not a model of this version of Glimpse (format {FORMAT}): train it again")
    return contents
