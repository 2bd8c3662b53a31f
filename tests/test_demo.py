"""The demo clips: known best accuracies, correct movements, and the same bytes every time."""

import itertools

import cv2
import numpy as np
import pytest

from glimpse.demo import draw
from glimpse.demo import stick_figure as figure


def clip(action, number=0, take=1, seed=0):
    """Frames (n, 120, 160, 3) of a clip as it would be written, before compression."""
    rng = np.random.default_rng([seed, number, figure.ACTIONS.index(action), take])
    return np.stack(figure.draw_clip(action, figure.make_actor(number, seed), rng))


def one_stream(action, number, seed):
    """Frames of a clip whose random numbers don't depend on the action."""
    return np.stack(figure.draw_clip(action, figure.make_actor(number, 0), np.random.default_rng(seed)))


def times(frames):
    return (np.arange(len(frames)) + 0.5) / len(frames)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The same small set twice: by two workers, then by one, over read-only files of an earlier run."""
    folders = [tmp_path_factory.mktemp(f"workers{workers}") / "demo" for workers in (2, 1)]
    wave = folders[1] / "wave"
    wave.mkdir(parents=True)
    for name in ("actor00_wave_1.avi", "actor99_wave_1.avi"):
        (wave / name).write_bytes(b"old")
        (wave / name).chmod(0o444)
    for folder, workers in zip(folders, (2, 1), strict=True):
        assert draw.draw_all(folder, 2, 1, seed=5, workers=workers) == 10
    return folders


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(drawn):
    assert contents(drawn[0]) == contents(drawn[1])


def test_the_folder_holds_one_complete_set_of_distinct_clips_and_nothing_else(drawn):
    for folder in drawn:
        names = {f"{action}/actor0{number}_{action}_1.avi" for action in figure.ACTIONS for number in (0, 1)}
        assert set(contents(folder)) == names
        assert len(set(contents(folder).values())) == len(names)
        assert [path.name for path in folder.parent.iterdir()] == ["demo"]


def test_written_clips_decode_to_what_was_drawn(drawn):
    for action in ("wave", "lower"):
        path = drawn[0] / action / f"actor01_{action}_1.avi"
        expected = clip(action, number=1, seed=5)
        assert 40 <= len(expected) <= 56
        capture, frames = cv2.VideoCapture(str(path)), []
        assert capture.get(cv2.CAP_PROP_FPS) == figure.FPS
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(expected)
        while (read := capture.read())[0]:
            frames.append(read[1])
        assert np.shape(frames) == expected.shape == (len(expected), 120, 160, 3)
        assert np.abs(np.int16(frames) - expected).mean() < 8
        assert 80_000 < path.stat().st_size < 300_000


def test_another_seed_gives_other_clips():
    assert clip("wave", seed=0)[0].tobytes() != clip("wave", seed=1)[0].tobytes()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit, match=r"^[^\n]*could not be written[^\n]*$"):
        draw.draw_all(tmp_path / "file" / "demo", 1, 1, seed=0, workers=1)


def test_ceilings_follow_from_which_actions_look_the_same():
    assert draw.CEILINGS == {"middle_frame": 0.6, "first5": 0.8, "shuffled": 0.8, "all10": 1.0}
    for frames, ceiling in draw.CEILINGS.items():
        pairs = [set(pair) for pair in draw.AMBIGUOUS[frames]]
        classes = {frozenset(next((pair for pair in pairs if action in pair), {action})) for action in figure.ACTIONS}
        assert ceiling == len(classes) / len(figure.ACTIONS)  # one correct guess per set of actions that look the same


@pytest.mark.parametrize("seed", range(5))
def test_stand_up_is_sit_down_backwards(seed):
    actor, take = figure.make_actor(seed, 0), figure.make_take(np.random.default_rng(seed))
    take.sway = 0.0  # its phase is random, so it is equal only on average
    for t in np.linspace(0, 1, 41):
        down, up = figure.pose("sit_down", t, actor, take), figure.pose("stand_up", 1 - t, actor, take)
        for joint in ("hip", "chest", "head", "legs", "arms"):
            np.testing.assert_allclose(getattr(down, joint), getattr(up, joint), atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_sitting_down_goes_one_way_and_starts_upright_in_the_first_candidates(seed):
    actor, take = figure.make_actor(seed, 0), figure.make_take(np.random.default_rng(seed))
    take.sway = 0.0
    heights = [figure.pose("sit_down", t, actor, take).hip[1] for t in np.linspace(0, 1, 81)]
    assert (np.diff(heights) <= 1e-12).all()
    start = figure.pose("sit_down", 0.075, actor, take).hip[1]  # the second of 20 candidates
    assert (heights[0] - start) < 0.1 * (heights[0] - heights[-1])


def test_the_movement_is_as_likely_early_as_late():
    low, high = figure.TAKE["centre"]
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_lift_and_lower_have_the_same_frames_until_they_part(seed):
    lift, lower = (one_stream(action, number=seed, seed=seed) for action in ("lift", "lower"))
    together = times(lift) <= 0.525 + 0.0125  # the 11th of 20 candidates, rounded to a frame
    np.testing.assert_array_equal(lift[together], lower[together])
    apart = np.abs(np.int16(lift[-1]) - lower[-1])
    assert (apart.max(axis=-1) > 30).mean() > 0.05


def test_what_varies_between_clips_is_drawn_in_the_same_way_for_every_action():
    edges = [one_stream(action, number=0, seed=3)[:, :, :20] for action in figure.ACTIONS]  # beside the figure
    for edge in edges[1:]:
        np.testing.assert_array_equal(edges[0], edge)


def test_an_actor_looks_the_same_in_all_clips_and_unlike_other_actors():
    def corners(frames):  # the place, with its light, where the figure never is
        return frames[:, :60, [*range(12), *range(148, 160)]].mean(axis=0)

    means = {n: [corners(clip(action, n)) for action in ("wave", "lift")] for n in range(3)}
    within = [np.abs(a - b).mean() for same in means.values() for a, b in itertools.combinations(same, 2)]
    between = [np.abs(means[a][0] - means[b][0]).mean() for a, b in itertools.combinations(means, 2)]
    assert max(within) < min(between)
    again, other = figure.make_actor(0, 0), figure.make_actor(1, 0)
    for part in ("shirt", "trousers", "skin", "place"):
        np.testing.assert_array_equal(getattr(again, part), getattr(figure.make_actor(0, 0), part))
        assert not np.array_equal(getattr(again, part), getattr(other, part))


@pytest.mark.parametrize("action", figure.ACTIONS)
def test_hands_head_and_box_stay_in_the_frame(action):
    """In the frame and in its middle square, which a model may be given."""
    for number in range(40):
        actor, take = figure.make_actor(number, 0), figure.make_take(np.random.default_rng(number))
        camera = actor.drift / 2 + 2 * actor.shake + 3  # most that it moves, pixels
        for t in np.linspace(0, 1, 9):
            joints = figure.pose(action, t, actor, take)
            points = np.vstack([joints.head + [0, actor.head], *joints.legs, *joints.arms])
            if joints.box is not None:
                points = np.vstack([points, joints.box - actor.box_half, joints.box + actor.box_half])
            x = actor.x + take.x + take.facing * actor.tall * points[:, 0] - 80
            y = actor.floor - actor.tall * points[:, 1] - 60
            turned = cv2.getRotationMatrix2D((0, 0), actor.tilt, 1)[:, :2] @ np.array([x, y])
            assert (np.abs(turned[0]) + camera + 3 < 60).all()
            assert (np.abs(turned[1]) + actor.drift / 2 + 2 * actor.shake < 60).all()
