"""Ridge regression: it minimises its cost, can balance the classes, and goes through every stage."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_params

from glimpse.model.model_file import load_model
from glimpse.model.ridge import PENALTY, Ridge


def clips(n, seed=0):
    """Features of n clips of 3 labels, of which the last is rare: (n, 4, 12), with their numbers."""
    torch.manual_seed(seed)
    labels = torch.arange(n) % 5 % 3
    return torch.randn(n, 4, 12) + 0.5 * one_hot(labels)[:, None], labels


def one_hot(labels):
    return torch.nn.functional.one_hot(labels, 12).float()


@pytest.mark.parametrize("n", [9, 200])  # fewer clips than numbers, and more
@pytest.mark.parametrize("balanced", [True, False])
def test_the_fit_minimises_the_ridge_cost(n, balanced):
    """The gradient of the cost, written down independently, is zero there."""
    features, labels = clips(n)
    ridge = Ridge([8, 4], 3)
    ridge.fit(ridge.summary(features)[:, -1], labels, balanced)
    parts = [torch.nn.functional.layer_norm(part, part.shape[-1:]) for part in features.double().split([8, 4], 2)]
    read = torch.cat(parts, 2).mean(1)
    counts = torch.bincount(labels)
    weight = (1 / counts[labels] if balanced else torch.ones(n)).double()
    weight = weight * n / weight.sum()
    spread = (weight[:, None] * (read - (weight[:, None] * read).mean(0)) ** 2).mean(0).sqrt() + 1e-3
    unit = 12**0.5 * spread  # what a number is divided by

    def cost(weights, bias):
        errors = read @ weights.T + bias - torch.nn.functional.one_hot(labels).double()
        return (weight[:, None] * errors**2).sum() + PENALTY * ((weights * unit) ** 2).sum()

    solution = [(tensor / Ridge.SCALE).double().requires_grad_() for tensor in ridge.classifier.parameters()]
    slopes = torch.autograd.grad(cost(*solution), solution)
    assert max(slope.abs().max() for slope in slopes) < 1e-3


def test_balanced_a_rare_class_is_predicted_as_often_as_others():
    torch.manual_seed(0)
    features, labels = torch.randn(300, 4, 12), (torch.arange(300) % 10 == 0).long()  # nothing to be learnt
    shares = []
    for balanced in (True, False):
        ridge = Ridge([12], 2)
        ridge.fit(ridge.summary(features)[:, -1], labels, balanced)
        shares.append(ridge(torch.randn(2000, 4, 12))[:, -1].argmax(1).float().mean().item())
    assert 0.3 < shares[0] < 0.7 and shares[1] < 0.02


def test_it_goes_through_every_stage_without_augmented_views(copied, stage):
    features = np.load(copied / "data/features.npy")
    features_settings = {"features.augmented_views": 0, "features.input_size": 128}
    np.save(copied / "data/features.npy", features[:, :1])
    write_params(copied, **features_settings, **{"model.head": "ridge"})
    for approach in ("first5", "all10"):
        stage(copied, "train", approach)
        history = pd.read_csv(copied / f"models/{approach}/history.csv")
        assert len(history) == 1 and history["val_accuracy"][0] >= 0.6
    model = load_model(copied / "models/all10/model.pt")
    assert set(model.head) == {"classifier.weight", "classifier.bias"} and model.config.head == "ridge"
    for name in ("evaluate", "report"):
        stage(copied, name)
    assert pd.read_csv(copied / "metrics/tables/predictions-all10.csv").eval("action == predicted").mean() > 0.6
    page = (copied / "metrics/report.html").read_text()
    assert "ridge" in page and "the epoch and the temperature" not in page
    assert "Val was used to select the temperature" in page and ", epoch " not in page


def test_val_is_trained_on_only_with_refit(copied, stage):
    models = []
    for refit in (False, True):
        write_params(
            copied,
            **{"model.head": "ridge", "train.refit": refit, "features.augmented_views": 1, "features.input_size": 128},
        )
        stage(copied, "train", "all10")
        models.append(load_model(copied / "models/all10/model.pt"))
    first, refit = models
    assert not torch.equal(first.head["classifier.weight"], refit.head["classifier.weight"])
    assert first.config == refit.config  # val's accuracy and confidence are those before the refit
