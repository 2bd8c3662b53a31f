"""Stages `train-first5` and `train-all10`: one approach, trained on the train part, its best epoch chosen on val.

Reads data/split.csv, data/clips.csv, data/features.npy, and data/frames/ if the backbone is tuned. Writes
models/<approach>/model.pt, which holds all that inference needs, and history.csv. Run: python src/train.py first5
"""

import argparse
import copy
import os
import sys
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, WeightedRandomSampler
from torchmetrics.functional.classification import multiclass_accuracy
from tqdm import tqdm

from glimpse.augment import mirror_allowed, transform
from glimpse.backbone import WIDTH, load_backbone, pretrained, tune_last
from glimpse.calibration import calibrate
from glimpse.engine import mixed_precision, pick_device, versions
from glimpse.files import write_table
from glimpse.model import Network, Temporal, save
from glimpse.parts import load_parts
from glimpse.readings import ENDLESS, Draws, FeatureReadings, FrameReadings
from glimpse.settings import read
from glimpse.store import Frames

EARLIER = 0.3  # share of the loss for the beliefs before the last frame


def loss_of(logits, target, label_smoothing=0.0, weight=None):
    """Cross-entropy of the belief after the last frame and, with a smaller share, of those after every frame."""
    frames = logits.shape[1]
    last = nn.functional.cross_entropy(logits[:, -1], target, weight, label_smoothing=label_smoothing)
    each = target.repeat_interleave(frames)
    every = nn.functional.cross_entropy(logits.flatten(0, 1), each, weight, label_smoothing=label_smoothing)
    return (1 - EARLIER) * last + EARLIER * every


def train_one_epoch(network, loader, criterion, optimizer, schedule, clip_norm, device, precision):
    """One pass over the loader; returns the mean loss and the accuracy on the way."""
    network.train()
    losses, hits, seen = 0.0, 0, 0
    for looks, target in loader:
        target = target.to(device)
        with mixed_precision(device, precision):
            logits = network(looks.to(device)).float()  # (clips, frames, actions)
        loss = criterion(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
        losses += loss.item() * len(target)
        hits += (logits[:, -1].argmax(1) == target).sum().item()
        seen += len(target)
    return losses / seen, hits / seen


@torch.inference_mode()
def last_logits(network, loader, device, precision):
    """What the network says after the last frame, logits (clips, actions), and the actions' numbers (clips,)."""
    network.eval()
    logits, targets = [], []
    for looks, target in loader:
        with mixed_precision(device, precision):
            logits.append(network(looks.to(device))[:, -1].float().cpu())
        targets.append(target)
    return torch.cat(logits), torch.cat(targets)


def evaluate(network, loader, device, precision):
    """The cross-entropy and the multiclass accuracy of the belief after the last frame."""
    logits, targets = last_logits(network, loader, device, precision)
    accuracy = multiclass_accuracy(logits, targets, logits.shape[1], average="micro")
    return nn.functional.cross_entropy(logits, targets).item(), accuracy.item()


def fit(network, train_loader, val_loader, weight, trained, settings, device, precision):
    """Train until the epochs or the patience are over; returns the best weights, their epoch's row, and all rows.

    The best epoch has the highest validation accuracy; among equals the lowest validation loss. `train_loader(epoch)`
    brings the readings of an epoch, `weight` the loss's weight of each action, `trained` the optimizer's groups of
    parameters with their learning rates.
    """
    optimizer = torch.optim.AdamW(trained, weight_decay=settings.weight_decay, fused=True)
    rates, steps = [group["lr"] for group in trained], settings.epochs * len(train_loader(1))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)

    def criterion(logits, target):
        return loss_of(logits, target, settings.label_smoothing, weight)

    best, best_weights, rows = None, None, []
    for epoch in tqdm(range(1, settings.epochs + 1), "training", unit="epoch", disable=None):
        loss, accuracy = train_one_epoch(
            network, train_loader(epoch), criterion, optimizer, schedule, settings.clip_norm, device, precision
        )
        val_loss, val_accuracy = evaluate(network, val_loader, device, precision)
        row = {"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy}
        row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
        rows.append(row)
        better = best is None or (val_accuracy, -val_loss) > (best["val_accuracy"], -best["val_loss"])
        if better:
            best, best_weights = row, copy.deepcopy(network.state_dict())
        tqdm.write(
            f"epoch {epoch:3d}  train: loss {loss:.4f}, accuracy {accuracy:.4f}  "
            f"val: loss {val_loss:.4f}, accuracy {val_accuracy:.4f}{'  best so far' if better else ''}"
        )
        sys.stdout.flush()
        if epoch - best["epoch"] >= settings.patience:
            break
    return best_weights, best, rows


def loader(readings, batch, workers, sampler=None):
    """Batches of readings, which bring a whole batch at once; in their order, or in a sampler's."""
    return DataLoader(readings, batch, sampler=sampler, num_workers=workers, collate_fn=as_it_is)


def as_it_is(batch):
    """The batch, which the dataset brings whole."""
    return batch


def weight_of(actions, count, balance):
    """The loss's weight of each action, so that few clips count as much as many; None without `weights`."""
    if balance != "weights":
        return None
    return torch.tensor(len(actions) / (count * np.bincount(actions, minlength=count)), dtype=torch.float32)


def sampler_of(actions, balance, seed):
    """The order of an epoch's clips; `sampler` draws each action as often as any other, with repeats."""
    generator = torch.Generator().manual_seed(seed)
    if balance == "sampler":
        return WeightedRandomSampler(1 / np.bincount(actions)[actions], len(actions), generator=generator)
    return RandomSampler(actions, generator=generator)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("approach", choices=["first5", "all10"])
    approach = parser.parse_args().approach
    s = read("seed", "candidates", "store_size", "frames", "draw", "redraw", approach, "features", "model", "train")
    use = getattr(s, approach).use
    use = s.frames if use == "all" else use
    names, parts = load_parts()
    train, val = parts["train"], parts["val"]
    torch.manual_seed(s.seed)
    temporal = Temporal(s.model.temporal, s.model.shortcut, WIDTH, s.model.hidden, len(names), s.model.dropout)
    trained = [{"params": list(temporal.parameters()), "lr": s.train.lr}]
    weights, looks = pretrained(s.features.weights), s.features.looks
    if s.model.tune:  # the whole network, from stored frames, each time in a look of its own
        device, precision, workers = pick_device(), s.features.precision, os.cpu_count()
        backbones = [load_backbone(weights) for _ in range(1 if s.model.tied else use)]
        tuned = [parameter for backbone in backbones for parameter in tune_last(backbone, s.model.tune)]
        trained.append({"params": tuned, "lr": s.train.tune_lr})
        network = Network(backbones, temporal).to(device, memory_format=torch.channels_last)
        change = transform(s.features.size, mirror_allowed(s.features.mirror, names))
        readings = partial(FrameReadings, Frames("data/frames"), s.features.size, change, s.seed)
        looks = ENDLESS if looks else 0
    else:  # only what reads the stored features; too small a network to gain by more than one core
        device, precision, workers = torch.device("cpu"), "float32", 0
        torch.set_num_threads(1)
        network = temporal
        readings = partial(FeatureReadings, np.load("data/features.npy", mmap_mode="r"))
    draws = partial(Draws, s.candidates, s.frames, use, s.draw, looks, s.redraw, s.seed)
    train_draws, val_draws = draws(train.clips), draws(val.clips)

    def train_loader(epoch):
        sampler = sampler_of(train.actions, s.train.balance, s.seed + epoch)
        return loader(readings(train, *train_draws.training(epoch)), s.train.batch, workers, sampler)

    val_loader = loader(readings(val, *val_draws.fixed()), s.train.batch, workers)
    sizes = f"{len(train.clips)} train clips, {len(val.clips)} val clips"
    print(f"train-{approach}: {use} of {s.frames} frames, {sizes}, on {device.type}", flush=True)
    weight = weight_of(train.actions, len(names), s.train.balance)
    weight = None if weight is None else weight.to(device)
    state, best, rows = fit(network, train_loader, val_loader, weight, trained, s.train, device, precision)
    network.load_state_dict(state)
    logits, targets = last_logits(network, val_loader, device, precision)
    calibration = calibrate(logits.numpy(), targets.numpy())
    state = {key: value.cpu().contiguous() for key, value in state.items()}
    if s.model.tune:
        backbones = [below(state, f"backbones.{number}.features") for number in range(len(network.backbones))]
        state = below(state, "temporal")
    else:
        backbones = [weights]
    contents = {
        "approach": approach,
        "actions": names,
        "use": use,
        "temporal": {"kind": s.model.temporal, "shortcut": s.model.shortcut, "hidden": s.model.hidden},
        "backbones": backbones,
        "state": state,
        "best": best,
        **calibration,
        "versions": versions(),
    }
    contents |= {"seed": s.seed, "candidates": s.candidates, "store_size": s.store_size, "frames": s.frames}
    contents |= {"draw": s.draw, "size": s.features.size, "tune": s.model.tune, "precision": s.features.precision}
    save(f"models/{approach}/model.pt", contents)
    write_table(f"models/{approach}/history.csv", pd.DataFrame(rows).round(6))
    result = f"best is epoch {best['epoch']} of {len(rows)}, val accuracy {best['val_accuracy']:.4f}"
    print(f"train-{approach}: {result}, temperature {calibration['temperature']:.2f}")


def below(state, prefix):
    """The part of a state dict under a prefix, without it."""
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


if __name__ == "__main__":
    main()
