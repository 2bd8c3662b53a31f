"""Optical flow: direction and length of the motion beyond the camera, deterministic; and its histograms."""

import cv2
import numpy as np
import pytest
import torch

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import MID_GREY, frame_difference, to_jpeg
from glimpse.features.augment import augmented_views, build_transforms
from glimpse.features.backbone import load_backbone, pretrained_weights
from glimpse.features.extractor import extract_features, feature_dims, frozen_extractor
from glimpse.features.flow import FLOW_SCALE, ZERO_FLOW, compute_flow
from glimpse.features.flow_histograms import CELLS, DIRECTIONS, FLOW_DIM, flow_histograms
from glimpse.features.views import ViewConfig, prepare_frames
from glimpse.model.heads import build_head
from glimpse.model.network import VideoNetwork


def scene(height=120, width=160, seed=0):
    """A picture with something to see everywhere: blurred noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def pair(right, down, shift=(0, 0)):
    """Two pictures, before and after: a square in the middle moves; the camera shifts all of it."""
    ground, thing = scene(), scene(40, 40, 1)
    frames = []
    for part in (0, 1):
        frame = np.roll(ground, (shift[1] * part, shift[0] * part), (0, 1))
        y, x = 40 + (down + shift[1]) * part, 60 + (right + shift[0]) * part
        frame[y : y + 40, x : x + 40] = thing
        frames.append(frame)
    return frames


def inner(picture):
    """Pixels of movement to the right and down, the median of where the square has been all the time."""
    return (np.median(picture[52:68, 72:88, 2:0:-1].reshape(-1, 2).astype(float), 0) - ZERO_FLOW) / FLOW_SCALE


@pytest.mark.parametrize("kind", ["mean", "ridge"])
@pytest.mark.parametrize("backbones", [1, 3])
def test_a_network_with_flow_equals_extractor_and_head(kind, backbones):
    """Also where there are more backbones than frames; and the same frame by frame."""
    config = ViewConfig(64, crop="center", rgb_diff=True, flow=True)
    views = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64, 3)).astype(np.uint8)
    torch.manual_seed(0)
    head = build_head(kind, feature_dims(config), 8, 4).eval()
    encoders = [load_backbone(pretrained_weights("none")) for _ in range(backbones)]
    network = VideoNetwork(encoders[: max(1, backbones - 1)], head, config.num_images).eval()
    extract = frozen_extractor(encoders[0], torch.device("cpu"), "float32")
    expected = head(torch.from_numpy(extract_features(extract, views, config).astype(np.float32))[None])[0]
    with torch.inference_mode():
        assert torch.allclose(network(torch.from_numpy(views)[None])[0], expected, atol=5e-3)
        state = torch.zeros(1, network.state_size)
        for view, frame_logits in zip(torch.from_numpy(views), expected, strict=True):
            logits, state = network.step(view, state)
            assert torch.allclose(logits[0], frame_logits, atol=5e-3)


@pytest.mark.parametrize("moves", [(4, 0), (-4, 0), (0, 3), (0, -3), (3, -2)])
@pytest.mark.parametrize("shift", [(0, 0), (5, 2)])
def test_flow_is_the_motion_beyond_the_cameras(moves, shift):
    picture = compute_flow(*pair(*moves, shift))
    assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8 and (picture[..., 0] == ZERO_FLOW).all()
    assert abs(inner(picture) - moves).max() < 0.75
    corner = (picture[8:30, 8:40, 1:].astype(float) - ZERO_FLOW) / FLOW_SCALE  # ground, which only the camera moved
    assert np.abs(np.median(corner, (0, 1))).max() < 0.5


def test_where_nothing_moves_there_is_no_flow():
    assert (compute_flow(scene(), scene()) == ZERO_FLOW).all()
    flat = np.full((32, 32, 3), 90, np.uint8)
    assert (compute_flow(flat, flat) == ZERO_FLOW).all()


def test_flow_is_the_same_on_any_number_of_threads():
    before = cv2.getNumThreads()
    results = set()
    try:
        for threads in (1, 2, 3, 8):
            cv2.setNumThreads(threads)
            results.add(compute_flow(*pair(4, 3, (2, 1))).tobytes())
    finally:
        cv2.setNumThreads(before)
    assert len(results) == 1


def stored(right, down):
    """One stored frame, as the stage `frames` stores it."""
    before, frame = pair(right, down)
    return StoredClip([to_jpeg(frame)], [to_jpeg(frame_difference(frame, before))])


def test_flow_is_the_last_modality_and_follows_from_what_is_stored():
    config = ViewConfig(120, crop="center", rgb_diff=True, flow=True)
    rgb, diff, flow = prepare_frames(stored(4, -3), config).clean[0]
    assert config.num_modalities == 3 and config.num_images == 2
    without_diff = ViewConfig(120, crop="center", rgb_diff=False, flow=True)
    same_rgb, same_flow = prepare_frames(stored(4, -3), without_diff).clean[0]
    assert np.array_equal(same_rgb, rgb) and np.array_equal(same_flow, flow)
    middle = (np.median(flow[52:68, 52:68, :2].reshape(-1, 2).astype(float), 0) - ZERO_FLOW) / FLOW_SCALE
    assert abs(middle - (4, -3)).max() < 1
    assert abs(float(np.median(diff[:10])) - MID_GREY) <= 1


def test_a_flip_reverses_horizontal_flow():
    clip = prepare_frames(stored(5, 3), ViewConfig(64, crop="center", rgb_diff=False, flow=True))
    sides, downs = [], []
    for number in range(30):
        flow = augmented_views(clip, build_transforms(64, hflip=True), 0, "clip", number)[0, 1]
        moved = flow[..., :2].reshape(-1, 2).astype(float) - ZERO_FLOW
        sides.append(np.sign(moved[np.abs(moved[:, 0]).argmax(), 0]))
        downs.append(np.sign(moved[np.abs(moved[:, 1]).argmax(), 1]))
    assert 5 <= sides.count(1) <= 25 and sides.count(1) + sides.count(-1) == 30
    assert downs == [1] * 30


def flow_image(cells):
    """A flow image with motion in some cells: {(row, column): (pixels to the right, pixels down)}."""
    picture = np.full((1, 64, 64, 3), ZERO_FLOW, np.uint8)
    for (row, column), moves in cells.items():
        picture[0, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16, :2] = ZERO_FLOW + FLOW_SCALE * np.array(
            moves
        )
    return torch.from_numpy(picture)


@pytest.mark.parametrize(("moves", "direction"), [((2, 0), 0), ((0, 2), 2), ((-2, 0), 4), ((0, -2), 6), ((2, 2), 1)])
def test_histograms_hold_direction_and_length_per_cell(moves, direction):
    numbers = flow_histograms(flow_image({(1, 3): moves}))
    assert numbers.shape == (1, FLOW_DIM)
    amounts = numbers[0, : DIRECTIONS * CELLS**2].reshape(DIRECTIONS, CELLS, CELLS) ** 2
    assert amounts[:, 1, 3].argmax() == direction and amounts[direction, 1, 3] == pytest.approx(
        np.hypot(*moves), abs=0.01
    )
    assert amounts.sum() == pytest.approx(float(amounts[:, 1, 3].sum()))


def test_histograms_are_the_same_in_mixed_precision():
    pictures = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = flow_histograms(pictures)
    assert torch.equal(mixed, flow_histograms(pictures)) and mixed.dtype == torch.float32


def test_motion_boundaries_are_where_the_flow_changes():
    whole = flow_histograms(flow_image({(row, column): (2, 0) for row in range(4) for column in range(4)}))[0, 128:]
    part = flow_histograms(flow_image({(1, 1): (2, 0)}))[0, 128:].reshape(2, DIRECTIONS, CELLS, CELLS)
    assert (whole == 0).all()  # the same everywhere: no edges
    assert part[0].sum() > 0 and (part[1] == 0).all()  # movement to the right has edges, movement down has none
    assert part[0, 0, 1, 0] > part[0, 4, 1, 0]  # on its left side it grows to the right
