"""Features of all clips: extracted once, cached per clip in `.cache/features/`, gathered into one array."""

import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from glimpse.core import frame_store, image, sampling
from glimpse.core.files import atomic_write, cache_read, cache_write, source_hash
from glimpse.core.frame_store import FrameStore, StoredClip
from glimpse.core.settings import FeatureSettings
from glimpse.features import augment, backbone, extractor, flow, flow_histograms, views
from glimpse.features.augment import ClipAugmentation, augmented_views, build_transforms
from glimpse.features.backbone import load_backbone, pretrained_weights
from glimpse.features.extractor import extract_features, frozen_extractor, pick_device, versions
from glimpse.features.views import ViewConfig, prepare_frames

CACHE = Path(".cache/features")
SEED = 0  # of the augmentation: not the setting `seed`, so that trainings with different seeds share the features


@dataclass(frozen=True)
class ClipExtractor:
    """Extracts the features of one clip: its clean view and `augmented` augmented ones."""

    extract: Callable[[np.ndarray], np.ndarray]  # made by `frozen_extractor`
    config: ViewConfig
    augmentation: ClipAugmentation
    augmented: int

    def __call__(self, clip: str, stored: StoredClip) -> np.ndarray:
        """Features float16 (1 + augmented, stored frames, features)."""
        clip_views = prepare_frames(stored, self.config)
        features = [extract_features(self.extract, clip_views.clean, self.config)]
        for number in range(self.augmented):
            views = augmented_views(clip_views, self.augmentation, SEED, clip, number)
            features.append(extract_features(self.extract, views, self.config))
        return np.stack(features)


def extract_all(clips: list[str], store: FrameStore, settings: FeatureSettings, hflip: bool) -> tuple[list[Path], int]:
    """Extract the features of all clips that are not cached yet; returns the cache entries, and how many were new."""
    device, config = pick_device(), ViewConfig.from_settings(settings)
    modules = augment, backbone, extractor, flow, flow_histograms, frame_store, image, sampling, views
    key = [source_hash(*modules), settings.weights, config, settings.augmented_views, hflip, settings.precision, SEED]
    entries = [cache_path(clip, store.load(clip), [*key, device.type, versions()]) for clip in clips]
    missing = [(clip, entry) for clip, entry in zip(clips, entries, strict=True) if cache_read(entry) is None]
    if missing:
        torch.set_num_threads(1)  # one clip per core
        cv2.setNumThreads(1)
        extract = frozen_extractor(load_backbone(pretrained_weights(settings.weights)), device, settings.precision)
        augmentation = build_transforms(settings.input_size, hflip)
        extract_clip = ClipExtractor(extract, config, augmentation, settings.augmented_views)

        def fill(clip: str, entry: Path) -> None:
            content = io.BytesIO()
            np.save(content, extract_clip(clip, store.load(clip)))
            cache_write(entry, content.getvalue())

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            filled = pool.map(fill, *zip(*missing, strict=True))
            for _ in tqdm(filled, "features", len(missing), unit="clip", disable=None):
                pass
    return entries, len(missing)


def cache_path(clip: str, stored: StoredClip, key_parts: list) -> Path:
    """Cache entry of a clip's features: keyed by its frames, its name (which seeds its augmentation) and the rest."""
    digest = hashlib.sha256(repr([clip, key_parts]).encode())
    for jpeg in stored.frames + stored.diffs:
        digest.update(jpeg)
    return CACHE / digest.hexdigest()[:2] / f"{digest.hexdigest()[:40]}.npy"


def gather(entries: list[Path], path: Path | str) -> tuple[int, ...]:
    """Write the cached features of all clips, in this order, as one array file; returns its shape."""
    shape = (len(entries), *_read_features(entries[0]).shape)
    with atomic_write(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for entry in entries:
            file.write(_read_features(entry).tobytes())
    return shape


def _read_features(entry: Path) -> np.ndarray:
    content = cache_read(entry)
    if content is None:
        raise SystemExit(f"features: {entry}: deleted or damaged meanwhile: run `dvc repro` again")
    return np.load(io.BytesIO(content))
