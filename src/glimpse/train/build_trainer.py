"""Builds the trainer of an approach, and after training the model file's contents."""

import os

import numpy as np
import pandas as pd
import torch

from glimpse.core.files import load_array, read_table
from glimpse.core.frame_store import FrameStore
from glimpse.core.settings import FeatureSettings, ModelSettings, TrainSettings
from glimpse.features.augment import build_transforms, hflip_allowed
from glimpse.features.backbone import load_backbone, pretrained_weights, unfreeze_last
from glimpse.features.extractor import feature_dims, pick_device
from glimpse.features.views import ViewConfig
from glimpse.model.heads import build_head
from glimpse.model.model_file import StateDict
from glimpse.model.network import VideoNetwork
from glimpse.train.datasets import FrameSampler, StoredFeatures, StoredFrames
from glimpse.train.loop import Trainer


def build_trainer(
    sampler: FrameSampler, class_names: list[str], features: FeatureSettings, model: ModelSettings, train: TrainSettings
) -> Trainer:
    """The trainer of a head on stored features or, with `model.finetune_blocks`, of the whole network on frames."""
    torch.manual_seed(sampler.seed)
    config = ViewConfig.from_settings(features)
    head = build_head(model.head, feature_dims(config), model.hidden, len(class_names), model.dropout)
    groups = [{"params": list(head.parameters()), "lr": train.lr}]
    if not model.finetune_blocks:
        torch.set_num_threads(1)  # the head is too small to gain from more
        clips = len(read_table("data/clips.csv", ["clip"]))
        shape = clips, 1 + features.augmented_views, sampler.candidates, sum(feature_dims(config))
        source = StoredFeatures(load_array("data/features.npy", *shape))
        return Trainer(head, source, sampler, train, groups, sampler.seed)
    weights = pretrained_weights(features.weights)
    backbones = [load_backbone(weights) for _ in range(1 if model.shared_backbone else sampler.num_frames)]
    tuned = [parameter for backbone in backbones for parameter in unfreeze_last(backbone, model.finetune_blocks)]
    groups.append({"params": tuned, "lr": train.backbone_lr})
    device = pick_device()
    network = VideoNetwork(backbones, head, config.num_images).to(device).to(memory_format=torch.channels_last)
    augmentation = build_transforms(config.size, hflip_allowed(features.hflip, class_names))
    frames = StoredFrames(FrameStore("data/frames"), config, augmentation, sampler.seed)
    return Trainer(
        network, frames, sampler, train, groups, sampler.seed,
        device=device, precision=features.precision, workers=os.cpu_count() or 1,
    )  # fmt: skip


def trained_weights(trainer: Trainer, weights: str) -> tuple[list[StateDict], StateDict]:
    """The weights of the backbones and of the head; those of a frozen backbone are the pretrained `weights`."""
    state = {key: value.cpu().contiguous() for key, value in trainer.network.state_dict().items()}
    if not isinstance(trainer.network, VideoNetwork):
        return [pretrained_weights(weights)], state
    prefixes = [f"backbones.{number}.features." for number in range(len(trainer.network.backbones))]
    return [_below(state, prefix) for prefix in prefixes], _below(state, "head.")


def _below(state: StateDict, prefix: str) -> StateDict:
    """The entries of a state dict whose keys begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def median_seconds(rows: np.ndarray) -> float:
    """Median length of the clips at these rows of clips.csv, in seconds; 0 if none is known."""
    lengths = read_table("data/clips.csv", ["seconds"])["seconds"].iloc[rows]
    median = pd.to_numeric(lengths).median()
    return 0.0 if np.isnan(median) else round(float(median), 3)
