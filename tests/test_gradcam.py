"""Grad-CAM on clips of which it is known where the figure is: there the heat has to be, and it has to matter."""

import cv2
import numpy as np
import pandas as pd
import pytest

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import evenly_spaced
from glimpse.demo import stick_figure as figure
from glimpse.features.views import clamp_box, clean_views, crop_resize, prepare_frames
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.gradcam import blend_heatmap, gradcam

RANDOM = 3  # hidings elsewhere, for one of the hottest region


@pytest.fixture(scope="module")
def recognizer(trained):
    return TorchRecognizer(trained / "models/all10/model.pt")


@pytest.fixture(scope="module")
def explained(trained, recognizer):
    """{test clip: (stored, beliefs, heat (use, height, width))} of the small project."""
    frames, found = FrameStore(trained / "data/frames"), {}
    for clip in pd.read_csv(trained / "metrics/predictions-all10.csv")["clip"]:
        stored = frames.load(clip)
        beliefs, maps = gradcam(recognizer, stored, None, clip)
        found[clip] = stored, beliefs, np.array(maps)
    return found


def figures(clip, monkeypatch):
    """Where the figure stands in each frame of a demo clip, bool (frames, 120, 160): drawn again with and without."""
    action, name = clip.split("/")
    number, take = int(name[5:7]), int(name[-5])
    drawn = []
    for draw in (figure.draw_figure, lambda joints, actor, take: actor.place.copy()):
        with monkeypatch.context() as patch:
            patch.setattr(figure, "draw_figure", draw)
            rng = np.random.default_rng([0, number, figure.ACTIONS.index(action), take])
            drawn.append(np.array(figure.draw_clip(action, figure.make_actor(number, 0), rng), int))
    return abs(drawn[0] - drawn[1]).max(3) > 8


def test_the_figure_gets_at_least_twice_its_areas_share_of_the_heat(explained, recognizer, monkeypatch):
    gained, by_square = [], []
    for clip, (stored, _, hot) in explained.items():
        read, shape = recognizer.positions(clip), hot.shape[:0:-1]
        there = figures(clip, monkeypatch)
        there = [cv2.resize(one.astype(np.uint8), shape) > 0 for one in there[evenly_spaced(len(there), 20)][read]]
        square = np.zeros_like(hot)
        pictures, squares = prepare_frames(stored, recognizer.views, read)
        for one, views, place in zip(square, pictures, squares, strict=True):
            left, top, side = clamp_box(views[0], place)
            one[top : top + side, left : left + side] = 1
        assert (hot[square == 0] == 0).all() and hot.min() == 0 and hot.max() == 1
        gained.append(hot[there].sum() / hot.sum() / np.mean(there))
        by_square.append(square[there].sum() / square.sum() / np.mean(there))
    said = f"{np.mean(gained):.2f} times (the square alone {np.mean(by_square):.2f}), {len(gained)} clips"
    assert np.mean(gained) > 2 and np.mean(gained) > np.mean(by_square), said


def hidden(looks, corners, side):
    """Looks (frames, views, size, size, 3) with a square of each at its corner (top, left) in the colour around it."""
    made = looks.copy()
    for views, (top, left) in zip(made, corners, strict=True):
        around = views[:, max(0, top - 6) : top + side + 6, max(0, left - 6) : left + side + 6]
        views[:, top : top + side, left : left + side] = around.mean((1, 2), keepdims=True).round()
    return made


def test_hiding_the_hottest_region_costs_the_answer_more_than_hiding_another(explained, recognizer):
    size = recognizer.views.size
    side, more = size * 2 // 5, []
    for number, (clip, (stored, beliefs, hot)) in enumerate(explained.items()):
        read, answer = recognizer.positions(clip), beliefs[-1].argmax()
        looks, squares = clean_views(stored, recognizer.views, read), prepare_frames(stored, recognizer.views, read)[1]
        hottest = []
        for one, square in zip(hot, squares, strict=True):
            sums = cv2.boxFilter(crop_resize(one, square, size), -1, (side, side), anchor=(0, 0))[
                : size - side, : size - side
            ]
            hottest.append(np.unravel_index(sums.argmax(), sums.shape))
        rng = np.random.default_rng(number)
        others = [rng.integers(0, size - side, (len(looks), 2)) for _ in range(RANDOM)]
        left = [recognizer.predict_views(hidden(looks, at, side))[-1, answer] for at in (hottest, *others)]
        more.append(np.mean(left[1:]) - left[0])
    error = np.std(more, ddof=1) / len(more) ** 0.5  # some answers stand on flow, which heat leaves out
    said = f"{np.mean(more):.3f} more, standard error {error:.3f}, {len(more)} clips"
    assert np.mean(more) > 0.1 and np.mean(more) > 2 * error, said


def test_heat_comes_with_the_beliefs_of_evaluate(explained, recognizer):
    for clip, (stored, beliefs, _) in list(explained.items())[:3]:
        assert abs(beliefs - recognizer.predict(clip, stored)).max() < 0.01  # float16 features there, none here


def test_heat_can_be_asked_for_another_action_and_other_frames(explained, recognizer):
    clip, (stored, beliefs, hot) = next(iter(explained.items()))
    other = int(beliefs[-1].argsort()[-2])
    asked = np.array(gradcam(recognizer, stored, None, clip, other)[1])
    assert asked.shape == hot.shape and abs(asked - hot).max() > 0.2
    few, maps = gradcam(recognizer, stored, np.array([2, 7]), clip)
    assert few.shape == (2, len(recognizer.class_names)) and len(maps) == 2 and maps[0].shape == hot.shape[1:]


def test_a_tuned_model_with_a_backbone_for_each_frame_is_explained_too(explained, recognizer, monkeypatch):
    clip, (stored, _, hot) = next(iter(explained.items()))
    alike = TorchRecognizer.__new__(TorchRecognizer)
    alike.__dict__ |= {name: value for name, value in recognizer.__dict__.items() if name not in ("network", "_see")}
    alike.config = recognizer.config | {"tune": 1, "backbones": recognizer.config.backbones * 3}
    read = recognizer.positions(clip)[:3]
    found = gradcam(alike, stored, read, clip)
    assert len(alike.network[0].backbones) == 3 and alike.finetuned
    same = gradcam(recognizer, stored, read, clip)
    assert np.allclose(found[0], same[0], atol=1e-5) and np.allclose(found[1], same[1], atol=1e-3)


def test_a_look_at_the_frame_alone_and_in_the_middle_is_explained_too(explained, frames_alone):
    clip, (stored, _, _) = next(iter(explained.items()))
    maps = gradcam(TorchRecognizer(frames_alone / "models/all10/model.pt"), stored, None, clip)[1]
    assert max(one.max() for one in maps) == 1


def test_where_there_is_no_heat_the_frame_stays_as_it_is():
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    hot = np.zeros((4, 4), np.float32)
    hot[1, 2] = 1
    laid = blend_heatmap(frame, hot)
    changed = (laid != frame).any(2)
    assert changed[1, 2] and changed.sum() == 1 and laid.dtype == np.uint8
