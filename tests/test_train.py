"""Training: it can overfit, it learns nothing from shuffled labels, and the same settings make the same bytes."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, write_params

from glimpse.core.frame_store import FrameStore
from glimpse.core.params_file import load_params, with_overrides
from glimpse.core.settings import parse_settings
from glimpse.core.splits import Split, load_splits
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.model_file import load_model
from glimpse.train.build_trainer import median_seconds
from glimpse.train.loop import Trainer, class_weights, sequence_loss


def test_settings_reach_the_model_file(trained):
    for approach, num_frames in (("first5", 5), ("all10", 10)):
        model = load_model(trained / f"models/{approach}/model.pt")
        config = model.config
        assert config.class_names == ["lift", "lower", "sit_down", "stand_up", "wave"]
        assert (config.approach, config.num_frames, config.frames, config.candidates) == (approach, num_frames, 10, 20)
        assert len(model.backbones) == 1 and len(model.backbones[0]) == 312
        plain = torch.load(trained / f"models/{approach}/model.pt", weights_only=True)
        assert type(plain) is dict


def test_the_best_epoch_has_the_highest_val_accuracy_then_the_lowest_val_loss(trained):
    for approach in ("first5", "all10"):
        history = pd.read_csv(trained / f"models/{approach}/history.csv")
        assert history["epoch"].tolist() == list(range(1, len(history) + 1))
        best = history.sort_values(["val_accuracy", "val_loss"], ascending=[False, True]).iloc[0]
        row = load_model(trained / f"models/{approach}/model.pt").config.best_epoch
        assert row["epoch"] == best["epoch"] and row["val_accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)


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
def test_predictions_frame_by_frame_equal_those_of_the_whole_clip(trained, approach):
    recognizer, frames = TorchRecognizer(trained / f"models/{approach}/model.pt"), FrameStore(trained / "data/frames")
    for clip in pd.read_csv(trained / "data/clips.csv")["clip"][:3]:
        views = recognizer.prepare(clip, frames.load(clip)).clean
        whole, state = recognizer.predict_views(views), np.zeros((1, recognizer.state_size), np.float32)
        initial = state  # of a second window, which begins three frames later
        for number, view in enumerate(views):
            if number == 3:
                state = np.concatenate([state, initial])
            probabilities, state = recognizer.step(view, state)
            assert np.allclose(probabilities[0], whole[number], atol=1e-5)
        assert np.allclose(probabilities[1], recognizer.predict_views(views[3:])[-1], atol=1e-5)


def test_a_model_holds_the_median_length_of_its_training_clips(trained, tmp_path, monkeypatch):
    clips, split = (pd.read_csv(trained / f"data/{name}.csv") for name in ("clips", "split"))
    learned = clips[clips["clip"].isin(split["clip"][split["split"] == "train"])]
    usual = (learned["frames"] / learned["fps"]).median()
    assert load_model(trained / "models/all10/model.pt").config.clip_seconds == pytest.approx(usual, abs=0.001)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    pd.DataFrame({"seconds": ["2.0", "", "4.0"]}).to_csv("data/clips.csv")
    assert median_seconds(np.arange(3)) == 3 and median_seconds(np.array([1])) == 0


def relabel(folder, rows):
    """Give the clips of split.csv other actions and splits: rows of (clip, action, split)."""
    table = pd.DataFrame([(clip, action, clip, split) for clip, action, split in rows])
    table.to_csv(folder / "data/split.csv", index=False, header=["clip", "action", "group", "split"])


def small(folder, **changes):
    """The small project's settings with changes."""
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    same = {f"features.{name}": tree["features"][name] for name in ("augmented_views", "input_size")}
    write_params(folder, **(same | changes))


@pytest.mark.parametrize("head", ["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"])
def test_four_clips_can_be_overfitted(copied, stage, head):
    class_names, splits = load_splits([], copied / "data/clips.csv", copied / "data/split.csv")
    train = splits["train"]
    clip_of = {action: train.clips[list(train.labels).index(label)] for label, action in enumerate(class_names)}
    chosen = [(clip_of[action], action) for action in ("lift", "wave", "sit_down", "stand_up")]
    relabel(copied, [(clip, action, split) for clip, action in chosen for split in ("train", "val")])
    small(copied, **{"model.head": head, "train.epochs": 60, "train.patience": 60, "first5.num_frames": 10})
    stage(copied, "train", "first5")
    history = pd.read_csv(copied / "models/first5/history.csv")
    assert history["val_accuracy"].max() == 1.0  # clips of val are those of train


def test_shuffled_labels_fall_to_chance(copied, stage):
    """Labels dealt at random over the clips can't be told on clips held out; more than luck would be a leak."""
    table = pd.read_csv(copied / "data/split.csv")
    table["action"] = np.random.default_rng(0).permutation(table["action"])
    rows = [(row.clip, row.action, "val" if row.split == "test" else row.split) for row in table.itertuples()]
    relabel(copied, rows)
    small(copied, **{"train.epochs": 15, "model.head": "mean"})
    stage(copied, "train", "all10")
    last = pd.read_csv(copied / "models/all10/history.csv")["val_accuracy"].iloc[-5:].mean()
    n = sum(split == "val" for _, _, split in rows)
    assert last < 0.2 + 3 * (0.2 * 0.8 / n) ** 0.5  # chance and three standard errors


def test_the_same_settings_make_the_same_bytes_and_another_seed_does_not(copied, stage):
    small(copied, **{"train.epochs": 3})
    made = []
    for seed in (0, 0, 1):
        small(copied, **{"train.epochs": 3, "seed": seed})
        stage(copied, "train", "first5")
        made.append([(copied / f"models/first5/{name}").read_bytes() for name in ("model.pt", "history.csv")])
    assert made[0] == made[1] and made[0] != made[2]


@pytest.mark.parametrize("shared", [True, False])
def test_a_finetuned_backbone_trains_from_stored_frames(copied, stage, shared):
    changes = {
        "model.finetune_blocks": 2,
        "model.shared_backbone": shared,
        "train.epochs": 2,
        "frames": 4,
        "first5.num_frames": 3,
    }
    small(copied, **changes)
    stage(copied, "train", "first5")
    model = load_model(copied / "models/first5/model.pt")
    frozen = load_model(copied / "models/all10/model.pt").backbones[0]
    assert len(model.backbones) == (1 if shared else 3)
    for state in model.backbones:
        moved = {key.split(".")[0] for key in state if not torch.equal(state[key], frozen[key])}
        assert moved == {"17", "18"}
    if not shared:
        first, second = (state["18.0.weight"] for state in model.backbones[:2])
        assert not torch.equal(first, second)


def test_the_original_study_trains(copied, stage):
    """Random frames drawn once per clip, a MobileNet of its own for every frame, all of them tuned, and an LSTM."""
    study = {
        "sampling": "random",
        "resample_each_epoch": False,
        "model.shared_backbone": False,
        "model.finetune_blocks": 19,
    }
    study |= {"features.crop": "center", "features.rgb_diff": False, "features.flow": False}
    small(copied, **study, **{"frames": 3, "first5.num_frames": 2, "train.epochs": 1, "features.input_size": 64})
    for approach in ("first5", "all10"):
        stage(copied, "train", approach)
    stage(copied, "evaluate")
    model = load_model(copied / "models/all10/model.pt")
    assert len(model.backbones) == 3
    assert model.config.sampling == "random" and model.config.finetune_blocks == 19


@pytest.mark.parametrize("balance", ["weights", "sampler", "none"])
def test_every_way_to_balance_trains(copied, stage, balance):
    small(copied, **{"train.class_balance": balance, "train.epochs": 1})
    stage(copied, "train", "first5")


def test_class_weights_give_every_class_the_same_share_of_the_loss():
    labels, cpu = np.array([0] * 8 + [1] * 2), torch.device("cpu")
    weight = class_weights(labels, "weights", cpu)
    assert (weight[0] * 8).item() == pytest.approx((weight[1] * 2).item())
    assert class_weights(labels, "none", cpu) is None


def test_the_loss_is_the_cross_entropy_where_the_logits_are_the_same_after_every_frame():
    logits, target = torch.tensor([[2.0, 0.0], [0.5, 1.0]]), torch.tensor([0, 1])
    expected = torch.nn.functional.cross_entropy(logits, target)
    assert sequence_loss(logits[None, :, None].expand(2, -1, 4, -1), target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("predicted", "frames"), [([0, 0, 0], 1), ([1, 0, 0], 2), ([0, 1, 0], 3), ([1, 0, 1, 1], 3), ([2], 1)]
)
def test_a_prediction_is_stable_when_it_no_longer_changes(predicted, frames):
    assert frames_to_stable(np.eye(3)[predicted]) == frames


class OneKind(torch.nn.Sequential):
    """A network with the outputs of `TemporalHead`: in training with an axis for its kinds."""

    closed_form = False

    def forward(self, inputs):
        logits = super().forward(inputs)
        return logits[None] if self.training else logits


@pytest.mark.parametrize("refit", [True, False])
def test_refit_trains_from_the_initial_weights_on_train_and_val_for_the_best_number_of_epochs(
    copied, stage, monkeypatch, refit
):
    small(copied, **{"train.epochs": 4, "train.refit": refit})
    trainings, fit = [], Trainer.fit

    def recorded(trainer, split, val_loader, epochs, checkpoint):
        initial = trainer.network.state_dict()["proj.weight"].clone()
        best, history = fit(trainer, split, val_loader, epochs, checkpoint)
        trainings.append((split.clips, epochs, initial, best["epoch"], len(history), trainer.network.state_dict()))
        return best, history

    monkeypatch.setattr(Trainer, "fit", recorded)
    stage(copied, "train", "first5")
    _, splits = load_splits([], copied / "data/clips.csv", copied / "data/split.csv")
    assert trainings[0][:2] == (splits["train"].clips, 4)
    assert len(trainings) == 1 + refit
    if refit:
        clips, epochs, initial, _, count, _ = trainings[1]
        assert sorted(clips) == sorted(splits["train"].clips + splits["val"].clips)
        assert epochs == count == trainings[0][3] and torch.equal(initial, trainings[0][2])
    model = load_model(copied / "models/first5/model.pt")
    assert torch.equal(model.head["proj.weight"], trainings[-1][-1]["proj.weight"])
    assert model.config.best_epoch["epoch"] == trainings[0][3]
    assert len(pd.read_csv(copied / "models/first5/history.csv")) == 4


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_weights_are_an_exponential_moving_average_over_the_steps(ema_decay):
    torch.manual_seed(0)
    network = OneKind(torch.nn.Linear(4, 2))
    batches = [(torch.randn(8, 1, 4), torch.randint(0, 2, (8,))) for _ in range(3)]
    changes = {"train.epochs": 1, "train.weight_decay": 0, "train.label_smoothing": 0, "train.ema_decay": ema_decay}
    settings = parse_settings(with_overrides(load_params(ROOT / "params.yaml"), changes)).train
    groups = [{"params": list(network.parameters()), "lr": 0.1}]
    trainer = Trainer(network, None, None, settings, groups, seed=0)
    trainer.train_loader = lambda split, epoch: batches
    steps, step = [], torch.optim.AdamW.step

    def recorded(optimizer, *arguments):
        step(optimizer, *arguments)
        steps.append(network[0].weight.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", recorded)
        trainer.fit(Split([], [], np.arange(2), np.array([0, 1])), batches, 1, None)
    expected = steps[0]
    for weights in steps[1:]:
        expected = ema_decay * expected + (1 - ema_decay) * weights
    assert len(steps) == 3 and torch.allclose(network[0].weight, expected, atol=1e-6)
