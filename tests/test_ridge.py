"""Ridge regression: it solves what it says it solves, weighs all actions the same, and goes through every stage."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_params

from glimpse.model import network as model
from glimpse.model.ridge import PENALTY, Ridge


def clips(n, seed=0):
    """Features of n clips of 3 actions, of which the last is rare: (n, 4, 12), with their numbers."""
    torch.manual_seed(seed)
    actions = torch.arange(n) % 5 % 3
    return torch.randn(n, 4, 12) + 0.5 * one_hot(actions)[:, None], actions


def one_hot(actions):
    return torch.nn.functional.one_hot(actions, 12).float()


@pytest.mark.parametrize("n", [9, 200])  # fewer clips than numbers, and more
@pytest.mark.parametrize("balanced", [True, False])
def test_it_is_the_least_of_what_ridge_regression_makes_small(n, balanced):
    """Found again by going downhill from it: no direction leads further down."""
    features, actions = clips(n)
    ridge = Ridge([8, 4], 3)
    ridge.solve(ridge.summary(features)[:, -1], actions, balanced)
    parts = [torch.nn.functional.layer_norm(part, part.shape[-1:]) for part in features.double().split([8, 4], 2)]
    read = torch.cat(parts, 2).mean(1)
    counts = torch.bincount(actions)
    weight = (1 / counts[actions] if balanced else torch.ones(n)).double()
    weight = weight * n / weight.sum()
    spread = (weight[:, None] * (read - (weight[:, None] * read).mean(0)) ** 2).mean(0).sqrt() + 1e-3
    unit = 12**0.5 * spread  # what a number is divided by

    def cost(weights, bias):
        errors = read @ weights.T + bias - torch.nn.functional.one_hot(actions).double()
        return (weight[:, None] * errors**2).sum() + PENALTY * ((weights * unit) ** 2).sum()

    found = [(one / Ridge.SHARP).double().requires_grad_() for one in (ridge.answer.weight, ridge.answer.bias)]
    slopes = torch.autograd.grad(cost(*found), found)
    assert max(slope.abs().max() for slope in slopes) < 1e-3


def test_balanced_a_rare_action_is_answered_as_readily_as_others():
    torch.manual_seed(0)
    features, actions = torch.randn(300, 4, 12), (torch.arange(300) % 10 == 0).long()  # nothing to be learnt
    shares = []
    for balanced in (True, False):
        ridge = Ridge([12], 2)
        ridge.solve(ridge.summary(features)[:, -1], actions, balanced)
        shares.append(ridge(torch.randn(2000, 4, 12))[:, -1].argmax(1).float().mean().item())
    assert 0.3 < shares[0] < 0.7 and shares[1] < 0.02


def test_it_goes_through_every_stage_without_augmented_looks(copied, stage):
    features = np.load(copied / "data/features.npy")
    kept = {"features.augmented_views": 0, "features.input_size": 128}
    np.save(copied / "data/features.npy", features[:, :1])
    write_params(copied, **kept, **{"model.head": "ridge"})
    for approach in ("first5", "all10"):
        stage(copied, "train", approach)
        history = pd.read_csv(copied / f"models/{approach}/history.csv")
        assert len(history) == 1 and history["val_accuracy"][0] >= 0.6
    held = model.load(copied / "models/all10/model.pt")
    assert set(held["state"]) == {"answer.weight", "answer.bias"} and held["temporal"]["kind"] == "ridge"
    for name in ("evaluate", "report"):
        stage(copied, name)
    assert pd.read_csv(copied / "metrics/predictions-all10.csv").eval("action == predicted").mean() > 0.6
    page = (copied / "metrics/report.html").read_text()
    assert "ridge" in page and "best epoch" not in page and "Val chose the temperature" in page


def test_val_is_trained_on_only_with_refit(copied, stage):
    states = []
    for refit in (False, True):
        write_params(
            copied,
            **{"model.head": "ridge", "train.refit": refit, "features.augmented_views": 1, "features.input_size": 128},
        )
        stage(copied, "train", "all10")
        states.append(model.load(copied / "models/all10/model.pt"))
    assert not torch.equal(states[0]["state"]["answer.weight"], states[1]["state"]["answer.weight"])
    assert states[0]["best"] == states[1]["best"] and states[0]["val"] == states[1]["val"]  # told before
