"""The documentation agrees with the code: settings, outputs and their columns, links, and README's length."""

import re

import pandas as pd
import pytest
from conftest import ROOT

from glimpse.core.params_file import load_params, settings_table
from glimpse.core.settings import setting_schemas

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def generated(page, name):
    """What stands between the markers of a page."""
    return re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- end generated -->", (ROOT / page).read_text(), re.DOTALL)[
        1
    ]


def test_the_table_of_settings_is_that_of_the_code():
    assert generated("docs/settings.md", "settings") == settings_table(
        setting_schemas(), load_params(ROOT / "params.yaml")
    )


def test_the_table_of_outputs_has_every_file_that_the_stages_write_with_its_columns(trained):
    """The small project's files, whose first lines name their columns."""
    rows = [line.strip("| ").split(" | ") for line in generated("docs/outputs.md", "outputs").splitlines()[2:]]
    columns = {row[0].strip("`").replace("*", "all10"): row[1] for row in rows}
    for path in [
        *trained.glob("data/*.csv"),
        *trained.glob("models/all10/*.csv"),
        *trained.glob("metrics/tables/*.csv"),
    ]:
        name = path.relative_to(trained).as_posix().replace("first5", "all10")
        header = [column for column in pd.read_csv(path, nrows=0).columns if not column.startswith("p(")]
        assert columns[name].removesuffix(", p(x)") == ", ".join(header), name
    written = [*trained.glob("data/*"), *trained.glob("models/*/*"), *trained.glob("metrics/*")]
    names = {path.relative_to(trained).as_posix().replace("first5", "all10") for path in written}
    assert names - {"data/demo", "metrics/tables"} <= {name.rstrip("/") for name in columns}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
