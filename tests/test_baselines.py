"""Baselines and accuracy by frames, with limits that are known on the demo from how it is drawn."""

import numpy as np
import pandas as pd
import pytest

from glimpse.core.frame_store import FrameStore
from glimpse.core.splits import load_splits
from glimpse.demo.draw import CEILINGS
from glimpse.evaluate.baselines import baselines_table, correct_by_baseline, shuffle_frames
from glimpse.evaluate.curves import accuracy_by_frames, accuracy_by_frames_per_action, observation_ratio
from glimpse.inference.torch_recognizer import TorchRecognizer


@pytest.fixture
def class_names_and_splits(trained):
    """Class names, train, and val and test as one split, of 4 actors: enough clips for a conclusion."""
    class_names, splits = load_splits([], trained / "data/clips.csv", trained / "data/split.csv")
    return class_names, splits["train"], splits["val"] + splits["test"]


@pytest.fixture
def correct(frames_alone, class_names_and_splits):
    recognizer = TorchRecognizer(frames_alone / "models/all10/model.pt")
    features = np.load(frames_alone / "data/features.npy")
    return correct_by_baseline(recognizer, class_names_and_splits[2], 5, features, None, 0)


def test_baselines_respect_the_limits_of_the_demo(correct, class_names_and_splits):
    class_names, train, split = class_names_and_splits
    table = baselines_table(correct, split, train.labels, class_names, 5)
    assert list(table) == ["baseline", "description", "accuracy", "low", "high", "n"]
    rows = table.set_index("baseline")
    assert list(rows.index) == ["chance", "majority", "middle_frame", "shuffled_frames", "evenly_spaced_frames"]
    assert rows.loc["chance", "accuracy"] == 0.2 and rows.loc["majority", "accuracy"] == 0.2
    assert rows.loc["middle_frame", "low"] <= CEILINGS["middle_frame"] + 0.02
    assert rows.loc["shuffled_frames", "low"] <= CEILINGS["shuffled"]
    n = len(split.clips)
    for baseline, limit in (("middle_frame", 0.62), ("shuffled_frames", CEILINGS["shuffled"])):  # as if independent
        assert rows.loc[baseline, "accuracy"] <= limit + 2.6 * (limit * (1 - limit) / n) ** 0.5
    assert rows.loc["evenly_spaced_frames", "accuracy"] > CEILINGS["first5"] - 2.6 * (0.8 * 0.2 / n) ** 0.5
    assert (rows["n"] == n).all() and rows["description"].str.len().min() > 10


def test_the_majority_baseline_names_the_most_frequent_action_if_there_is_one(correct, class_names_and_splits):
    class_names, train, split = class_names_and_splits
    rows = baselines_table(correct, split, train.labels, class_names, 5).set_index("baseline")
    assert "most frequent" not in rows.loc["majority", "description"]  # train has equally many clips of each
    rows = baselines_table(correct, split, np.append(train.labels, 2), class_names, 5).set_index("baseline")
    assert rows.loc["majority", "description"] == f"always {class_names[2]}, the most frequent action of train"


def test_shuffling_permutes_the_frames_of_each_clip_reproducibly():
    positions, clips = np.tile(np.arange(1, 20, 2), (30, 1)), [f"wave/{number}.avi" for number in range(30)]
    first, again, other = (shuffle_frames(positions, clips, 0, shuffle) for shuffle in (0, 0, 1))
    assert (np.sort(first, axis=1) == positions).all() and (first == again).all()
    assert (first != other).any(axis=1).mean() > 0.9 and (first != first[0]).any()
    assert (shuffle_frames(positions[::-1], clips[::-1], 0, 0)[::-1] == first).all()  # whatever the order of clips


def test_stored_frames_give_the_probabilities_of_stored_features(trained):
    """The same frames in another order: from the stored frames, as with a fine-tuned backbone, and from features."""
    recognizer, store = TorchRecognizer(trained / "models/all10/model.pt"), FrameStore(trained / "data/frames")
    split = load_splits([], trained / "data/clips.csv", trained / "data/split.csv")[1]["test"].select(np.arange(20) < 3)
    positions = np.stack([recognizer.positions(clip) for clip in split.clips])
    positions = shuffle_frames(positions, split.clips, 0, 0)[:, :4]
    from_features = recognizer.predict_split(split, np.load(trained / "data/features.npy"), store, positions)
    from_frames = [
        recognizer.predict(recognizer.prepare(clip, store.load(clip), row))
        for clip, row in zip(split.clips, positions, strict=True)
    ]
    assert from_features.shape == (3, 4, 5) and np.allclose(from_features, from_frames, atol=1e-3)


def test_the_observation_ratio_is_the_middle_of_the_frames_segment():
    assert observation_ratio(np.array([0, 10, 19]), 20).tolist() == pytest.approx([0.025, 0.525, 0.975])


def test_accuracy_by_frames_per_action_adds_up_to_that_of_all(trained, class_names_and_splits):
    class_names, _, split = class_names_and_splits
    recognizer = TorchRecognizer(trained / "models/all10/model.pt")
    probs = {"all10": recognizer.predict_split(split, np.load(trained / "data/features.npy"), None)}
    ratios = observation_ratio(np.stack([recognizer.positions(clip) for clip in split.clips]), 20)
    table = accuracy_by_frames(probs, split, ratios)
    per_action = accuracy_by_frames_per_action(probs, split, ratios, class_names)
    assert list(table) == ["frames", "observation_ratio", "all10", "all10_low", "all10_high"]
    assert per_action.groupby("action")["clips"].first().sum() == len(split.clips)
    hits = (per_action["all10"] * per_action["clips"]).groupby(per_action["frames"]).sum()
    assert (hits / len(split.clips)).to_numpy() == pytest.approx(table["all10"].to_numpy())
    assert table["observation_ratio"].is_monotonic_increasing and (table["all10_low"] <= table["all10"]).all()


def test_scores_in_the_tables_are_within_their_intervals(trained):
    for name in ("accuracy_by_frames", "accuracy_by_frames_per_action", "recall"):
        table = pd.read_csv(trained / f"metrics/tables/{name}.csv")
        for approach in ("first5", "all10"):
            inside = table[approach].between(table[f"{approach}_low"], table[f"{approach}_high"])
            assert inside.all() and (table[f"{approach}_low"] < table[f"{approach}_high"]).all()
