"""The report: it shows what the tables contain, needs no other file, and is correct for unusual data."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import report
from glimpse.core.splits import SPLITS
from glimpse.model.model_file import load_model, save_model
from glimpse.report import clip_strips
from glimpse.report.charts import Axis, Line, chart
from glimpse.report.clip_strips import MAX_FRAMES, NUM_CORRECT, NUM_MISTAKES, pick_examples

SECTIONS = ["headline", "sides", "early", "confusion", "recall", "calibration", "clips", "health", "settings", "card"]
VOID_TAGS = {"meta", "img", "hr", "br", "path", "circle"}


class Page(HTMLParser):
    """A parsed page: its tags with attributes, the text and table rows of each section; fails on unclosed tags."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.rows, self.open_tags, self.section = [], {}, [], [], ""
        self.feed(html)
        assert not self.open_tags, self.open_tags

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID_TAGS:
            self.open_tags.append(tag)
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag == "tr":
            self.rows.append((self.section, []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID_TAGS:
            assert self.open_tags.pop() == tag

    def handle_data(self, text):
        self.text[self.section] = self.text.get(self.section, "") + text
        if {"td", "th"} & set(self.open_tags[-3:]):
            self.rows[-1][1][-1] += text

    def table_rows(self, section):
        """The table rows of a section, each a list of texts."""
        return [[cell.strip() for cell in row] for name, row in self.rows if name == section]


def read_page(folder):
    return Page((folder / "metrics/report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reported(trained, tmp_path_factory):
    """A copy of the small project with its report. Read only."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("reported") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["report.py"])
        report.main()
    return folder


@pytest.fixture
def few_strips(monkeypatch):
    """One strip of a kind, to save time in tests of something else."""
    monkeypatch.setattr(clip_strips, "NUM_MISTAKES", 1)
    monkeypatch.setattr(clip_strips, "NUM_CORRECT", 1)


def test_every_section_is_there_and_every_tag_is_closed(reported):
    page = read_page(reported)
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == SECTIONS
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links == {f"#{section}" for section in SECTIONS[1:]}
    assert all(page.text[section].strip() for section in SECTIONS)
    for tag, attributes in page.tags:
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]


def test_the_page_loads_nothing_from_elsewhere_and_is_small(reported):
    html, page = (reported / "metrics/report.html").read_text(encoding="utf-8"), read_page(reported)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(attributes.get(name, "data:").startswith(("data:", "#")) for name in ("src", "href"))
    assert not any(text in html for text in ("http:", "https:", "url(", "@import", 'src="/', str(reported)))
    assert len(html.encode()) < 2e6


def test_the_scores_are_those_of_the_tables(reported):
    page, test_json = read_page(reported), json.loads((reported / "metrics/test.json").read_text())
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "td" and attributes.get("title")]
    rows, titles = iter(page.table_rows("confusion")), " ".join(titles)
    for approach in ("first5", "all10"):
        assert f"{test_json[approach]['accuracy']:.3f}" in page.text["headline"]
        predictions = pd.read_csv(reported / f"metrics/tables/predictions-{approach}.csv")
        class_names = sorted(set(predictions["action"]))
        assert next(rows)[1:] == class_names
        for action in class_names:
            predicted = predictions["predicted"][predictions["action"] == action]
            counts = {name: int((predicted == name).sum()) for name in class_names}
            cells = [str(count) if count or name == action else "" for name, count in counts.items()]
            assert next(rows) == [action, *cells]
            for name, count in counts.items():
                result = "correctly" if name == action else f"as {name}"
                assert not count or f"{count} of {len(predicted)} clips of {action} predicted {result}" in titles
    recall = pd.read_csv(reported / "metrics/tables/recall.csv")
    assert all(f"{value:.3f}" in page.text["recall"] for value in [*recall["first5"], *recall["all10"]])
    by_frames = pd.read_csv(reported / "metrics/tables/accuracy_by_frames.csv")
    cells = [row[3].split()[0] for row in page.table_rows("early") if row[0].isdigit()]
    assert cells == [f"{value:.3f}" for value in by_frames["all10"]]
    split = pd.read_csv(reported / "data/split.csv")
    counts = [str((split["split"] == name).sum()) for name in SPLITS]
    cells = ["all actions", str(len(split)), str(split["group"].nunique()), *counts]
    assert page.table_rows("health")[1][:6] == cells
    for line in (reported / "metrics/summary.txt").read_text().splitlines():
        assert line.strip().removeprefix("WARNING: ") in page.text["headline"] or line == "no warning"


def test_strips_show_the_examples_with_their_final_probability(reported):
    page = read_page(reported)
    for approach, num_frames in (("first5", 5), ("all10", 10)):
        predictions = pd.read_csv(reported / f"metrics/tables/predictions-{approach}.csv")
        is_correct = predictions["action"] == predictions["predicted"]
        mistakes, correct = pick_examples(predictions, NUM_MISTAKES, NUM_CORRECT)
        assert len(mistakes) == min(NUM_MISTAKES, (~is_correct).sum())
        assert len(correct) == min(NUM_CORRECT, is_correct.sum())
        for _, row in pd.concat([mistakes, correct]).iterrows():
            confidence = row[f"p({row['predicted']})"]
            assert row["clip"] in page.text["clips"] and f"with probability {confidence:.3f}" in page.text["clips"]
            text = f"{100 * confidence:.0f} % {row['predicted']} {num_frames}, at"
            assert text in " ".join(page.text["clips"].split())
    bars = [attributes["aria-label"] for tag, attributes in page.tags if attributes.get("class") == "probability"]
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(bars) == len(images) > 15 and len(set(images)) > 15


def test_the_most_confident_mistakes_come_first_and_there_may_be_none():
    predictions = pd.DataFrame({"clip": list("abcd"), "action": list("xxyy"), "predicted": list("xyyx"),
                                "p(x)": [0.9, 0.2, 0.3, 0.9], "p(y)": [0.1, 0.8, 0.7, 0.1]})  # fmt: skip
    mistakes, correct = pick_examples(predictions, 2, 1)
    assert mistakes["clip"].tolist() == ["d", "b"] and correct["clip"].tolist() == ["c"]
    assert pick_examples(predictions[::2], 2, 2)[0].empty and pick_examples(predictions[1::2], 2, 2)[1].empty


def test_a_report_made_in_another_folder_has_the_same_bytes(reported, copied, stage):
    stage(copied, "report")
    assert (copied / "metrics/report.html").read_bytes() == (reported / "metrics/report.html").read_bytes()


def edit_table(path, change):
    """Rewrite a table after change(table), which changes it in place."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(path, index=False)


def edit_config(folder, approach, **changes):
    """Rewrite a model file with changes to its configuration; `head`: another state dict of the head."""
    path = folder / f"models/{approach}/model.pt"
    model = load_model(path)
    head = changes.pop("head_weights", model.head)
    save_model(path, replace(model, config=replace(model.config, **changes), head=head))


def test_markup_in_names_other_alphabets_rejected_files_leaks_and_no_threshold(copied, stage, few_strips):
    new_names = {"wave": "<script>alert(1)</script> & \"größe\" '日本' | {{ 7 * 7 }}", "lift": "l" * 120}

    def rename(table):
        table.columns = [f"p({new_names.get(name[2:-1], name[2:-1])})" if name[:2] == "p(" else name for name in table]
        for column in {"action", "predicted"} & set(table.columns):
            table[column] = table[column].replace(new_names)

    def remove_threshold(table):
        table.loc[table["measure"] == "threshold", "value"] = "inf"
        table.loc[table["measure"] == "selective_accuracy", "measure"] = "missing"

    def correct_all(table):
        table["predicted"] = table["action"]

    tables = copied / "metrics/tables"
    for path in ("data/split.csv", "data/clips.csv", tables / "recall.csv", tables / "predictions-first5.csv"):
        edit_table(copied / path, rename)
    edit_table(tables / "predictions-all10.csv", lambda table: (rename(table), correct_all(table)))
    edit_table(tables / "scores.csv", remove_threshold)
    for approach in ("first5", "all10"):
        class_names = load_model(copied / f"models/{approach}/model.pt").config.class_names
        edit_config(copied, approach, class_names=[new_names.get(name, name) for name in class_names])
    rejected = [f"<img src=x onerror=alert({number})>.avi" for number in range(30)]
    pd.DataFrame({"clip": rejected, "reason": "not a video"}).to_csv(copied / "data/rejected.csv", index=False)
    first, second = pd.read_csv(copied / "data/split.csv")["clip"][:2]
    leak = {"clip": first, "other": second, "reason": "near duplicate", "splits": "train/test", "handling": "reported"}
    pd.DataFrame([leak]).to_csv(copied / "data/leaks.csv", index=False)
    edit_table(copied / "data/split.csv", lambda table: table.isetitem(4, ["yes", *[""] * (len(table) - 1)]))
    stage(copied, "report")
    page = read_page(copied)
    assert not {"script", "form"} & {tag for tag, _ in page.tags}
    assert all(new_names["wave"] in page.text[section] for section in ("confusion", "recall", "health"))
    assert "Rejected files: 30" in page.text["health"] and "5 more" in page.text["health"]
    assert rejected[0] in page.text["health"] and "1 pairs of clips, 1 leaked test clips" in page.text["health"]
    assert [*leak.values()] in page.table_rows("health")
    assert 'every clip is "unknown"' in page.text["sides"] and "no clip was answered" in page.text["sides"]
    assert "all10 makes no mistake on these test clips" in page.text["clips"]
    assert "\\| {{ 7 * 7 }}" in page.text["card"]


def test_approaches_that_read_the_same_frames_are_shown_once(copied, stage, few_strips):
    shutil.copy(copied / "models/all10/model.pt", copied / "models/first5/model.pt")
    stage(copied, "report")
    page = read_page(copied)
    assert "both approaches read the same 10 frames" in page.text["headline"]
    classes = {name for _, attributes in page.tags for name in (attributes.get("class") or "").split()}
    assert "all10" in classes and "first5" not in classes


def test_many_actions_and_more_frames_than_a_strip_shows(copied, stage, few_strips):
    class_names = [f"action {number:02d}" for number in range(51)]
    rng, tables = np.random.default_rng(0), copied / "metrics/tables"
    for approach in ("first5", "all10"):
        head = load_model(copied / f"models/{approach}/model.pt").head
        head = {key: value[[0] * 51] if key.startswith("classifier.") else value for key, value in head.items()}
        frames = {"frames": 20, "num_frames": 16} if approach == "all10" else {}
        edit_config(copied, approach, class_names=class_names, head_weights=head, **frames)
        path = tables / f"predictions-{approach}.csv"
        table = pd.read_csv(path)[["clip", "group"]]
        table["action"], table["predicted"] = rng.choice(class_names, (2, len(table)))
        probs = rng.dirichlet(np.ones(51), len(table))
        probs = pd.DataFrame(probs, columns=[f"p({name})" for name in class_names])
        pd.concat([table, probs], axis=1).to_csv(path, index=False)
    row = {"clips": 3, **{f"{name}{suffix}": 0.5 for name in ("first5", "all10") for suffix in ("", "_low", "_high")}}
    pd.DataFrame([{"action": name, **row} for name in class_names]).to_csv(tables / "recall.csv", index=False)
    stage(copied, "report")
    page = read_page(copied)
    assert len([row for row in page.table_rows("confusion") if row[0] == "action 07"]) == 2
    assert f"{MAX_FRAMES} of them shown" in page.text["clips"]
    assert len((copied / "metrics/report.html").read_bytes()) < 2e6


@pytest.mark.parametrize(
    ("table", "column"),
    [("scores", "value"), ("accuracy_by_frames", "all10_high"), ("baselines", "low"),
     ("calibration-all10", "accuracy"), ("coverage-first5", "confidence"), ("predictions-first5", "p(wave)")],
)  # fmt: skip
def test_a_table_with_text_in_place_of_a_number_is_refused_in_one_line(copied, stage, table, column):
    path = f"metrics/tables/{table}.csv"
    edit_table(copied / path, lambda rows: rows.isetitem(rows.columns.get_loc(column), "much"))
    with pytest.raises(SystemExit) as stop:
        stage(copied, "report")
    assert str(stop.value).startswith(f"{path}: column {column} holds something that is not a number")
    assert len(str(stop.value).splitlines()) == 1 and not (copied / "metrics/report.html").exists()


def test_make_repro_ends_with_the_path_of_the_report():
    target = (ROOT / "Makefile").read_text().partition("\nrepro:")[2].partition("\n\n")[0]
    assert target.splitlines()[-1].rstrip('"').endswith("/metrics/report.html")


def test_a_chart_of_one_point_and_with_markup_in_its_texts_is_valid():
    svg = chart([Line("a", [(1, 0.5, "<b>")], [(1, 0.2, 0.8)])], Axis("x & y", [(1, "1")], 1, 1), "y", "description")
    assert "&lt;b&gt;" in svg and "x &amp; y" in svg and "nan" not in svg and "band" not in svg
    assert chart([], Axis("x"), "y", "description").count("<text") == 14
