"""Ablations: each changes settings that exist; tests/test_cross_validation.py runs one."""

import pandas as pd
import pytest
from conftest import ROOT, run_tool

from glimpse.core.params_file import load_params, with_overrides
from glimpse.core.settings import parse_settings
from glimpse.tools import ablate


@pytest.mark.parametrize("name", ablate.ABLATIONS)
def test_every_ablation_is_a_valid_change_of_the_default_settings(name):
    defaults = load_params(ROOT / "params.yaml")
    tree = with_overrides(defaults, ablate.ABLATIONS[name])
    assert (parse_settings(tree) == parse_settings(defaults)) == (name == ablate.BASELINE)


def test_the_committed_table_names_ablations_that_exist():
    table = pd.read_csv(ROOT / "docs/ablations.csv")
    assert set(table["ablation"]) <= set(ablate.ABLATIONS)
    assert set(table) >= {"ablation", "difference", "difference_low", "difference_high"}


@pytest.mark.parametrize(
    "arguments, named",
    [(["nowhere"], "nowhere: not a folder"), ([".", "--only", "magic"], "--only: magic is not one of")],
)
def test_a_mistake_is_one_line(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=named):
        run_tool(ablate, *arguments)
