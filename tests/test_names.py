"""Names as people give them, in any alphabet and with any sign, go through all stages and into every table and plot."""

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
ACTIONS = {  # an action's folder: what is done in it
    "-lift, 100%=[up] (a)": "lift",
    'say "hi" & <b>wave&amp;\'s': "wave",
    f"{NFC} 日本 🙂 \\n": "sit_down",
    NFD: "stand_up",
    "x" * 200: "lower",
}
GROUPS = ["anna's", "-b [x]", "c=d,e", "100%", "日本", NFD, NFC, "g" * 210]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A data set of such names, outside any repository."""
    folder = tmp_path_factory.mktemp("my [odd] clips, 100%") / "-data = été"
    for action, does in ACTIONS.items():
        for number, group in enumerate(GROUPS):
            name = ["take 1", "--help", "a,b", f"c'd\"e {action[:20]}", "%s {x} $HOME", "日本", NFD, "n" * 240][number]
            draw.write_clip(folder / action / group / f"{name}.avi", does, number, 1, 0)
    return folder


def rows_of(clone, path):
    """The rows of a CSV file as dicts."""
    return list(csv.DictReader((clone.folder / path).read_text(encoding="utf-8").splitlines()))


def test_odd_names_of_clips_actions_and_groups_reach_every_table_and_plot(clips, tmp_path):
    clone = Clone(tmp_path / "a [clone]")
    link = tmp_path / "a link, 1"
    link.symlink_to(clips)
    clone.set(SMALL | {"dataset": json.dumps(str(link), ensure_ascii=False)})  # under -S a comma would be a sweep
    printed = clone.run("dvc", "repro")
    assert f"frames: {len(ACTIONS) * len(GROUPS)} clips of {len(ACTIONS)} actions" in printed
    assert "split: groups by the subfolder: 8 groups of 40 clips" in printed
    table = rows_of(clone, "data/split.csv")
    found = {(row["clip"], row["action"], row["group"]) for row in table}
    held = [path.relative_to(clips) for path in clips.rglob("*.avi")]
    assert found == {(path.as_posix(), path.parts[0], path.parts[1]) for path in held} and len(held) == 40
    recall = rows_of(clone, "metrics/tables/recall.csv")
    assert [row["action"] for row in recall] == sorted(ACTIONS)
    answers = rows_of(clone, "metrics/tables/predictions-all10.csv")
    assert set(answers[0]) >= {f"p({action})" for action in ACTIONS}

    clone.run("dvc", "plots", "show")
    page = (clone.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    specs = re.findall(r"var spec = (\{.*?\});\s*(?:var|vegaEmbed)", page, re.DOTALL)
    assert len(specs) == 9
    confusion = next(one for one in map(json.loads, specs) if "Test clips, all10" in json.dumps(one))
    drawn = {value["action"] for value in confusion["data"]["values"]}
    assert drawn == set(ACTIONS)

    said = clone.run("python", "src/predict.py", str(clips), "--csv")
    rows = list(csv.DictReader(said.splitlines()))
    assert {row["clip"] for row in rows} == {str(path) for path in clips.rglob("*.avi")}
    said = clone.run("python", "src/predict.py", str(clips), "--json")
    assert {json.loads(line)["clip"] for line in said.splitlines()} == {row["clip"] for row in rows}
    clone.run("python", "src/picture.py", "a [picture], 1.png")
    assert (clone.folder / "a [picture], 1.png").stat().st_size > 10_000
    (clone.folder / "a [picture], 1.png").unlink()

    clone.run("git", "commit", "--quiet", "--all", "--message", "My clips")
    shutil.copytree(clips, clone.folder / "data/my [odd] clips")  # the same, versioned by DVC in the repository
    clone.run("dvc", "add", "data/my [odd] clips")
    clone.set({"dataset": "'data/my [odd] clips'"})
    assert clone.ran(clone.run("dvc", "repro", "frames")) == ["frames"]
    assert set(clone.status()) == {"data/.gitignore", '"data/my [odd] clips.dvc"', "dvc.lock", "params.yaml"}
