"""Training: epochs over readings of the train part, and the epoch that the val part likes best."""

import copy
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler
from torchmetrics.functional.classification import multiclass_accuracy
from tqdm import tqdm

from glimpse.core.splits import Split
from glimpse.features.extractor import mixed_precision
from glimpse.model.network import mean_logits
from glimpse.model.ridge import Ridge

if TYPE_CHECKING:
    pass

T = TypeVar("T")
AUX_LOSS_WEIGHT = 0.3  # share of the loss for the beliefs before the last frame


def sequence_loss(
    logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of the belief after the last frame and, with a smaller share, of those after every frame; the mean
    over readers: logits (readers, clips, frames, actions), target (clips,)."""
    readers, _, frames, _ = logits.shape
    logits, target = logits.flatten(0, 1), target.repeat(readers)
    last = nn.functional.cross_entropy(logits[:, -1], target, weight, label_smoothing=label_smoothing)
    each = target.repeat_interleave(frames)
    every = nn.functional.cross_entropy(logits.flatten(0, 1), each, weight, label_smoothing=label_smoothing)
    return (1 - AUX_LOSS_WEIGHT) * last + AUX_LOSS_WEIGHT * every


def train_one_epoch(
    network: nn.Module, averaged: AveragedModel, loader: DataLoader, criterion: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, clip_norm: float,
    device: torch.device, precision: str,
) -> tuple[float, float]:  # fmt: skip
    """One pass over the loader, after each step of which the averaged network follows; returns the mean loss and the
    accuracy on the way."""
    network.train()
    losses, hits, seen = 0.0, 0.0, 0
    for looks, target in loader:
        target = target.to(device)
        with mixed_precision(device, precision):
            logits = network(looks.to(device)).float()  # (readers, clips, frames, actions)
        loss = criterion(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        losses += loss.item() * len(target)
        hits += (mean_logits(logits[:, :, -1]).argmax(1) == target).sum().item()
        seen += len(target)
    return losses / seen, hits / seen


@torch.inference_mode()
def predict_logits(
    network: nn.Module, loader: DataLoader, device: torch.device, precision: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says after the last frame, logits (clips, actions), and the actions' numbers (clips,)."""
    network.eval()
    logits, targets = [], []
    for looks, target in loader:
        with mixed_precision(device, precision):
            logits.append(network(looks.to(device))[:, -1].float().cpu())
        targets.append(target)
    return torch.cat(logits), torch.cat(targets)


def evaluate(network: nn.Module, loader: DataLoader, device: torch.device, precision: str) -> tuple[float, float]:
    """The cross-entropy and the multiclass accuracy of the belief after the last frame."""
    logits, targets = predict_logits(network, loader, device, precision)
    accuracy = multiclass_accuracy(logits, targets, logits.shape[1], average="micro")
    return nn.functional.cross_entropy(logits, targets).item(), accuracy.item()


def fit(
    network: nn.Module, train_loader: Callable[[int], DataLoader], val_loader: DataLoader | None,
    weight: torch.Tensor | None, trained: list[dict], settings: SimpleNamespace, epochs: int, device: torch.device,
    precision: str, checkpoint: Any = None,
) -> tuple[dict[str, torch.Tensor], dict[str, float], list[dict[str, float]]]:  # fmt: skip
    """Train until the epochs or the patience are over; returns the best weights, their epoch's row, and all rows.

    The best epoch has the highest validation accuracy; among equals the lowest validation loss; without a `val_loader`
    it is the last one. What is validated and kept is the running average of the weights over the steps (Polyak and
    Juditsky 1992), with `settings.ema_decay` as the share that stays from one step to the next; 0 keeps the weights of
    the last step alone. `train_loader(epoch)` brings the readings of an epoch, `weight` the loss's weight of each
    action, `trained` the optimizer's groups of parameters with their learning rates. A `checkpoint` is gone on from,
    and kept after each epoch.
    """
    rates, steps = [group["lr"] for group in trained], settings.epochs * len(train_loader(1))
    optimizer = torch.optim.AdamW(map(dict, trained), weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)

    def criterion(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return sequence_loss(logits, target, settings.label_smoothing, weight)

    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
    parts = {"network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    so_far: dict[str, Any] = {"rows": [], "best": None, "weights": None}
    if checkpoint:
        so_far |= checkpoint.resume(parts, device)
    rows = so_far["rows"]
    ahead = range(len(rows) + 1, epochs + 1)
    for epoch in tqdm(ahead, "training", epochs, unit="epoch", initial=len(rows), disable=None):
        best = so_far["best"]
        if best and epoch - best["epoch"] > settings.patience:
            break
        readings, clip_norm = train_loader(epoch), settings.max_grad_norm
        loss, accuracy = train_one_epoch(
            network, averaged, readings, criterion, optimizer, schedule, clip_norm, device, precision
        )
        row, better = {"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy}, True
        said = f"epoch {epoch:3d}  train: loss {loss:.4f}, accuracy {accuracy:.4f}"
        if val_loader:
            val_loss, val_accuracy = evaluate(averaged.module, val_loader, device, precision)
            row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
            better = best is None or (val_accuracy, -val_loss) > (best["val_accuracy"], -best["val_loss"])
            said += f"  val: loss {val_loss:.4f}, accuracy {val_accuracy:.4f}{'  best so far' if better else ''}"
        rows.append(row)
        if better:
            so_far |= {"best": row, "weights": copy.deepcopy(averaged.module.state_dict())}
        if checkpoint:
            checkpoint.keep(so_far, parts, device)
        tqdm.write(said)
        sys.stdout.flush()
    return so_far["weights"], so_far["best"], rows


def train(
    readings: Callable[..., Dataset], draws: "Callable[[list[str]], FrameSampler]", train: Split, val: Split, network: nn.Module,
    trained: list[dict], settings: SimpleNamespace, seed: int, device: torch.device,
    precision: str = "float32", workers: int = 0, checkpoint: Any = None,
) -> tuple[dict[str, float], list[dict[str, float]], torch.Tensor]:  # fmt: skip
    """Train a network on a part's readings and leave it with the best weights; returns the best epoch's row, all rows,
    and the val part's logits (clips, actions) then.

    With `settings.refit` the network is trained again from its start for as many epochs as were best, on the clips of
    both parts, and left with the weights of the last of them: val has done its work, and clips are few. `readings(part,
    positions, looks)` and `draws(clips)` make what is read; the rest as in `fit`.
    """
    val_loader = loader(readings(val, *draws(val.clips).eval_positions()), settings.batch_size, workers)
    if isinstance(network, Ridge):
        return fit_ridge(readings, draws, train, val, network, settings, val_loader)
    start = copy.deepcopy(network.state_dict())

    def fit_on(part: Split, val_loader: DataLoader | None, epochs: int, checkpoint: Any) -> tuple[dict, list[dict]]:
        drawn, count = draws(part.clips), len(set(part.labels.tolist()))

        def train_loader(epoch: int) -> DataLoader:
            sampler = class_sampler(part.labels, settings.class_balance, seed + epoch)
            return loader(readings(part, *drawn.train_positions(epoch)), settings.batch_size, workers, sampler)

        weight = class_weights(part.labels, count, settings.class_balance)
        weight = None if weight is None else weight.to(device)
        state, best, rows = fit(
            network, train_loader, val_loader, weight, trained, settings, epochs, device, precision, checkpoint
        )
        network.load_state_dict(state)
        return best, rows

    best, rows = fit_on(train, val_loader, settings.epochs, checkpoint)
    logits = predict_logits(network, val_loader, device, precision)[0]
    if settings.refit:
        network.load_state_dict(start)
        torch.manual_seed(seed)
        tqdm.write(f"again from the start on train and val clips, for {best['epoch']} epochs")
        fit_on(train + val, None, best["epoch"], checkpoint and checkpoint.for_refit())
    return best, rows, logits


def fit_ridge(
    readings: Callable[..., Any], draws: "Callable[[list[str]], FrameSampler]", train: Split, val: Split, network: Ridge,
    settings: SimpleNamespace, val_loader: DataLoader,
) -> tuple[dict[str, float], list[dict[str, float]], torch.Tensor]:  # fmt: skip
    """What `train_on` does, for what needs no epochs: from the clips' clean looks. The only row stands for epoch 1."""

    def solved(part: Split) -> DataLoader:
        read = loader(readings(part, *draws(part.clips).eval_positions()), settings.batch_size, 0)
        summaries, actions = zip(*((network.summary(looks)[:, -1], target) for looks, target in read), strict=True)
        network.solve(torch.cat(summaries), torch.cat(actions), settings.class_balance != "none")
        return read

    cpu = torch.device("cpu")
    row: dict[str, float] = {"epoch": 1}
    for name, of in {"train": solved(train), "val": val_loader}.items():
        loss, accuracy = evaluate(network, of, cpu, "float32")
        row |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
        tqdm.write(f"solved at once  {name}: loss {loss:.4f}, accuracy {accuracy:.4f}")
    logits = predict_logits(network, val_loader, cpu, "float32")[0]
    if settings.refit:
        solved(train + val)
    return row, [row], logits


def loader(readings: Dataset, batch: int, workers: int, sampler: Sampler | None = None) -> DataLoader:
    """Batches of readings, which bring a whole batch at once; in their order, or in a sampler's."""
    return DataLoader(readings, batch, sampler=sampler, num_workers=workers, collate_fn=identity)


def identity(batch: T) -> T:
    """The batch, which the dataset brings whole."""
    return batch


def class_weights(actions: np.ndarray, count: int, balance: str) -> torch.Tensor | None:
    """The loss's weight of each action, so that few clips count as much as many; None without `weights`."""
    if balance != "weights":
        return None
    return torch.tensor(len(actions) / (count * np.bincount(actions, minlength=count)), dtype=torch.float32)


def class_sampler(actions: np.ndarray, balance: str, seed: int) -> Sampler:
    """The order of an epoch's clips; `sampler` draws each action as often as any other, with repeats."""
    generator = torch.Generator().manual_seed(seed)
    if balance == "sampler":
        return WeightedRandomSampler(1 / np.bincount(actions)[actions], len(actions), generator=generator)
    return RandomSampler(actions, generator=generator)
