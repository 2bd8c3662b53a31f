"""The training loop: epochs over the train split, and the epoch with the best validation accuracy."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_accuracy
from tqdm import tqdm

from glimpse.core.settings import TrainSettings
from glimpse.core.splits import Split
from glimpse.features.extractor import mixed_precision
from glimpse.model.heads import TemporalHead, mean_logits
from glimpse.model.network import VideoNetwork
from glimpse.model.ridge import Ridge
from glimpse.train.checkpoint import Checkpoint
from glimpse.train.datasets import ClipDataset, FrameSampler, StoredFeatures, StoredFrames, class_sampler, make_loader

AUX_LOSS_WEIGHT = 0.3  # of the loss after every frame; the rest is the loss after the last one

Row = dict[str, float]  # of history.csv


@dataclass
class TrainResult:
    """What a training returns, besides the network's weights."""

    best_epoch: Row
    history: list[Row]
    val_logits: torch.Tensor  # (clips, classes), of the best epoch, before any training on val


@dataclass
class Optimization:
    """What the training steps update beside the network, and the loss that they minimise."""

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    averaged: AveragedModel
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class Trainer:
    """Trains a network on inputs from one source, sampled by one sampler, on one device.

    parameter_groups: the optimizer's, with their learning rates.
    """

    network: TemporalHead | Ridge | VideoNetwork
    source: StoredFeatures | StoredFrames
    sampler: FrameSampler
    settings: TrainSettings
    parameter_groups: list[dict[str, Any]]
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    workers: int = 0
    checkpoint: Checkpoint | None = None

    def train(self, train: Split, val: Split) -> TrainResult:
        """Train, and leave the network with the weights of the best epoch.

        With `settings.refit` the network is then trained again from its initial weights for as many epochs as were
        best, on the clips of train and val, and left with its last weights: clips are few, and val has done its work.
        """
        if self.network.closed_form:
            return self._train_closed_form(train, val)
        initial = copy.deepcopy(self.network.state_dict())
        val_loader = self.eval_loader(val)
        best, history = self.fit(train, val_loader, self.settings.epochs, self.checkpoint)
        logits = self.predict_logits(self.network, val_loader)[0]
        if self.settings.refit:
            self.network.load_state_dict(initial)
            torch.manual_seed(self.seed)
            tqdm.write(f"refit from the initial weights on train and val clips, for {best['epoch']} epochs")
            self.fit(train + val, None, int(best["epoch"]), self.checkpoint and self.checkpoint.for_refit())
        return TrainResult(best, history, logits)

    def fit(
        self, split: Split, val_loader: DataLoader | None, epochs: int, checkpoint: Checkpoint | None
    ) -> tuple[Row, list[Row]]:
        """Train for at most `epochs`, until patience ends; load the best weights; returns the best row and all rows.

        The best epoch has the highest validation accuracy, among equals the lowest validation loss; without a
        `val_loader` it is the last. What is validated is an exponential moving average of the weights over the steps
        (Polyak and Juditsky 1992). A `checkpoint` is resumed from and saved to after each epoch.
        """
        settings, network = self.settings, self.network
        steps = settings.epochs * len(self.train_loader(split, 1))
        rates = [group["lr"] for group in self.parameter_groups]
        optimizer = torch.optim.AdamW(map(dict, self.parameter_groups), weight_decay=settings.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        modules = {"network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
        progress: dict[str, Any] = {"history": [], "best": None, "weights": None}
        if checkpoint:
            progress |= checkpoint.resume(modules)
        history = progress["history"]
        weight = class_weights(split.labels, settings.class_balance, self.device)
        criterion = partial(sequence_loss, label_smoothing=settings.label_smoothing, weight=weight)
        optimization = Optimization(optimizer, schedule, averaged, criterion)
        remaining = range(len(history) + 1, epochs + 1)
        for epoch in tqdm(remaining, "training", epochs, unit="epoch", initial=len(history), disable=None):
            best = progress["best"]
            if best and epoch - best["epoch"] > settings.patience:
                break
            loss, accuracy = self.train_one_epoch(optimization, self.train_loader(split, epoch))
            row, is_best = {"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy}, True
            line = f"epoch {epoch:3d}  train: loss {loss:.4f}, accuracy {accuracy:.4f}"
            if val_loader:
                val_loss, val_accuracy = self.evaluate(averaged.module, val_loader)
                row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
                is_best = best is None or (val_accuracy, -val_loss) > (best["val_accuracy"], -best["val_loss"])
                line += f"  val: loss {val_loss:.4f}, accuracy {val_accuracy:.4f}{'  best so far' if is_best else ''}"
            history.append(row)
            if is_best:
                progress |= {"best": row, "weights": copy.deepcopy(averaged.module.state_dict())}
            if checkpoint:
                checkpoint.save(progress, modules, self.device)
            tqdm.write(line)
            sys.stdout.flush()
        network.load_state_dict(progress["weights"])
        return progress["best"], history

    def train_one_epoch(self, optimization: Optimization, loader: DataLoader) -> tuple[float, float]:
        """One pass over the loader; returns the mean loss and accuracy of the batches, each before its step."""
        self.network.train()
        total_loss, correct, clips = 0.0, 0.0, 0
        for inputs, labels in self.batches(loader):
            with mixed_precision(self.device, self.precision):
                logits = self.network(inputs).float()  # (kinds, clips, frames, classes)
            loss = optimization.criterion(logits, labels)
            optimization.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
            optimization.optimizer.step()
            optimization.schedule.step()
            optimization.averaged.update_parameters(self.network)
            total_loss += loss.item() * len(labels)
            correct += (mean_logits(logits[:, :, -1]).argmax(1) == labels).sum().item()
            clips += len(labels)
        return total_loss / clips, correct / clips

    def _train_closed_form(self, train: Split, val: Split) -> TrainResult:
        """Fit a closed-form head to the clean views; the only row of its history stands for epoch 1."""
        row: Row = {"epoch": 1}
        self._fit_closed_form(train)
        loaders = {"train": self.eval_loader(train), "val": self.eval_loader(val)}
        for name, loader in loaders.items():
            loss, accuracy = self.evaluate(self.network, loader)
            row |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
            tqdm.write(f"solved in closed form  {name}: loss {loss:.4f}, accuracy {accuracy:.4f}")
        logits = self.predict_logits(self.network, loaders["val"])[0]
        if self.settings.refit:
            self._fit_closed_form(train + val)
        return TrainResult(row, [row], logits)

    def _fit_closed_form(self, split: Split) -> None:
        head: Any = self.network
        batches = [(head.summary(inputs)[:, -1], labels) for inputs, labels in self.eval_loader(split)]
        summaries, labels = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        head.fit(summaries, labels, self.settings.class_balance != "none")

    def train_loader(self, split: Split, epoch: int) -> DataLoader:
        """Batches of a training epoch."""
        order = class_sampler(split.labels, self.settings.class_balance, self.seed + epoch)
        dataset = ClipDataset(self.source, split, *self.sampler.train_positions(split.clips, epoch))
        return make_loader(dataset, self.settings.batch_size, self.workers, order)

    def eval_loader(self, split: Split) -> DataLoader:
        """Batches for validation and test, in the order of the clips."""
        dataset = ClipDataset(self.source, split, *self.sampler.eval_positions(split.clips))
        return make_loader(dataset, self.settings.batch_size, self.workers)

    def batches(self, loader: DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """A loader's batches on the device."""
        for inputs, labels in loader:
            yield inputs.to(self.device), labels.to(self.device)

    @torch.inference_mode()
    def predict_logits(self, network: nn.Module, loader: DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits after the last frame (clips, classes), and class indices (clips,), both on the CPU."""
        network.eval()
        logits, targets = [], []
        for inputs, labels in self.batches(loader):
            with mixed_precision(self.device, self.precision):
                logits.append(network(inputs)[:, -1].float().cpu())
            targets.append(labels.cpu())
        return torch.cat(logits), torch.cat(targets)

    def evaluate(self, network: nn.Module, loader: DataLoader) -> tuple[float, float]:
        """Cross-entropy and multiclass accuracy after the last frame."""
        logits, labels = self.predict_logits(network, loader)
        accuracy = multiclass_accuracy(logits, labels, logits.shape[1], average="micro")
        return nn.functional.cross_entropy(logits, labels).item(), accuracy.item()


def sequence_loss(
    logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy after the last frame and, with AUX_LOSS_WEIGHT, after every frame; mean over the kinds of head.

    logits: (kinds, clips, frames, classes); labels: class indices (clips,).
    """
    kinds, _, frames, _ = logits.shape
    logits, labels = logits.flatten(0, 1), labels.repeat(kinds)
    last = nn.functional.cross_entropy(logits[:, -1], labels, weight, label_smoothing=label_smoothing)
    per_frame = labels.repeat_interleave(frames)
    every = nn.functional.cross_entropy(logits.flatten(0, 1), per_frame, weight, label_smoothing=label_smoothing)
    return (1 - AUX_LOSS_WEIGHT) * last + AUX_LOSS_WEIGHT * every


def class_weights(labels: np.ndarray, class_balance: str, device: torch.device) -> torch.Tensor | None:
    """Weights that give every class the same share of the loss, (classes,); None without `weights`."""
    if class_balance != "weights":
        return None
    classes = len(set(labels.tolist()))
    weights = len(labels) / (classes * np.bincount(labels, minlength=classes))
    return torch.tensor(weights, dtype=torch.float32, device=device)
