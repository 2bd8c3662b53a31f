"""The report: it holds what the tables say, needs nothing else, and comes out right for odd data."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import report
from glimpse.model import network as model
from glimpse.report.charts import Axis, Line, chart, shares
from glimpse.report.clip_strips import MOST, pick_examples

SECTIONS = ["headline", "sides", "early", "confusion", "recall", "calibration", "clips", "health", "settings", "card"]
EMPTY = {"meta", "img", "hr", "br", "path", "circle"}


class Page(HTMLParser):
    """A page taken apart: its tags and attributes, the text of each section, and whether all tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.rows, self.open, self.section = [], {}, [], [], ""
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag == "tr":
            self.rows.append((self.section, []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, text):
        self.text[self.section] = self.text.get(self.section, "") + text
        if self.open[-3:] and {"td", "th"} & set(self.open[-3:]):
            self.rows[-1][1][-1] += text

    def rows_of(self, section):
        """The table rows of a section, each a list of words."""
        return [[cell.strip() for cell in row] for where, row in self.rows if where == section]


def page_of(folder):
    return Page((folder / "metrics/report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reported(trained, tmp_path_factory):
    """A copy of the small project with its report. Read only."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("reported") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report.main()
    return folder


@pytest.fixture
def few(monkeypatch):
    """One strip of a kind: what is asked is not in the strips."""
    monkeypatch.setattr(report, "MISTAKES", 1)
    monkeypatch.setattr(report, "HITS", 1)


def test_every_section_is_there_and_every_tag_is_closed(reported):
    page = page_of(reported)
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == SECTIONS
    linked = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert linked == {f"#{section}" for section in SECTIONS[1:]}
    assert all(page.text[section].strip() for section in SECTIONS)
    for tag, attributes in page.tags:
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]


def test_the_page_asks_for_nothing_from_elsewhere_and_is_small(reported):
    html, page = (reported / "metrics/report.html").read_text(encoding="utf-8"), page_of(reported)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(attributes.get(name, "data:").startswith(("data:", "#")) for name in ("src", "href"))
    assert not any(word in html for word in ("http:", "https:", "url(", "@import", 'src="/', str(reported)))
    assert len(html.encode()) < 2e6


def test_the_figures_are_those_of_the_tables(reported):
    page, metrics = page_of(reported), json.loads((reported / "metrics/test.json").read_text())
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "td" and attributes.get("title")]
    shown, hover = iter(page.rows_of("confusion")), " ".join(titles)
    for approach in ("first5", "all10"):
        assert f"{metrics[approach]['accuracy']:.3f}" in page.text["headline"]
        answers = pd.read_csv(reported / f"metrics/predictions-{approach}.csv")
        actions = sorted(set(answers["action"]))
        assert next(shown)[1:] == actions
        for action in actions:
            given = answers["predicted"][answers["action"] == action]
            counts = [int((given == other).sum()) for other in actions]
            assert next(shown) == [
                action,
                *(str(n) if n or other == action else "" for n, other in zip(counts, actions)),
            ]
            for other, n in zip(actions, counts):
                said = "found" if other == action else f"taken for {other}"
                assert not n or f"{n} of {len(given)} clips of {action} {said}" in hover
    recall = pd.read_csv(reported / "metrics/recall.csv")
    assert all(f"{value:.3f}" in page.text["recall"] for value in [*recall["first5"], *recall["all10"]])
    early = [row[3].split()[0] for row in page.rows_of("early") if row[0].isdigit()]
    assert early == [f"{value:.3f}" for value in pd.read_csv(reported / "metrics/early.csv")["all10"]]
    held = pd.read_csv(reported / "data/split.csv")
    parts = [str((held["part"] == part).sum()) for part in ("train", "val", "test")]
    assert page.rows_of("health")[1][:6] == ["all actions", str(len(held)), str(held["group"].nunique()), *parts]
    for line in (reported / "metrics/summary.txt").read_text().splitlines():
        assert line.strip().removeprefix("ALARM: ") in page.text["headline"] or line == "no alarm"


def test_strips_show_the_surest_mistakes_and_the_least_sure_hits_with_their_last_belief(reported):
    page = page_of(reported)
    for approach, use in (("first5", 5), ("all10", 10)):
        answers = pd.read_csv(reported / f"metrics/predictions-{approach}.csv")
        for rows, number in zip(pick_examples(answers, report.MISTAKES, report.HITS), (report.MISTAKES, report.HITS)):
            right = answers["action"] == answers["predicted"]
            assert len(rows) == min(number, int((right if number == report.HITS else ~right).sum()))
            for _, row in rows.iterrows():
                sure = row[f"p({row['predicted']})"]
                assert row["clip"] in page.text["clips"] and f"with probability {sure:.3f}" in page.text["clips"]
                assert f"{100 * sure:.0f} % {row['predicted']} {use}, at" in " ".join(page.text["clips"].split())
    beliefs = [attributes["aria-label"] for tag, attributes in page.tags if attributes.get("class") == "belief"]
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(beliefs) == len(pictures) > 15 and len(set(pictures)) > 15


def test_mistakes_come_surest_first_and_there_may_be_none():
    answers = pd.DataFrame({"clip": list("abcd"), "action": list("xxyy"), "predicted": list("xyyx"),
                            "p(x)": [0.9, 0.2, 0.3, 0.9], "p(y)": [0.1, 0.8, 0.7, 0.1]})  # fmt: skip
    worst, least = pick_examples(answers, 2, 1)
    assert worst["clip"].tolist() == ["d", "b"] and least["clip"].tolist() == ["c"]
    assert pick_examples(answers[::2], 2, 2)[0].empty and pick_examples(answers[1::2], 2, 2)[1].empty


def test_the_report_made_again_elsewhere_has_the_same_bytes(reported, copied, stage):
    stage(copied, "report")
    assert (copied / "metrics/report.html").read_bytes() == (reported / "metrics/report.html").read_bytes()


def rewritten(path, change):
    """A table rewritten: change(table) in place."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(path, index=False)


def with_model(folder, approach, **values):
    """A model's file with other values."""
    path = folder / f"models/{approach}/model.pt"
    kept = {key: value for key, value in model.load(path).items() if key != "format"}
    model.save(path, kept | values)


def test_names_with_markup_other_alphabets_rejects_leaks_and_no_threshold(copied, stage, few):
    odd = {"wave": "<script>alert(1)</script> & \"größe\" '日本' | {{ 7 * 7 }}", "lift": "l" * 120}

    def renamed(table):
        table.columns = [f"p({odd.get(name[2:-1], name[2:-1])})" if name[:2] == "p(" else name for name in table]
        for column in {"action", "predicted"} & set(table.columns):
            table[column] = table[column].replace(odd)

    def unsure(table):
        table.loc[table["measure"] == "threshold", "value"] = "inf"
        table.loc[table["measure"] == "answered_accuracy", "measure"] = "not there"

    def spotless(table):
        table["predicted"] = table["action"]

    for path in ("data/split.csv", "data/clips.csv", "metrics/recall.csv", "metrics/predictions-first5.csv"):
        rewritten(copied / path, renamed)
    rewritten(copied / "metrics/predictions-all10.csv", lambda table: (renamed(table), spotless(table)))
    rewritten(copied / "metrics/scores.csv", unsure)
    for approach in ("first5", "all10"):
        actions = model.load(copied / f"models/{approach}/model.pt")["actions"]
        with_model(copied, approach, actions=[odd.get(action, action) for action in actions])
    bad = [f"<img src=x onerror=alert({n})>.avi" for n in range(30)]
    pd.DataFrame({"clip": bad, "reason": "not a video"}).to_csv(copied / "data/rejected.csv", index=False)
    first, second = pd.read_csv(copied / "data/split.csv")["clip"][:2]
    leak = {"clip": first, "like": second, "why": "looks alike", "parts": "train/test", "done": "reported"}
    pd.DataFrame([leak]).to_csv(copied / "data/leaks.csv", index=False)
    stage(copied, "report")
    page = page_of(copied)
    assert not {"script", "form"} & {tag for tag, _ in page.tags}
    assert all(odd["wave"] in page.text[section] for section in ("confusion", "recall", "health"))
    assert "Rejected files: 30" in page.text["health"] and "5 more" in page.text["health"]
    assert bad[0] in page.text["health"] and "1 pairs, 1 test clips exposed" in page.text["health"]
    assert 'every clip is "unknown"' in page.text["sides"] and "none was answered" in page.text["sides"]
    assert "all10 makes no mistake on these test clips" in page.text["clips"]
    assert "\\| {{ 7 * 7 }}" in page.text["card"]


def test_approaches_that_read_the_same_are_shown_once(copied, stage, few):
    shutil.copy(copied / "models/all10/model.pt", copied / "models/first5/model.pt")
    stage(copied, "report")
    page = page_of(copied)
    assert "both approaches read the same 10 frames" in page.text["headline"]
    shown = {part for _, attributes in page.tags for part in (attributes.get("class") or "").split()}
    assert "all10" in shown and "first5" not in shown


def test_many_actions_and_more_frames_than_a_strip_shows(copied, stage, few):
    actions = [f"action {number:02d}" for number in range(51)]
    rng = np.random.default_rng(0)
    for approach in ("first5", "all10"):
        kept = model.load(copied / f"models/{approach}/model.pt")
        state = {key: value[[0] * 51] if key.startswith("answer.") else value for key, value in kept["state"].items()}
        many = {"frames": 20, "use": 16} if approach == "all10" else {}
        with_model(copied, approach, actions=actions, state=state, **many)
        path = copied / f"metrics/predictions-{approach}.csv"
        table = pd.read_csv(path)[["clip", "group"]]
        table["action"], table["predicted"] = rng.choice(actions, (2, len(table)))
        chances = pd.DataFrame(rng.dirichlet(np.ones(51), len(table)), columns=[f"p({name})" for name in actions])
        pd.concat([table, chances], axis=1).to_csv(path, index=False)
    row = {"clips": 3, **{f"{name}{end}": 0.5 for name in ("first5", "all10") for end in ("", "_low", "_high")}}
    pd.DataFrame([{"action": name, **row} for name in actions]).to_csv(copied / "metrics/recall.csv", index=False)
    stage(copied, "report")
    page = page_of(copied)
    assert len([row for row in page.rows_of("confusion") if row[0] == "action 07"]) == 2
    assert f"{MOST} of them here" in page.text["clips"]
    assert len((copied / "metrics/report.html").read_bytes()) < 2e6


@pytest.mark.parametrize("table", ["scores", "early", "controls", "calibration-all10", "predictions-first5"])
def test_a_table_with_words_for_figures_is_refused_in_one_line(copied, stage, table):
    path = f"metrics/{table}.csv"
    rewritten(copied / path, lambda rows: rows.isetitem(-1 if "pred" in table else rows.columns.get_loc(
        {"scores": "value", "controls": "low"}.get(table, rows.columns[-1])), "much"))  # fmt: skip
    with pytest.raises(SystemExit, match=f"{path}: its column .* has something else than figures") as stop:
        stage(copied, "report")
    assert len(str(stop.value).splitlines()) == 1 and not (copied / "metrics/report.html").exists()


def test_make_repro_ends_with_the_reports_path():
    target = (ROOT / "Makefile").read_text().partition("\nrepro:")[2].partition("\n\n")[0]
    assert target.splitlines()[-1].rstrip('"').endswith("/metrics/report.html")


def test_a_chart_of_one_point_and_an_odd_name_is_sound():
    drawn = chart([Line("a", [(1, 0.5, "<b>")], [(1, 0.2, 0.8)])], Axis("x & y", [(1, "1")], 1, 1), "y", "told")
    assert "&lt;b&gt;" in drawn and "x &amp; y" in drawn and "nan" not in drawn and "band" not in drawn
    assert chart([], Axis("x", shares()), "y", "told").count("<text") == 14
