"""Looks: the clean one is plain, follows what moves, and shows changes; an augmented one moves all frames together."""

import numpy as np
import pytest

from glimpse.core.frame_store import StoredClip, from_jpeg, to_jpeg
from glimpse.features.augment import augmented_views, build_transforms, hflip_allowed
from glimpse.features.views import MID_GREY, ViewConfig, clean_views, prepare_frames, resize_short_side, track_motion

PLAIN = ViewConfig(32, follow=False, change=False, flow=False)


def picture(seed=0, height=48, width=64):
    """A smooth random BGR picture."""
    return resize_short_side(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8), height)[:, :width]


def stored(*frames, diffs=None):
    still = np.full_like(frames[0], MID_GREY)
    return StoredClip([*map(to_jpeg, frames)], [*map(to_jpeg, diffs or [still] * len(frames))])


def moving(x, y, side=12, height=120, width=160):
    """A change: a square of `side` pixels around (x, y) that has become lighter."""
    change = np.full((height, width, 3), MID_GREY, np.uint8)
    change[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 220
    return change


def test_the_plain_clean_look_is_the_middle_square_as_rgb():
    frame = picture()
    look = clean_views(stored(frame), ViewConfig(48, follow=False, change=False, flow=False))
    assert look.shape == (1, 1, 48, 48, 3) and look.dtype == np.uint8
    assert np.array_equal(look[0, 0], from_jpeg(to_jpeg(frame))[:, 8:56, ::-1])


def test_small_frames_are_enlarged_and_the_wanted_positions_are_shown():
    look = ViewConfig(96, follow=True, change=True, flow=False)
    clip = stored(*map(picture, range(4)))
    assert clean_views(clip, look).shape == (4, 2, 96, 96, 3)
    assert np.array_equal(clean_views(clip, look, [3, 1]), clean_views(clip, look)[[3, 1]])


def test_the_change_is_a_view_of_its_own():
    change = moving(32, 24, 12, 48, 64)
    frame, seen = clean_views(stored(picture(), diffs=[change]), ViewConfig(48, follow=False, change=True, flow=False))[
        0
    ]
    assert np.array_equal(seen, from_jpeg(to_jpeg(change))[:, 8:56, ::-1])
    assert np.array_equal(frame, from_jpeg(to_jpeg(picture()))[:, 8:56, ::-1])


def test_the_square_follows_what_moves_and_stays_in_the_frame():
    path = [(20, 60), (50, 60), (80, 60), (110, 60), (140, 60)]
    squares = track_motion([moving(*place) for place in path])
    assert np.all(np.diff([x for x, _, _ in squares]) > 5)
    assert [side for _, _, side in squares] == pytest.approx([48] * 5, abs=1)  # CLOSEST: 0.4 of 120 pixels
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[54:66, 14:26] = (0, 0, 255)
    look = clean_views(stored(frame, diffs=[moving(20, 60)]), ViewConfig(48, follow=True, change=False, flow=False))[
        0, 0
    ]
    assert (look[..., 0].astype(int) - look[..., 2] > 150).mean() == pytest.approx((12 / 48) ** 2, rel=0.25)


def test_the_square_of_a_frame_does_not_depend_on_later_ones():
    changes = [moving(20, 30), moving(90, 60), moving(130, 100)]
    assert track_motion(changes)[:2] == track_motion(changes[:2])


def test_where_nothing_moves_the_square_is_the_middle():
    assert track_motion([np.full((120, 160, 3), MID_GREY, np.uint8)]) == [(80, 60, 120)]


@pytest.mark.parametrize("look", [PLAIN, ViewConfig(32, follow=True, change=True, flow=True)])
@pytest.mark.parametrize("seed", range(5))
def test_augmentation_moves_all_frames_of_a_clip_together(seed, look):
    clip = stored(*[picture()] * 4, diffs=[moving(32, 24, 12, 48, 64)] * 4)
    seen = augmented_views(prepare_frames(clip, look), look, build_transforms(32, mirror=True), seed, "clip", 1)
    assert seen.shape == (4, look.num_views, 32, 32, 3) and seen.dtype == np.uint8
    assert all(np.array_equal(seen[0], other) for other in seen[1:])
    assert not np.array_equal(seen, clean_views(clip, look))


def test_a_frame_and_its_change_are_moved_alike_and_colours_are_the_frames_alone():
    change = moving(40, 30, 12, 48, 64)
    look = ViewConfig(32, follow=False, change=True, flow=False)
    for seed in range(10):
        frame, seen = augmented_views(
            prepare_frames(stored(change, diffs=[change]), look), look, build_transforms(32, mirror=True), seed, "clip"
        )[0]
        assert ((frame[..., 0] > frame[..., 0].mean()) == (seen[..., 0] > seen[..., 0].mean())).mean() > 0.98
        assert np.median(seen) == MID_GREY


def test_a_look_follows_from_its_seed_clip_and_number_alone():
    clip, change = stored(picture()), build_transforms(32, mirror=True)
    keys = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1)]
    looks = {key: augmented_views(prepare_frames(clip, PLAIN), PLAIN, change, *key).tobytes() for key in keys}
    assert len(set(looks.values())) == 4
    assert looks[0, "a", 1] == augmented_views(prepare_frames(clip, PLAIN), PLAIN, change, 0, "a", 1).tobytes()


@pytest.mark.parametrize("mirror", [True, False])
def test_looks_are_mirrored_only_where_it_is_allowed(mirror):
    frame = np.zeros((48, 48, 3), np.uint8)
    frame[:, 24:] = 255  # lighter on the right
    change = build_transforms(32, mirror)
    looks = [
        augmented_views(prepare_frames(stored(frame), PLAIN), PLAIN, change, 0, "clip", n)[0, 0].astype(int)
        for n in range(40)
    ]
    lighter_left = sum(look[:, :8].mean() > look[:, -8:].mean() + 20 for look in looks)
    assert (10 <= lighter_left <= 30) if mirror else lighter_left == 0


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [(["wave", "jump"], True), (["turn_left", "jump"], False), (["Right hook"], False), (["upright", "bright"], True)],
)
def test_no_mirror_where_names_of_actions_say_left_or_right(actions, allowed):
    assert hflip_allowed("auto", actions) is allowed
    assert hflip_allowed(True, actions) is True and hflip_allowed(False, actions) is False
