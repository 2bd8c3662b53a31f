"""Stages `train-first5` and `train-all10`: one approach, trained on the train part, its best epoch chosen on val.

Reads data/split.csv, data/clips.csv, data/features.npy, and data/frames/ if the backbone is tuned. Writes
models/<approach>/model.pt, which holds all that inference needs, and history.csv. Run: python src/train.py first5
"""

from glimpse.core.settings import read  # isort: split

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from glimpse.core.frame_store import FrameStore, source_hash
from glimpse.core.splits import load_splits
from glimpse.core.files import load_array, read_table, write_table
from glimpse.features.augment import build_transforms, hflip_allowed
from glimpse.features.backbone import load_backbone, pretrained_weights, unfreeze_last
from glimpse.features.extractor import feature_dims, pick_device, versions
from glimpse.features.views import ViewConfig
from glimpse.model.calibration import calibrate
from glimpse.model.network import TemporalHead, VideoNetwork, build_head, save
from glimpse.model.ridge import Ridge
from glimpse.train.checkpoint import Checkpoint
from glimpse.train.datasets import UNLIMITED_VIEWS, FeatureDataset, FrameDataset, FrameSampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("approach", choices=["first5", "all10"])
    approach = parser.parse_args().approach
    s = read(
        "seed",
        "candidates",
        "frame_size",
        "frames",
        "sampling",
        "resample_each_epoch",
        approach,
        "features",
        "model",
        "train",
    )
    use = getattr(s, approach).use
    use = s.frames if use == "all" else use
    names, parts = load_splits(["train", "val"])
    train, val = parts["train"], parts["val"]
    torch.manual_seed(s.seed)
    look = ViewConfig.from_settings(s.features)
    kept = {"kind": s.model.head, "hidden": s.model.hidden}
    temporal = build_head(**kept, feature_dims=feature_dims(look), actions=len(names), dropout=s.model.dropout)
    trained = [{"params": list(temporal.parameters()), "lr": s.train.lr}]
    weights, looks = pretrained_weights(s.features.weights), s.features.augmented_views
    network: VideoNetwork | TemporalHead | Ridge
    readings: Callable[..., FrameDataset | FeatureDataset]
    inputs: list[Path | str]
    if s.model.finetune_blocks:  # the whole network, from stored frames, each time in a look of its own
        device, precision, workers = pick_device(), s.features.precision, os.cpu_count() or 1
        backbones = [load_backbone(weights) for _ in range(1 if s.model.shared_backbone else use)]
        tuned = [parameter for backbone in backbones for parameter in unfreeze_last(backbone, s.model.finetune_blocks)]
        trained.append({"params": tuned, "lr": s.train.backbone_lr})
        network = VideoNetwork(backbones, temporal, look.num_images).to(device).to(memory_format=torch.channels_last)
        change = build_transforms(look.size, hflip_allowed(s.features.hflip, names))
        readings = partial(FrameDataset, FrameStore("data/frames"), look, change, s.seed)
        looks, inputs = UNLIMITED_VIEWS if looks else 0, sorted(Path("data/frames").glob("*.tar"))
    else:  # only what reads the stored features; too small a network to gain by more than one core
        device, precision, workers = torch.device("cpu"), "float32", 0
        torch.set_num_threads(1)
        network = temporal
        shape = len(read_table("data/clips.csv", ["clip"])), 1 + looks, s.candidates, sum(feature_dims(look))
        readings, inputs = partial(FeatureDataset, load_array("data/features.npy", *shape)), ["data/features.npy"]
    draws = partial(FrameSampler, s.candidates, s.frames, use, s.sampling, looks, s.resample_each_epoch, s.seed)
    sizes = f"{len(train.clips)} train clips, {len(val.clips)} val clips"
    print(f"train-{approach}: {use} of {s.frames} frames, {sizes}, on {device.type}", flush=True)
    loaded = [module for name, module in sorted(sys.modules.items()) if name.startswith("glimpse.")]
    told_by = approach, s, device.type, versions(), source_hash(sys.modules[__name__], *loaded)
    inputs += ["data/clips.csv", "data/split.csv"]
    checkpoint = Checkpoint(f"train-{approach}", f".checkpoints/{approach}.pt", inputs, *told_by)
    best, rows, logits = train(
        readings, draws, train, val, network, trained, s.train, s.seed, device, precision, workers, checkpoint
    )
    calibration = calibrate(logits.numpy(), val.labels)
    state = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    if s.model.finetune_blocks:
        held = [below(state, f"backbones.{number}.features") for number in range(len(backbones))]
        state = below(state, "temporal")
    else:
        held = [weights]
    contents = {
        "approach": approach,
        "actions": names,
        "use": use,
        "temporal": kept,
        "look": asdict(look),
        "backbones": held,
        "state": state,
        "best": best,
        **calibration,
        "versions": versions(),
    }
    contents |= {"seed": s.seed, "candidates": s.candidates, "frame_size": s.frame_size, "frames": s.frames}
    contents |= {"seconds": typical_seconds(read_table("data/clips.csv", ["seconds"]).iloc[train.rows])}
    contents |= {"sampling": s.sampling, "tune": s.model.finetune_blocks, "precision": s.features.precision}
    save(f"models/{approach}/model.pt", contents)
    write_table(f"models/{approach}/history.csv", pd.DataFrame(rows).round(6))
    checkpoint.remove()
    which = f"best is epoch {best['epoch']} of {len(rows)}" if len(rows) > 1 else "trained"
    result = f"{which}, val accuracy {best['val_accuracy']:.4f}"
    print(f"train-{approach}: {result}, temperature {calibration['temperature']:.2f}")


def typical_seconds(clips: pd.DataFrame) -> float:
    """The median length of clips, from their rows of clips.csv; 0 if none is known."""
    length = pd.to_numeric(clips["seconds"]).median()
    return 0.0 if np.isnan(length) else round(float(length), 3)


def below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The part of a state dict under a prefix, without it."""
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


if __name__ == "__main__":
    main()
