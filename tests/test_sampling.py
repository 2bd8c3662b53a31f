"""Which frames are sampled: cases worked out by hand."""

import numpy as np
import pytest

from glimpse.core.sampling import eval_frames, evenly_spaced, keyed_rng, sample_frames


@pytest.mark.parametrize(
    ("count", "num", "positions"),
    [
        (10, 5, [1, 3, 5, 7, 9]),
        (5, 5, [0, 1, 2, 3, 4]),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (1, 4, [0, 0, 0, 0]),
        (100, 1, [50]),
        (7, 3, [1, 3, 5]),
        (20, 10, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]),
    ],
)
def test_evenly_spaced_takes_the_middle_of_each_segment(count, num, positions):
    assert evenly_spaced(count, num).tolist() == positions


@pytest.mark.parametrize("count", [0, -3])
def test_no_frames_is_an_error(count):
    with pytest.raises(ValueError, match="no frames"):
        evenly_spaced(count, 5)


@pytest.mark.parametrize(("candidates", "frames"), [(20, 10), (20, 7), (20, 20), (5, 1), (1, 1)])
def test_segments_sample_one_frame_of_each_segment_in_time_order(candidates, frames):
    sample = sample_frames(candidates, frames, "segments", np.random.default_rng(0), 500)
    edges = np.arange(frames + 1) * candidates // frames
    assert sample.shape == (500, frames)
    assert ((sample >= edges[:-1]) & (sample < edges[1:])).all()
    assert all(set(sample[:, n]) == set(range(edges[n], edges[n + 1])) for n in range(frames))  # each can come


@pytest.mark.parametrize(("candidates", "frames"), [(20, 10), (20, 20), (3, 1)])
def test_random_samples_any_frames_without_repeats_in_time_order(candidates, frames):
    sample = sample_frames(candidates, frames, "random", np.random.default_rng(0), 2000)
    assert (np.diff(sample, axis=1) > 0).all()
    shares = np.bincount(sample.ravel(), minlength=candidates) / 2000
    assert abs(shares - frames / candidates).max() < 0.05  # each candidate as often as any other


def test_the_sample_for_evaluation_is_fixed_and_random_ones_differ_between_clips():
    assert eval_frames(20, 10, "segments", 0, "a/x.avi").tolist() == evenly_spaced(20, 10).tolist()
    first = eval_frames(20, 10, "random", 0, "a/x.avi")
    assert first.tolist() == eval_frames(20, 10, "random", 0, "elsewhere/x.avi").tolist()
    assert first.tolist() != eval_frames(20, 10, "random", 0, "a/y.avi").tolist()
    assert first.tolist() != eval_frames(20, 10, "random", 1, "a/x.avi").tolist()


def test_a_keyed_generator_depends_on_its_seed_and_key_alone():
    def number(*key):
        return keyed_rng(*key).integers(2**40)

    assert number(0, "a", 1) == number(0, "a", 1)
    assert len({number(0, "a", 1), number(0, "a", 2), number(1, "a", 1), number(0, "a1")}) == 4
