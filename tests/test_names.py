"""Names in any alphabet, with any character, pass through all stages and reach every table and plot."""

import csv
import json
import re
import shutil
import unicodedata

import pytest
from dvc_clone import SMALL, Clone

from glimpse.demo import draw

pytestmark = pytest.mark.slow
NFC, NFD = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
ACTIONS = {  # an action's folder: the demo action that its clips show
    "-lift, 100%=[up] (a)": "lift",
    'say "hi" & <b>wave&amp;\'s': "wave",
    f"{NFC} 日本 🙂 \\n": "sit_down",
    NFD: "stand_up",
    "x" * 200: "lower",
}
GROUPS = ["anna's", "-b [x]", "c=d,e", "100%", "日本", NFD, NFC, "g" * 210]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A data set with such names, outside any repository."""
    folder = tmp_path_factory.mktemp("my [odd] clips, 100%") / "-data = été"
    for action, demo_action in ACTIONS.items():
        for number, group in enumerate(GROUPS):
            name = ["take 1", "--help", "a,b", f"c'd\"e {action[:20]}", "%s {x} $HOME", "日本", NFD, "n" * 240][number]
            draw.write_clip(folder / action / group / f"{name}.avi", demo_action, number, 1, 0)
    return folder


def read_rows(clone, path):
    """The rows of a CSV file as dicts."""
    return list(csv.DictReader((clone.folder / path).read_text(encoding="utf-8").splitlines()))


def test_names_of_clips_actions_and_groups_reach_every_table_and_plot(clips, tmp_path):
    clone = Clone(tmp_path / "a [clone]")
    link = tmp_path / "a link, 1"
    link.symlink_to(clips)
    clone.set(SMALL | {"dataset": json.dumps(str(link), ensure_ascii=False)})  # under -S a comma would be a sweep
    printed = clone.run("dvc", "repro")
    assert f"frames: {len(ACTIONS) * len(GROUPS)} clips of {len(ACTIONS)} actions" in printed
    assert "split: groups by the subfolder: 8 groups of 40 clips" in printed
    table = read_rows(clone, "data/split.csv")
    rows = {(row["clip"], row["action"], row["group"]) for row in table}
    files = [path.relative_to(clips) for path in clips.rglob("*.avi")]
    assert rows == {(path.as_posix(), path.parts[0], path.parts[1]) for path in files} and len(files) == 40
    recall = read_rows(clone, "metrics/tables/recall.csv")
    assert [row["action"] for row in recall] == sorted(ACTIONS)
    predictions = read_rows(clone, "metrics/tables/predictions-all10.csv")
    assert set(predictions[0]) >= {f"p({action})" for action in ACTIONS}

    clone.run("dvc", "plots", "show")
    page = (clone.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    specs = re.findall(r"var spec = (\{.*?\});\s*(?:var|vegaEmbed)", page, re.DOTALL)
    assert len(specs) == 9
    confusion = next(spec for spec in map(json.loads, specs) if "Test clips, all10" in json.dumps(spec))
    assert {value["action"] for value in confusion["data"]["values"]} == set(ACTIONS)

    printed = clone.run("glimpse", "predict", "clips", str(clips), "--csv")
    rows = list(csv.DictReader(printed.splitlines()))
    assert {row["clip"] for row in rows} == {str(path) for path in clips.rglob("*.avi")}
    printed = clone.run("glimpse", "predict", "clips", str(clips), "--json")
    assert {json.loads(line)["clip"] for line in printed.splitlines()} == {row["clip"] for row in rows}
    clone.run("glimpse", "contact-sheet", "a [picture], 1.png")
    assert (clone.folder / "a [picture], 1.png").stat().st_size > 10_000
    (clone.folder / "a [picture], 1.png").unlink()

    clone.run("git", "commit", "--quiet", "--all", "--message", "My clips")
    shutil.copytree(clips, clone.folder / "data/my [odd] clips")  # the same, versioned by DVC in the repository
    clone.run("dvc", "add", "data/my [odd] clips")
    clone.set({"dataset": "'data/my [odd] clips'"})
    assert clone.ran(clone.run("dvc", "repro", "frames")) == ["frames"]
    assert set(clone.status()) == {"data/.gitignore", '"data/my [odd] clips.dvc"', "dvc.lock", "params.yaml"}
