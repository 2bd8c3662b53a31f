"""Looks: the clean one is plain, an augmented one moves all frames of a clip together."""

import numpy as np
import pytest

from glimpse.augment import augmented_look, mirror_allowed, transform
from glimpse.fingerprint import fingerprint
from glimpse.looks import clean_look, cover
from glimpse.store import from_jpeg, to_jpeg


def picture(seed=0, height=48, width=64):
    """A smooth random BGR picture."""
    return cover(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8), height)[:, :width]


def test_the_clean_look_is_the_middle_square_as_rgb():
    frame = picture()
    look = clean_look([to_jpeg(frame)], 32)
    assert look.shape == (1, 32, 32, 3) and look.dtype == np.uint8
    assert np.array_equal(look[0], from_jpeg(to_jpeg(frame))[8:40, 16:48, ::-1])


def test_small_frames_are_enlarged():
    assert clean_look([to_jpeg(picture())] * 2, 96).shape == (2, 96, 96, 3)


@pytest.mark.parametrize("seed", range(10))
def test_augmentation_moves_all_frames_of_a_clip_together(seed):
    jpegs = [to_jpeg(picture())] * 4
    look = augmented_look(jpegs, transform(32, mirror=True), seed, "clip", 1)
    assert look.shape == (4, 32, 32, 3) and look.dtype == np.uint8
    assert all(np.array_equal(look[0], other) for other in look[1:])
    assert not np.array_equal(look, clean_look(jpegs, 32))


def test_a_look_follows_from_its_seed_clip_and_number_alone():
    jpegs, change = [to_jpeg(picture())], transform(32, mirror=True)
    keys = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1)]
    looks = {key: augmented_look(jpegs, change, *key).tobytes() for key in keys}
    assert len(set(looks.values())) == 4
    assert looks[0, "a", 1] == augmented_look(jpegs, change, 0, "a", 1).tobytes()


@pytest.mark.parametrize("mirror", [True, False])
def test_looks_are_mirrored_only_where_it_is_allowed(mirror):
    frame = np.zeros((48, 48, 3), np.uint8)
    frame[:, 24:] = 255  # lighter on the right
    change = transform(32, mirror)
    looks = [augmented_look([to_jpeg(frame)], change, 0, "clip", n)[0].astype(int) for n in range(40)]
    lighter_left = sum(look[:, :8].mean() > look[:, -8:].mean() + 20 for look in looks)
    assert (10 <= lighter_left <= 30) if mirror else lighter_left == 0


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [(["wave", "jump"], True), (["turn_left", "jump"], False), (["Right hook"], False), (["upright", "bright"], True)],
)
def test_no_mirror_where_names_of_actions_say_left_or_right(actions, allowed):
    assert mirror_allowed("auto", actions) is allowed
    assert mirror_allowed(True, actions) is True and mirror_allowed(False, actions) is False


def test_a_fingerprint_survives_size_light_and_compression_and_tells_pictures_apart():
    def bits(frame):
        return int(fingerprint(frame), 16)

    one, other = picture(1, 120, 160), picture(2, 120, 160)
    darker = from_jpeg(to_jpeg((cover(one, 90) * 0.8).astype(np.uint8)))
    assert len(fingerprint(one)) == 16
    assert (bits(one) ^ bits(darker)).bit_count() <= 6
    assert (bits(one) ^ bits(other)).bit_count() >= 16
