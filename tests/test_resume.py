"""A stopped training resumes after its last epoch, and its outputs are byte for byte those of an uninterrupted one."""

import shutil

import pandas as pd
import pytest
import torch
import yaml
from conftest import write_params

from glimpse.core import files
from glimpse.features import extractor
from glimpse.model import model_file
from glimpse.model.model_file import load_model
from glimpse.train import checkpoint
from glimpse.train.checkpoint import Checkpoint
from glimpse.train.loop import Trainer

CHECKPOINT = ".checkpoints/first5.pt"
OUTPUTS = ["models/first5/model.pt", "models/first5/history.csv"]
EPOCHS = 5


class Stopped(BaseException):
    """Stands in for a kill."""


def calls(patch, owner, name, at, after=False):
    """Stop at the `at`-th call of `owner.name`, before it begins or after it is done."""
    real, count = getattr(owner, name), [0]

    def counted(*arguments, **named):
        count[0] += 1
        if count[0] == at and not after:
            raise Stopped
        result = real(*arguments, **named)
        if count[0] == at:
            raise Stopped
        return result

    patch.setattr(owner, name, counted)


STOPS = {
    "in the first epoch": (torch.optim.AdamW, "step", 2, True, None),
    "before the third epoch": (Trainer, "train_one_epoch", 3, False, 3),
    "in the third epoch": (torch.optim.AdamW, "step", 6, True, 3),
    "in validation": (Trainer, "evaluate", 3, True, 3),
    "while the checkpoint is written": (torch, "save", 3, True, 3),
    "after the checkpoint": (Checkpoint, "save", 3, True, 4),
    "after the last epoch": (Trainer, "predict_logits", EPOCHS + 1, True, EPOCHS + 1),
    "after model.pt": (model_file, "save_model", 1, True, EPOCHS + 1),
    "after history.csv": (files, "write_table", 1, True, EPOCHS + 1),
}  # fmt: skip


def few(folder, each=3, **changes):
    """A handful of the small project's clips, `each` of every action and split; two steps an epoch."""
    table = pd.read_csv(folder / "data/split.csv")
    chosen = table.groupby(["split", "action"]).head(each)
    chosen.to_csv(folder / "data/split.csv", index=False)
    features = yaml.safe_load((folder / "params.yaml").read_text())["features"]
    same = {f"features.{name}": features[name] for name in ("augmented_views", "input_size")}
    write_params(folder, **(same | {"train.refit": False, "train.epochs": EPOCHS, "train.batch_size": 8} | changes))


def bytes_of(folder):
    return [(folder / name).read_bytes() for name in OUTPUTS]


@pytest.fixture
def each_epoch(monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_TIME_SHARE", float("inf"))


def stop_and_go_on(folder, stage, capsys, owner, name, at, after, resumed, epochs=EPOCHS):
    """Stop a training, then run it again; what it printed the second time."""
    shutil.rmtree(folder / "models/first5")  # as DVC does before a run
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        calls(patch, owner, name, at, after)
        stage(folder, "train", "first5")
    shutil.rmtree(folder / "models/first5", ignore_errors=True)
    capsys.readouterr()
    stage(folder, "train", "first5")
    printed = capsys.readouterr().out
    assert ("resuming" in printed) == bool(resumed)
    if resumed:
        assert f"train-first5: resuming at epoch {resumed}\n" in printed
        assert printed.count("\nepoch ") == epochs + 1 - resumed
    assert not list((folder / ".checkpoints").iterdir())
    return printed


def test_a_training_stopped_anywhere_ends_with_the_same_bytes(copied, stage, capsys, each_epoch):
    few(copied)
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    for place, stop in STOPS.items():
        stop_and_go_on(copied, stage, capsys, *stop)
        assert bytes_of(copied) == undisturbed, place


def test_so_does_the_refit_on_train_and_val(copied, stage, capsys, each_epoch):
    few(copied, **{"train.refit": True})
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    assert load_model(copied / OUTPUTS[0]).config.best_epoch["epoch"] >= 2  # so that there is something to go on from
    for at, after, resumed in ((EPOCHS + 1, False, 0), (EPOCHS + 1, True, 0), (EPOCHS + 2, False, 2)):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
            calls(patch, Trainer, "train_one_epoch", at, after)
            stage(copied, "train", "first5")
        capsys.readouterr()
        stage(copied, "train", "first5")
        printed = capsys.readouterr().out
        assert f"train-first5: resuming at epoch {EPOCHS + 1}\n" in printed  # the first training is done
        assert (f"train-first5, on train and val: resuming at epoch {resumed}\n" in printed) == bool(resumed)
        assert bytes_of(copied) == undisturbed and not list((copied / ".checkpoints").iterdir())


def test_where_the_first_training_starts_anew_the_refit_does_too(copied, stage, capsys, each_epoch):
    few(copied, **{"train.refit": True})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        calls(patch, Trainer, "train_one_epoch", EPOCHS + 2)
        stage(copied, "train", "first5")
    (copied / CHECKPOINT).write_bytes(b"damaged")
    capsys.readouterr()
    stage(copied, "train", "first5")
    printed = capsys.readouterr().out
    assert printed.count("training starts anew") == 1 and "resuming" not in printed


CHANGES = {
    "mean": {"model.head": "mean"},
    "sampler": {"train.class_balance": "sampler", "train.ema_decay": 0},
    "drawn once": {"sampling": "random", "resample_each_epoch": False},
}
TUNED = {"frames": 2, "first5.num_frames": 2, "features.input_size": 32, "train.epochs": 3, "train.batch_size": 3}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_so_does_every_kind_of_training(copied, stage, capsys, each_epoch, changes):
    few(copied, **changes)
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    stop_and_go_on(copied, stage, capsys, *STOPS["in the third epoch"])
    assert bytes_of(copied) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"model.finetune_blocks": 2}, {"model.finetune_blocks": 1, "model.shared_backbone": False}],
    ids=["tied", "untied"],
)
def test_so_does_a_finetuned_backbone(copied, stage, capsys, each_epoch, changes):
    few(copied, each=1, **TUNED, **changes)
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    stop_and_go_on(copied, stage, capsys, *STOPS["in the third epoch"], epochs=3)
    assert bytes_of(copied) == undisturbed


def test_a_training_out_of_patience_trains_no_further(copied, stage, capsys, each_epoch):
    few(copied, **{"train.epochs": 30, "train.patience": 1, "train.lr": 1e-8})
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    history = pd.read_csv(copied / OUTPUTS[1])
    assert len(history) == capsys.readouterr().out.count("\nepoch ") < 30
    best = history.sort_values(["val_accuracy", "val_loss"], ascending=[False, True])["epoch"].iloc[0]
    assert len(history) == best + 1
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        calls(patch, model_file, "save_model", 1)
        stage(copied, "train", "first5")
    capsys.readouterr()
    stage(copied, "train", "first5")
    assert "\nepoch " not in capsys.readouterr().out and bytes_of(copied) == undisturbed


def stopped_after_two_epochs(folder, stage):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        calls(patch, Trainer, "train_one_epoch", 3)
        stage(folder, "train", "first5")


def another_setting(folder):
    few(folder, seed=1)


def another_split(folder):
    table = pd.read_csv(folder / "data/split.csv")
    table.iloc[::-1].to_csv(folder / "data/split.csv", index=False)


def other_features(folder):
    path = folder / "data/features.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [another_setting, another_split, other_features])
def test_another_training_starts_anew_and_says_so(copied, stage, capsys, each_epoch, change):
    few(copied)
    stopped_after_two_epochs(copied, stage)
    change(copied)
    capsys.readouterr()
    stage(copied, "train", "first5")
    printed = capsys.readouterr().out
    assert printed.count("starts anew") == 1 and "of other settings, clips or code" in printed
    assert printed.count("\nepoch ") == EPOCHS
    made = bytes_of(copied)
    stage(copied, "train", "first5")
    assert bytes_of(copied) == made


def test_other_code_or_another_torch_is_another_training(copied, stage, capsys, each_epoch, monkeypatch):
    few(copied)
    for owner, name, value in (
        (checkpoint, "training_code", lambda: "changed"),
        (extractor, "versions", lambda: {"torch": "1.0"}),
    ):
        stopped_after_two_epochs(copied, stage)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            stage(copied, "train", "first5")
        assert "of other settings, clips or code" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text", "another dict"])
def test_a_damaged_checkpoint_is_said_and_not_used(copied, stage, capsys, each_epoch, damage):
    few(copied, **{"train.epochs": 3})
    stage(copied, "train", "first5")
    undisturbed = bytes_of(copied)
    stopped_after_two_epochs(copied, stage)
    path = copied / CHECKPOINT
    content = path.read_bytes()
    middle = len(content) // 2  # in a tensor
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"empty": b"", "half": content[:middle], "flipped": flipped, "text": b"nothing"}.get(damage, b""))
    if damage == "another dict":
        torch.save({"history": []}, path)
    capsys.readouterr()
    stage(copied, "train", "first5")
    printed = capsys.readouterr().out
    assert f"train-first5: {CHECKPOINT} is damaged: training starts anew" in printed and "resuming" not in printed
    assert bytes_of(copied) == undisturbed


def test_short_epochs_are_not_all_saved(copied, stage, monkeypatch):
    """Checkpoints take their share of the time: with a clock in which writing takes a second and an epoch ten."""
    now, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "MAX_TIME_SHARE", 0.05)

    def save(contents, file):
        now[0] += 1
        written.append(len(contents["progress"]["history"]))
        file.write(b"0")

    monkeypatch.setattr(torch, "save", save)
    saved = Checkpoint("train-first5", copied / CHECKPOINT, [], 0)
    for epoch in range(1, 8):
        now[0] += 10
        saved.save({"history": [{}] * epoch}, {}, torch.device("cpu"))
    assert written == [1, 3, 5, 7]
