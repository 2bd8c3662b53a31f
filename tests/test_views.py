"""Views: the clean one crops around the motion, in all modalities; an augmented one transforms all frames alike."""

import numpy as np
import pytest

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import MID_GREY, from_jpeg, resize_short_side, to_jpeg
from glimpse.features.augment import augmented_views, build_transforms, hflip_allowed
from glimpse.features.views import ViewConfig, prepare_frames, track_motion

RGB_CENTER = ViewConfig(32, crop="center", rgb_diff=False, flow=False)


def smooth_image(seed=0, height=48, width=64):
    """A smooth random BGR image."""
    return resize_short_side(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8), height)[:, :width]


def stored(*frames, diffs=None):
    still = np.full_like(frames[0], MID_GREY)
    return StoredClip([*map(to_jpeg, frames)], [*map(to_jpeg, diffs or [still] * len(frames))])


def square_diff(x, y, side=12, height=120, width=160):
    """A frame difference: a square of `side` pixels around (x, y) has become lighter."""
    diff = np.full((height, width, 3), MID_GREY, np.uint8)
    diff[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 220
    return diff


def clean(clip, config, positions=None):
    return prepare_frames(clip, config, positions).clean


def test_the_clean_center_view_is_the_centred_square_as_rgb():
    frame = smooth_image()
    views = clean(stored(frame), ViewConfig(48, crop="center", rgb_diff=False, flow=False))
    assert views.shape == (1, 1, 48, 48, 3) and views.dtype == np.uint8
    assert np.array_equal(views[0, 0], from_jpeg(to_jpeg(frame))[:, 8:56, ::-1])


def test_small_frames_are_enlarged_and_positions_are_selected_in_their_order():
    config = ViewConfig(96, crop="motion", rgb_diff=True, flow=False)
    clip = stored(*map(smooth_image, range(4)))
    assert clean(clip, config).shape == (4, 2, 96, 96, 3)
    assert np.array_equal(clean(clip, config, [3, 1]), clean(clip, config)[[3, 1]])


def test_the_rgb_difference_is_a_modality_of_its_own():
    diff = square_diff(32, 24, 12, 48, 64)
    config = ViewConfig(48, crop="center", rgb_diff=True, flow=False)
    rgb, rgb_diff = clean(stored(smooth_image(), diffs=[diff]), config)[0]
    assert np.array_equal(rgb_diff, from_jpeg(to_jpeg(diff))[:, 8:56, ::-1])
    assert np.array_equal(rgb, from_jpeg(to_jpeg(smooth_image()))[:, 8:56, ::-1])


def test_a_clips_views_are_computed_once():
    views = prepare_frames(stored(smooth_image()), RGB_CENTER)
    assert views.clean is views.clean


def test_the_box_tracks_the_motion_and_stays_in_the_frame():
    path = [(20, 60), (50, 60), (80, 60), (110, 60), (140, 60)]
    boxes = track_motion([square_diff(*place) for place in path])
    assert np.all(np.diff([box.x for box in boxes]) > 5)
    assert [box.side for box in boxes] == pytest.approx([48] * 5, abs=1)  # MIN_BOX: 0.4 of 120 pixels
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[54:66, 14:26] = (0, 0, 255)
    config = ViewConfig(48, crop="motion", rgb_diff=False, flow=False)
    view = clean(stored(frame, diffs=[square_diff(20, 60)]), config)[0, 0]
    assert (view[..., 0].astype(int) - view[..., 2] > 150).mean() == pytest.approx((12 / 48) ** 2, rel=0.25)


def test_the_box_of_a_frame_does_not_depend_on_later_frames():
    diffs = [square_diff(20, 30), square_diff(90, 60), square_diff(130, 100)]
    assert track_motion(diffs)[:2] == track_motion(diffs[:2])


def test_where_nothing_moves_the_box_is_centred():
    assert track_motion([np.full((120, 160, 3), MID_GREY, np.uint8)]) == [(80, 60, 120)]


@pytest.mark.parametrize("config", [RGB_CENTER, ViewConfig(32, crop="motion", rgb_diff=True, flow=True)])
@pytest.mark.parametrize("seed", range(5))
def test_augmentation_transforms_all_frames_of_a_clip_alike(seed, config):
    clip = prepare_frames(stored(*[smooth_image()] * 4, diffs=[square_diff(32, 24, 12, 48, 64)] * 4), config)
    views = augmented_views(clip, build_transforms(32, hflip=True), seed, "clip", 1)
    assert views.shape == (4, config.num_modalities, 32, 32, 3) and views.dtype == np.uint8
    assert all(np.array_equal(views[0], other) for other in views[1:])
    assert not np.array_equal(views, clip.clean)


def test_rgb_and_difference_are_cropped_alike_and_colours_change_in_rgb_alone():
    diff = square_diff(40, 30, 12, 48, 64)
    clip = prepare_frames(stored(diff, diffs=[diff]), ViewConfig(32, crop="center", rgb_diff=True, flow=False))
    for seed in range(10):
        rgb, rgb_diff = augmented_views(clip, build_transforms(32, hflip=True), seed, "clip")[0]
        assert ((rgb[..., 0] > rgb[..., 0].mean()) == (rgb_diff[..., 0] > rgb_diff[..., 0].mean())).mean() > 0.98
        assert np.median(rgb_diff) == MID_GREY


def test_an_augmented_view_follows_from_its_seed_clip_and_number_alone():
    clip, augmentation = prepare_frames(stored(smooth_image()), RGB_CENTER), build_transforms(32, hflip=True)
    keys = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1)]
    views = {key: augmented_views(clip, augmentation, *key).tobytes() for key in keys}
    assert len(set(views.values())) == 4
    assert views[0, "a", 1] == augmented_views(clip, augmentation, 0, "a", 1).tobytes()


@pytest.mark.parametrize("hflip", [True, False])
def test_views_are_flipped_only_where_it_is_allowed(hflip):
    frame = np.zeros((48, 48, 3), np.uint8)
    frame[:, 24:] = 255  # lighter on the right
    clip, augmentation = prepare_frames(stored(frame), RGB_CENTER), build_transforms(32, hflip)
    views = [augmented_views(clip, augmentation, 0, "clip", number)[0, 0].astype(int) for number in range(40)]
    lighter_left = sum(view[:, :8].mean() > view[:, -8:].mean() + 20 for view in views)
    assert (10 <= lighter_left <= 30) if hflip else lighter_left == 0


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [(["wave", "jump"], True), (["turn_left", "jump"], False), (["Right hook"], False), (["upright", "bright"], True)],
)
def test_no_mirror_where_names_of_actions_say_left_or_right(actions, allowed):
    assert hflip_allowed("auto", actions) is allowed
    assert hflip_allowed(True, actions) is True and hflip_allowed(False, actions) is False
