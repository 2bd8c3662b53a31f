"""Controls and the early curve: what little gives, known on the demo by how it is drawn."""

import numpy as np
import pandas as pd
import pytest

from demo import CEILINGS
from glimpse.core.frame_store import FrameStore
from glimpse.core.splits import Split, load_splits
from glimpse.evaluate.baselines import baselines_table, correct_by_baseline, shuffled
from glimpse.evaluate.curves import accuracy_by_frames, accuracy_by_frames_per_action, observation_ratio
from glimpse.inference.torch_recognizer import TorchRecognizer


@pytest.fixture
def held_out(trained):
    """The small project's val and test clips as one part, of 4 actors: enough to say something."""
    names, parts = load_splits([], trained / "data/clips.csv", trained / "data/split.csv")
    both = parts["val"], parts["test"]
    clips, groups = (sum((getattr(part, name) for part in both), []) for name in ("clips", "groups"))
    rows, actions = (np.concatenate([getattr(part, name) for part in both]) for name in ("rows", "actions"))
    return names, Split(clips, groups, rows, actions), parts["train"]


@pytest.fixture
def found(frames_alone, held_out):
    features = np.load(frames_alone / "data/features.npy")
    return correct_by_baseline(
        TorchRecognizer(frames_alone / "models/all10/model.pt"), held_out[1], 5, features, None, 0
    )


def test_controls_agree_with_what_the_demo_allows(found, held_out):
    names, part, train = held_out
    table = baselines_table(found, part, train.labels, names, 5).set_index("control")
    assert list(table.index) == ["chance", "majority", "middle", "shuffled", "spread"]
    assert table.loc["chance", "accuracy"] == 0.2 and table.loc["majority", "accuracy"] == 0.2
    assert table.loc["middle", "low"] <= CEILINGS["middle_frame"] + 0.02
    assert table.loc["shuffled", "low"] <= CEILINGS["shuffled"]
    n = len(part.clips)
    for control, most in (("middle", 0.62), ("shuffled", CEILINGS["shuffled"])):  # without the groups' doubt too
        assert table.loc[control, "accuracy"] <= most + 2.6 * (most * (1 - most) / n) ** 0.5
    assert table.loc["spread", "accuracy"] > CEILINGS["first5"] - 2.6 * (0.8 * 0.2 / n) ** 0.5
    assert (table["n"] == n).all() and table["what"].str.len().min() > 10
    assert "has most of" not in table.loc["majority", "what"]  # training has as much of each
    more = baselines_table(found, part, np.append(train.labels, 2), names, 5).set_index("control")
    assert more.loc["majority", "what"] == f"always {names[2]}, the action that training has most of"


def test_shuffling_keeps_the_frames_and_is_the_same_each_time():
    read, clips = np.tile(np.arange(1, 20, 2), (30, 1)), [f"wave/{number}.avi" for number in range(30)]
    first, again, other = shuffled(read, clips, 0, 0), shuffled(read, clips, 0, 0), shuffled(read, clips, 0, 1)
    assert (np.sort(first, axis=1) == read).all() and (first == again).all()
    assert (first != other).any(axis=1).mean() > 0.9 and (first != first[0]).any()
    assert (shuffled(read[::-1], clips[::-1], 0, 0)[::-1] == first).all()  # whatever the order of clips


def test_stored_frames_give_what_stored_features_give(trained):
    """The same clip in another order of frames, by the way of a tuned model and by that of features."""
    recognizer, frames = TorchRecognizer(trained / "models/all10/model.pt"), FrameStore(trained / "data/frames")
    part = load_splits([], trained / "data/clips.csv", trained / "data/split.csv")[1]["test"].only(np.arange(20) < 3)
    positions = shuffled(np.stack([recognizer.positions(clip) for clip in part.clips]), part.clips, 0, 0)[:, :4]
    stored = recognizer.predict_split(part, np.load(trained / "data/features.npy"), frames, positions)
    looked = [recognizer.predict(c, frames.load(c), row) for c, row in zip(part.clips, positions, strict=True)]
    assert stored.shape == (3, 4, 5) and np.allclose(stored, looked, atol=1e-3)


def test_the_share_seen_is_the_place_of_the_candidate():
    assert observation_ratio(np.array([0, 10, 19]), 20).tolist() == pytest.approx([0.025, 0.525, 0.975])


def test_the_early_curve_of_actions_adds_up_to_the_whole(trained, held_out):
    names, part, _ = held_out
    recognizer = TorchRecognizer(trained / "models/all10/model.pt")
    beliefs = {"all10": recognizer.predict_split(part, np.load(trained / "data/features.npy"), None)}
    seen = observation_ratio(np.stack([recognizer.positions(clip) for clip in part.clips]), 20)
    whole, each = accuracy_by_frames(beliefs, part, seen), accuracy_by_frames_per_action(beliefs, part, seen, names)
    assert list(whole) == ["frames", "all10", "seen", "all10_low", "all10_high"]
    assert each.groupby("action")["clips"].first().sum() == len(part.clips)
    weighed = (each["all10"] * each["clips"]).groupby(each["frames"]).sum() / len(part.clips)
    assert weighed.to_numpy() == pytest.approx(whole["all10"].to_numpy())
    assert whole["seen"].is_monotonic_increasing and (whole["all10_low"] <= whole["all10"]).all()


def test_tables_of_the_stage_have_intervals_around_their_figures(trained):
    for name in ("early", "early-actions", "recall"):
        table = pd.read_csv(trained / f"metrics/{name}.csv")
        for approach in ("first5", "all10"):
            inside = table[approach].between(table[f"{approach}_low"], table[f"{approach}_high"])
            assert inside.all() and (table[f"{approach}_low"] < table[f"{approach}_high"]).all()
