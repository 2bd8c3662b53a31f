"""Stages `train-first5` and `train-all10`: one approach, trained on the train part, its best epoch chosen on val.

Reads data/split.csv, data/clips.csv, data/features.npy, and data/frames/ if the backbone is tuned. Writes
models/<approach>/model.pt, which holds all that inference needs, and history.csv. Run: python src/train.py first5
"""

import argparse
import copy
import os
import sys

import cv2
import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, WeightedRandomSampler
from torchmetrics.functional.classification import multiclass_accuracy
from tqdm import tqdm

from glimpse.augment import mirror_allowed, transform
from glimpse.backbone import WIDTH, load_backbone, pretrained, tune_last
from glimpse.engine import mixed_precision, pick_device
from glimpse.files import write_table
from glimpse.model import Network, Temporal, save
from glimpse.parts import load_parts
from glimpse.readings import Draws, FeatureReadings, FrameReadings
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
def evaluate(network, loader, device, precision):
    """The cross-entropy and the multiclass accuracy of the belief after the last frame."""
    network.eval()
    logits, targets = [], []
    for looks, target in loader:
        with mixed_precision(device, precision):
            logits.append(network(looks.to(device))[:, -1].float().cpu())
        targets.append(target)
    logits, targets = torch.cat(logits), torch.cat(targets)
    accuracy = multiclass_accuracy(logits, targets, logits.shape[1], average="micro")
    return nn.functional.cross_entropy(logits, targets).item(), accuracy.item()


def fit(network, loader_of, val_loader, weight, trained, settings, device, precision):
    """Train until the epochs or the patience are over; returns the best weights, their epoch's row, and all rows.

    The best epoch has the highest validation accuracy; among equals the lowest validation loss. `loader_of(epoch)`
    brings the readings of an epoch, `weight` the loss's weight of each action, `trained` the optimizer's groups of
    parameters with their learning rates.
    """
    optimizer = torch.optim.AdamW(trained, weight_decay=settings.weight_decay)
    rates, steps = [group["lr"] for group in trained], settings.epochs * len(loader_of(1))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)

    def criterion(logits, target):
        return loss_of(logits, target, settings.label_smoothing, weight)

    best, best_weights, rows = None, None, []
    for epoch in tqdm(range(1, settings.epochs + 1), "training", unit="epoch", disable=None):
        loss, accuracy = train_one_epoch(
            network, loader_of(epoch), criterion, optimizer, schedule, settings.clip_norm, device, precision
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


def loaders(parts, names, use, s):
    """What the training reads: a function from an epoch to its loader, and the loader of the val part.

    A frozen backbone's looks are stored as features; a tuned one looks at stored frames itself.
    """
    chosen, workers = s.features, os.cpu_count() if s.model.tune else 0
    if s.model.tune:
        frames = Frames("data/frames")
        change = transform(chosen.size, mirror_allowed(chosen.mirror, names))
    else:
        features = np.load("data/features.npy", mmap_mode="r")

    def loader(part, epoch, training):
        draws = Draws(part.clips, s.candidates, s.frames, use, s.draw, chosen.looks, s.redraw, s.seed)
        positions, looks = draws.training(epoch) if training else draws.fixed()
        if s.model.tune:
            occasion = epoch if s.redraw else "once"
            dataset = FrameReadings(
                frames, part.clips, part.actions, positions, looks, chosen.size, change, s.seed, occasion
            )
        else:
            dataset = FeatureReadings(features, part.rows, part.actions, positions, looks)
        sampler = None
        if training:
            generator = torch.Generator().manual_seed(s.seed + epoch)
            sampler = RandomSampler(dataset, generator=generator)
            if s.train.balance == "sampler":
                counts = np.bincount(part.actions)
                sampler = WeightedRandomSampler(1 / counts[part.actions], len(dataset), generator=generator)
        return DataLoader(dataset, s.train.batch, sampler=sampler, num_workers=workers, collate_fn=as_it_is)

    return lambda epoch: loader(parts["train"], epoch, training=True), loader(parts["val"], 0, training=False)


def as_it_is(batch):
    """The batch, which the dataset brings whole."""
    return batch


def weight_of(actions, count, balance):
    """The loss's weight of each action, so that few clips count as much as many; None without `weights`."""
    if balance != "weights":
        return None
    return torch.tensor(len(actions) / (count * np.bincount(actions, minlength=count)), dtype=torch.float32)


def build(s, actions, use):
    """The network to train, what of it is trained at which rate, and the backbones' weights.

    The network is the whole one, or, with a frozen backbone, only what reads its features.
    """
    torch.manual_seed(s.seed)
    model = s.model
    temporal = Temporal(model.temporal, WIDTH, model.hidden, actions, model.dropout)
    trained = [{"params": list(temporal.parameters()), "lr": s.train.lr}]
    weights = pretrained(s.features.weights)
    if not model.tune:
        return temporal, trained, weights
    backbones = [load_backbone(weights) for _ in range(1 if model.tied else use)]
    tuned = [parameter for backbone in backbones for parameter in tune_last(backbone, model.tune)]
    trained.append({"params": tuned, "lr": s.train.tune_lr})
    return Network(backbones, temporal).to(memory_format=torch.channels_last), trained, weights


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("approach", choices=["first5", "all10"])
    approach = parser.parse_args().approach
    s = read("seed", "candidates", "store_size", "frames", "draw", "redraw", approach, "features", "model", "train")
    use = getattr(s, approach).use
    use = s.frames if use == "all" else use
    names, parts = load_parts()
    device, precision = pick_device(), s.features.precision
    if not s.model.tune:
        device, precision = torch.device("cpu"), "float32"  # too small a network to gain by more
        torch.set_num_threads(1)
    network, trained, weights = build(s, len(names), use)
    loader_of, val_loader = loaders(parts, names, use, s)
    sizes = ", ".join(f"{part} {len(parts[part].clips)}" for part in ("train", "val"))
    print(f"train-{approach}: {use} of {s.frames} frames; clips: {sizes}; on {device.type}", flush=True)
    weight = weight_of(parts["train"].actions, len(names), s.train.balance)
    weight = None if weight is None else weight.to(device)
    state, best, rows = fit(network.to(device), loader_of, val_loader, weight, trained, s.train, device, precision)
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
        "temporal": {"kind": s.model.temporal, "hidden": s.model.hidden, "dropout": s.model.dropout},
        "backbones": backbones,
        "state": state,
        "best": best,
        "versions": {module.__name__: str(module.__version__) for module in (cv2, np, torch, torchvision)},
    }
    contents |= {"seed": s.seed, "candidates": s.candidates, "store_size": s.store_size, "frames": s.frames}
    contents |= {"draw": s.draw, "size": s.features.size, "tune": s.model.tune, "precision": s.features.precision}
    save(f"models/{approach}/model.pt", contents)
    write_table(f"models/{approach}/history.csv", pd.DataFrame(rows).round(6))
    print(f"train-{approach}: best is epoch {best['epoch']} of {len(rows)}, val accuracy {best['val_accuracy']:.4f}")


def below(state, prefix):
    """The part of a state dict under a prefix, without it."""
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


if __name__ == "__main__":
    main()
