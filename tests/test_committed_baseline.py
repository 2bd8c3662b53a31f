"""The committed baseline agrees with what the demo clips allow."""

import json
import math

import pytest
import yaml
from conftest import ROOT

from glimpse.demo.draw import CEILINGS

METRICS = json.loads((ROOT / "metrics/test.json").read_text())
DEMO = yaml.safe_load((ROOT / "params.yaml").read_text())["demo"]


def interval(share):
    """Where 99 of 100 accuracies fall on n clips, each right with this chance (normal approximation)."""
    return 2.576 * math.sqrt(share * (1 - share) / METRICS["n"])


def test_the_baseline_is_of_the_whole_demo():
    assert METRICS["n"] / (DEMO["actors"] * DEMO["repetitions"] * 5) == pytest.approx(0.25, abs=0.02)


def test_all10_reaches_its_ceiling_within_five_points():
    target = CEILINGS["all10"] - 0.05
    assert METRICS["all10"]["accuracy"] >= target - interval(target)


def test_first5_comes_near_its_ceiling_and_not_above_it_beyond_chance():
    assert abs(METRICS["first5"]["accuracy"] - CEILINGS["first5"]) <= interval(CEILINGS["first5"])
