"""Training: it can learn by heart, it learns nothing from nothing, and the same settings make the same bytes."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import write_params

import train
from glimpse.core.frame_store import FrameStore
from glimpse.core.splits import load_splits
from glimpse.features.views import clean_views
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model import network as model
from glimpse.train import loop as training
from glimpse.train.loop import class_weights, fit, sequence_loss


def test_settings_reach_the_model_file(trained):
    for approach, use in (("first5", 5), ("all10", 10)):
        kept = model.load(trained / f"models/{approach}/model.pt")
        assert kept["actions"] == ["lift", "lower", "sit_down", "stand_up", "wave"]
        assert (kept["approach"], kept["use"], kept["frames"], kept["candidates"]) == (approach, use, 10, 20)
        assert len(kept["backbones"]) == 1 and len(kept["backbones"][0]) == 312
        plain = torch.load(trained / f"models/{approach}/model.pt", weights_only=True)
        assert type(plain) is dict


def test_the_best_epoch_has_the_highest_val_accuracy_then_the_lowest_val_loss(trained):
    for approach in ("first5", "all10"):
        history = pd.read_csv(trained / f"models/{approach}/history.csv")
        assert history["epoch"].tolist() == list(range(1, len(history) + 1))
        best = history.sort_values(["val_accuracy", "val_loss"], ascending=[False, True]).iloc[0]
        kept = model.load(trained / f"models/{approach}/model.pt")["best"]
        assert kept["epoch"] == best["epoch"] and kept["val_accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_reversing_the_frames_swaps_sitting_down_and_standing_up(frames_alone):
    """Mostly: the square that follows is a little late, so a reversed clip is not quite a real one."""
    recognizer = TorchRecognizer(frames_alone / "models/all10/model.pt")
    features = np.load(frames_alone / "data/features.npy")
    table = pd.read_csv(frames_alone / "data/clips.csv")
    swapped = {"sit_down": "stand_up", "stand_up": "sit_down"}
    forward, backward = [], []
    for row, (clip, action) in enumerate(zip(table["clip"], table["action"], strict=True)):
        if action in swapped:
            read = features[row, 0, recognizer.positions(clip)]
            both = recognizer.predict_features(np.stack([read, read[::-1]]))
            answers = [recognizer.class_names[after[-1].argmax()] for after in both]
            forward.append(answers[0] == action)
            backward.append(answers[1] == swapped[action])
    assert len(forward) == 32 and np.mean(forward) >= 0.85 and np.mean(backward) >= 0.75, (forward, backward)


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_a_model_that_is_shown_frame_after_frame_says_what_it_says_of_the_whole_clip(trained, approach):
    recognizer, frames = TorchRecognizer(trained / f"models/{approach}/model.pt"), FrameStore(trained / "data/frames")
    for clip in pd.read_csv(trained / "data/clips.csv")["clip"][:3]:
        looks = clean_views(frames.load(clip), recognizer.views, recognizer.positions(clip))
        whole, carried = recognizer.predict_views(looks), np.zeros((1, recognizer.state_size), np.float32)
        later = carried  # a second reading, which began three frames later
        for number, look in enumerate(looks):
            if number == 3:
                carried = np.concatenate([carried, later])
            beliefs, carried = recognizer.step(look, carried)
            assert np.allclose(beliefs[0], whole[number], atol=1e-5)
        assert np.allclose(beliefs[1], recognizer.predict_views(looks[3:])[-1], atol=1e-5)


def test_a_model_keeps_how_long_its_clips_usually_are(trained):
    clips, split = (pd.read_csv(trained / f"data/{name}.csv") for name in ("clips", "split"))
    learned = clips[clips["clip"].isin(split["clip"][split["part"] == "train"])]
    usual = (learned["frames"] / learned["fps"]).median()
    assert model.load(trained / "models/all10/model.pt")["seconds"] == pytest.approx(usual, abs=0.001)
    assert train.typical_seconds(pd.DataFrame({"seconds": ["2.0", "", "4.0"]})) == 3
    assert train.typical_seconds(pd.DataFrame({"seconds": [""]})) == 0


def relabel(folder, rows):
    """Give the clips of split.csv other actions and parts: rows of (clip, action, part)."""
    table = pd.DataFrame([(clip, action, clip, part) for clip, action, part in rows])
    table.to_csv(folder / "data/split.csv", index=False, header=["clip", "action", "group", "part"])


def small(folder, **changes):
    """The small project's settings with changes."""
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    kept = {"features.augmented_views": tree["features"]["looks"], "features.input_size": tree["features"]["size"]}
    write_params(folder, **(kept | changes))


@pytest.mark.parametrize("temporal", ["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"])
def test_four_clips_are_learnt_by_heart(copied, stage, temporal):
    names, parts = load_splits([], copied / "data/clips.csv", copied / "data/split.csv")
    of = {action: parts["train"].clips[list(parts["train"].labels).index(n)] for n, action in enumerate(names)}
    chosen = [(of[a], a) for a in ("lift", "wave", "sit_down", "stand_up")]
    relabel(copied, [(clip, action, part) for clip, action in chosen for part in ("train", "val")])
    small(copied, **{"model.head": temporal, "train.epochs": 60, "train.patience": 60, "first5.num_frames": 10})
    stage(copied, "train", "first5")
    history = pd.read_csv(copied / "models/first5/history.csv")
    assert history["val_accuracy"].max() == 1.0  # in the clean look, of clips trained on in both


def test_shuffled_labels_fall_to_chance(copied, stage):
    """Labels dealt at random over the clips can't be told on clips held out; more than luck would be a leak."""
    table = pd.read_csv(copied / "data/split.csv")
    table["action"] = np.random.default_rng(0).permutation(table["action"])
    rows = [(r.clip, r.action, "val" if r.part == "test" else r.part) for r in table.itertuples()]
    relabel(copied, rows)
    small(copied, **{"train.epochs": 15, "model.head": "mean"})
    stage(copied, "train", "all10")
    last = pd.read_csv(copied / "models/all10/history.csv")["val_accuracy"].iloc[-5:].mean()
    n = sum(part == "val" for _, _, part in rows)
    assert last < 0.2 + 3 * (0.2 * 0.8 / n) ** 0.5  # chance and three standard errors


def test_the_same_settings_make_the_same_bytes_and_another_seed_does_not(copied, stage):
    small(copied, **{"train.epochs": 3})
    made = []
    for seed in (0, 0, 1):
        small(copied, **{"train.epochs": 3, "seed": seed})
        stage(copied, "train", "first5")
        made.append([(copied / f"models/first5/{name}").read_bytes() for name in ("model.pt", "history.csv")])
    assert made[0] == made[1] and made[0] != made[2]


@pytest.mark.parametrize("tied", [True, False])
def test_a_tuned_backbone_trains_from_stored_frames(copied, stage, tied):
    changes = {
        "model.finetune_blocks": 2,
        "model.shared_backbone": tied,
        "train.epochs": 2,
        "frames": 4,
        "first5.num_frames": 3,
    }
    small(copied, **changes)
    stage(copied, "train", "first5")
    kept = model.load(copied / "models/first5/model.pt")
    frozen = model.load(copied / "models/all10/model.pt")["backbones"][0]
    assert len(kept["backbones"]) == (1 if tied else 3)
    for state in kept["backbones"]:
        moved = {key.split(".")[0] for key in state if not torch.equal(state[key], frozen[key])}
        assert moved == {"17", "18"}
    if not tied:
        first, second = (state["18.0.weight"] for state in kept["backbones"][:2])
        assert not torch.equal(first, second)


def test_the_original_study_trains(copied, stage):
    """Random frames drawn once per clip, a MobileNet of its own for every frame, all of them tuned, and an LSTM."""
    study = {
        "sampling": "random",
        "resample_each_epoch": False,
        "model.shared_backbone": False,
        "model.finetune_blocks": 19,
    }
    study |= {"features.crop": False, "features.rgb_diff": False, "features.flow": False}
    small(copied, **study, **{"frames": 3, "first5.num_frames": 2, "train.epochs": 1, "features.input_size": 64})
    for approach in ("first5", "all10"):
        stage(copied, "train", approach)
    stage(copied, "evaluate")
    kept = model.load(copied / "models/all10/model.pt")
    assert len(kept["backbones"]) == 3 and kept["sampling"] == "random" and kept["tune"] == 19


@pytest.mark.parametrize("balance", ["weights", "sampler", "none"])
def test_every_way_to_balance_trains(copied, stage, balance):
    small(copied, **{"train.class_balance": balance, "train.epochs": 1})
    stage(copied, "train", "first5")


def test_weights_make_few_clips_count_as_much_as_many():
    actions = np.array([0] * 8 + [1] * 2)
    weight = class_weights(actions, 2, "weights")
    assert (weight[0] * 8).item() == pytest.approx((weight[1] * 2).item())
    assert class_weights(actions, 2, "none") is None


def test_the_loss_is_the_cross_entropy_where_every_belief_is_the_same():
    logits, target = torch.tensor([[2.0, 0.0], [0.5, 1.0]]), torch.tensor([0, 1])
    expected = torch.nn.functional.cross_entropy(logits, target)
    assert sequence_loss(logits[None, :, None].expand(2, -1, 4, -1), target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("answers", "settled"), [([0, 0, 0], 1), ([1, 0, 0], 2), ([0, 1, 0], 3), ([1, 0, 1, 1], 3), ([2], 1)]
)
def test_an_answer_has_settled_when_it_no_longer_changes(answers, settled):
    assert frames_to_stable(np.eye(3)[answers]) == settled


class OneReader(torch.nn.Sequential):
    """A network that answers as `Temporal` does: in training with a row for each reader."""

    def forward(self, looks):
        logits = super().forward(looks)
        return logits[None] if self.training else logits


@pytest.mark.parametrize("refit", [True, False])
def test_refit_trains_again_from_the_start_on_train_and_val_for_as_long_as_was_best(copied, stage, monkeypatch, refit):
    small(copied, **{"train.epochs": 4, "train.refit": refit})
    trainings = []

    def watched(network, train_loader, val_loader, weight, trained, settings, epochs, *others):
        start = network.state_dict()["squeeze.weight"].clone()
        state, best, rows = fit(network, train_loader, val_loader, weight, trained, settings, epochs, *others)
        read = train_loader(1).dataset.part.clips
        trainings.append((read, epochs, start, best["epoch"], len(rows), state))
        return state, best, rows

    monkeypatch.setattr(training, "fit", watched)
    stage(copied, "train", "first5")
    _, parts = load_splits([], copied / "data/clips.csv", copied / "data/split.csv")
    assert trainings[0][:2] == (parts["train"].clips, 4)
    assert len(trainings) == 1 + refit
    if refit:
        clips, epochs, start, _, count, _ = trainings[1]
        assert sorted(clips) == sorted(parts["train"].clips + parts["val"].clips)
        assert epochs == count == trainings[0][3] and torch.equal(start, trainings[0][2])
    kept = model.load(copied / "models/first5/model.pt")
    assert torch.equal(kept["state"]["squeeze.weight"], trainings[-1][-1]["squeeze.weight"])
    assert kept["best"]["epoch"] == trainings[0][3]
    assert len(pd.read_csv(copied / "models/first5/history.csv")) == 4


@pytest.mark.parametrize("average", [0, 0.9])
def test_what_is_kept_is_the_running_average_of_the_weights(average):
    torch.manual_seed(0)
    network = OneReader(torch.nn.Linear(4, 2))
    batches = [(torch.randn(8, 1, 4), torch.randint(0, 2, (8,))) for _ in range(3)]
    settings = SimpleNamespace(
        epochs=1, patience=1, weight_decay=0.0, label_smoothing=0.0, clip_norm=1.0, average=average
    )
    steps, step = [], torch.optim.AdamW.step

    def watched(optimizer, *arguments):
        step(optimizer, *arguments)
        steps.append(network[0].weight.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        trained = [{"params": list(network.parameters()), "lr": 0.1}]
        best, _, _ = fit(
            network, lambda epoch: batches, batches, None, trained, settings, 1, torch.device("cpu"), "float32"
        )
    expected = steps[0]
    for weights in steps[1:]:
        expected = average * expected + (1 - average) * weights
    assert len(steps) == 3 and torch.allclose(best["0.weight"], expected, atol=1e-6)
