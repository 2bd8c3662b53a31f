"""Grad-CAM on clips where it is known where the figure is: the heatmap is on the figure, and its maximum matters."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import evenly_spaced
from glimpse.demo import stick_figure
from glimpse.features.views import clamp_box, crop_resize
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

RANDOM_PLACES = 3  # to hide, compared with one of the maximum


@pytest.fixture(scope="module")
def recognizer(trained):
    return TorchRecognizer(trained / "models/all10/model.pt")


@pytest.fixture(scope="module")
def store(trained):
    return FrameStore(trained / "data/frames")


@pytest.fixture(scope="module")
def explained(trained, recognizer, store):
    """{test clip: (ClipViews, probabilities, heatmaps (frames, height, width))} of the small project."""
    results = {}
    for clip in pd.read_csv(trained / "metrics/tables/predictions-all10.csv")["clip"]:
        clip_views = recognizer.prepare(clip, store.load(clip))
        probs, heatmaps = gradcam(recognizer, clip_views)
        results[clip] = clip_views, probs, np.array(heatmaps)
    return results


def figure_masks(clip, monkeypatch):
    """The figure's pixels in each frame of a demo clip, bool (frames, 120, 160): drawn with and without the figure."""
    action, name = clip.split("/")
    actor, repetition = int(name[5:7]), int(name[-5])
    drawn = []
    for draw in (stick_figure.draw_figure, lambda joints, actor, take: actor.place.copy()):
        with monkeypatch.context() as patch:
            patch.setattr(stick_figure, "draw_figure", draw)
            rng = np.random.default_rng([0, actor, stick_figure.ACTIONS.index(action), repetition])
            drawn.append(np.array(stick_figure.draw_clip(action, stick_figure.make_actor(actor, 0), rng), int))
    return abs(drawn[0] - drawn[1]).max(3) > 8


def test_the_figure_has_at_least_twice_its_areas_share_of_the_heatmap(explained, recognizer, monkeypatch):
    heatmap_gains, box_gains = [], []
    for clip, (clip_views, _, heatmaps) in explained.items():
        shape, masks = heatmaps.shape[:0:-1], figure_masks(clip, monkeypatch)
        masks = masks[evenly_spaced(len(masks), 20)][recognizer.positions(clip)]
        figure = [cv2.resize(mask.astype(np.uint8), shape) > 0 for mask in masks]
        in_box = np.zeros_like(heatmaps)
        for mask, frame, box in zip(in_box, clip_views.frames, clip_views.boxes, strict=True):
            left, top, side = clamp_box(frame, box)
            mask[top : top + side, left : left + side] = 1
        assert (heatmaps[in_box == 0] == 0).all() and heatmaps.min() == 0 and heatmaps.max() == 1
        heatmap_gains.append(heatmaps[figure].sum() / heatmaps.sum() / np.mean(figure))
        box_gains.append(in_box[figure].sum() / in_box.sum() / np.mean(figure))
    message = f"{np.mean(heatmap_gains):.2f} times (the box alone {np.mean(box_gains):.2f}), {len(heatmap_gains)} clips"
    assert np.mean(heatmap_gains) > 2 and np.mean(heatmap_gains) > np.mean(box_gains), message


def hide(views, corners, side):
    """Views (frames, modalities, size, size, 3) with a square at a corner (top, left) in the mean colour around it."""
    changed = views.copy()
    for frame, (top, left) in zip(changed, corners, strict=True):
        around = frame[:, max(0, top - 6) : top + side + 6, max(0, left - 6) : left + side + 6]
        frame[:, top : top + side, left : left + side] = around.mean((1, 2), keepdims=True).round()
    return changed


def test_hiding_the_heatmaps_maximum_lowers_the_probability_more_than_hiding_another_place(explained, recognizer):
    size = recognizer.views.size
    side, differences = size * 2 // 5, []
    for seed, (clip_views, probs, heatmaps) in enumerate(explained.values()):
        predicted, maxima = probs[-1].argmax(), []
        for heatmap, box in zip(heatmaps, clip_views.boxes, strict=True):
            sums = cv2.boxFilter(crop_resize(heatmap, box, size), -1, (side, side), anchor=(0, 0))
            sums = sums[: size - side, : size - side]
            maxima.append(np.unravel_index(sums.argmax(), sums.shape))
        rng = np.random.default_rng(seed)
        places = [maxima, *(rng.integers(0, size - side, (len(maxima), 2)) for _ in range(RANDOM_PLACES))]
        p = [recognizer.predict_views(hide(clip_views.clean, corners, side))[-1, predicted] for corners in places]
        differences.append(np.mean(p[1:]) - p[0])
    error = np.std(differences, ddof=1) / len(differences) ** 0.5  # some rely on flow, which is not explained
    message = f"{np.mean(differences):.3f} lower, standard error {error:.3f}, {len(differences)} clips"
    assert np.mean(differences) > 0.1 and np.mean(differences) > 2 * error, message


def test_gradcam_returns_the_probabilities_of_evaluate(explained, recognizer):
    for clip_views, probs, _ in list(explained.values())[:3]:
        assert abs(probs - recognizer.predict(clip_views)).max() < 0.01  # float16 features there, none here


def test_another_class_and_other_frames_can_be_explained(explained, recognizer, store):
    clip, (clip_views, probs, heatmaps) = next(iter(explained.items()))
    second = int(probs[-1].argsort()[-2])
    assert np.array_equal(gradcam(recognizer, clip_views, int(probs[-1].argmax()))[1], heatmaps)
    other = np.array(gradcam(recognizer, clip_views, second)[1])
    assert other.shape == heatmaps.shape and abs(other - heatmaps).max() > 0.2
    probs, maps = gradcam(recognizer, recognizer.prepare(clip, store.load(clip), np.array([2, 7])))
    assert probs.shape == (2, len(recognizer.class_names)) and len(maps) == 2 and maps[0].shape == heatmaps.shape[1:]


def test_a_fine_tuned_model_with_a_backbone_per_frame_is_explained(explained, recognizer, store):
    clip = next(iter(explained))
    separate = TorchRecognizer.__new__(TorchRecognizer)
    cached = ("network", "_extract")
    separate.__dict__ |= {name: value for name, value in recognizer.__dict__.items() if name not in cached}
    separate.config = replace(recognizer.config, finetune_blocks=1)
    separate.model = replace(recognizer.model, backbones=recognizer.model.backbones * 3)
    clip_views = recognizer.prepare(clip, store.load(clip), recognizer.positions(clip)[:3])
    probs, heatmaps = gradcam(separate, clip_views)
    assert len(separate.network[0].backbones) == 3 and separate.finetuned
    expected_probs, expected_heatmaps = gradcam(recognizer, clip_views)
    assert np.allclose(probs, expected_probs, atol=1e-5) and np.allclose(heatmaps, expected_heatmaps, atol=1e-3)


def test_a_model_of_rgb_alone_is_explained(explained, store, frames_alone):
    recognizer, clip = TorchRecognizer(frames_alone / "models/all10/model.pt"), next(iter(explained))
    heatmaps = gradcam(recognizer, recognizer.prepare(clip, store.load(clip)))[1]
    assert max(heatmap.max() for heatmap in heatmaps) == 1


def test_frames_are_unchanged_where_the_heatmap_is_zero():
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[1, 2] = 1
    blended = blend_heatmap(frame, heatmap)
    changed = (blended != frame).any(2)
    assert changed[1, 2] and changed.sum() == 1 and blended.dtype == np.uint8
