"""The tab that reviews labels: clips to play, suggestions to accept, and the corrections in data/labels.csv.

Reads metrics/label_issues.csv, metrics/tables/predictions-all10.csv and data/labels.csv, which it also writes.
Clips are <video> elements: gr.Video would have all clips of a page decoded before it shows the first.
"""

from collections.abc import Callable
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from glimpse.core.files import read_table
from glimpse.split.labels import read_corrections, write_correction

LABELS, LABEL_ISSUES = "data/labels.csv", "metrics/label_issues.csv"
LISTS = ISSUES, LEAST_CONFIDENT = "Label issues", "Least confident test clips"
PAGE_SIZE, MAX_CORRECTIONS = 6, 200  # number of clips on a page, and of corrections listed
HOW_TO_LIST = "`make label-issues` makes this list in a few minutes, with models that were not trained on the clip."


def show_errors(function: Callable) -> Callable:
    """Decorator: errors that would end the program for everybody are shown in the page."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (SystemExit, ValueError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    return run


def clips_to_review(which: str) -> pd.DataFrame:
    """One of LISTS, the most suspect first: clip, given_label, predicted_label, p_given, p_predicted, is_label_issue.

    Label issues: clips for which models that were not trained on them predict another label. Least confident: test
    clips, by all10's confidence. Exits with one line if a file is missing.
    """
    columns = ["clip", "given_label", "predicted_label", "p_given", "p_predicted", "is_label_issue"]
    if which == ISSUES:
        table = read_table(LABEL_ISSUES, columns)
        return table[table["given_label"] != table["predicted_label"]]
    table = read_table("metrics/tables/predictions-all10.csv", ["clip", "action", "predicted"])
    table["p_predicted"], table["is_label_issue"] = table.filter(regex=r"^p\(").astype(float).max(axis=1), ""
    table["p_given"] = [row.get(f"p({row['action']})", "0") for _, row in table.iterrows()]
    table = table.rename(columns={"action": "given_label", "predicted": "predicted_label"})[columns]
    return table.sort_values("p_predicted", kind="stable").head(10 * PAGE_SIZE)


def clip_html(row: pd.Series, number: int) -> str:
    """A clip to play, its label and the prediction. row: of `clips_to_review`; number: row in data/clips.csv."""
    clip, label, predicted = map(escape, row[["clip", "given_label", "predicted_label"]])
    other = f", the label gets {float(row['p_given']):.0%}" if predicted != label else ""
    other += ": probably a wrong label" if row["is_label_issue"] == "yes" else ""
    return (
        f'<div class="glimpse clip"><video src="/clip/{number}.webm" poster="/clip/{number}.jpg" controls muted loop '
        f'preload="none"></video><div><b>{clip}</b><p>labelled <b>{label}</b></p>'
        f"<p>predicted <b>{predicted}</b> {float(row['p_predicted']):.0%}{other}</p></div></div>"
    )


def pending_html(pending: dict[str, str]) -> str:
    """The corrections {clip: action} that are not written yet."""
    changes = [f"{escape(clip)} is <b>{escape(action)}</b>" for clip, action in pending.items()]
    text = f"To write: {', '.join(changes)}" if changes else "Nothing to write: accept a suggestion or choose a label."
    return f'<div class="glimpse">{text}</div>'


def build(folders: dict[str, str]) -> None:
    """Lay out the tab. folders: {clip: action of its folder}, in the order of data/clips.csv."""
    actions, numbers = sorted(set(folders.values())), {clip: number for number, clip in enumerate(folders)}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.Markdown("Clips whose label may be wrong. What you accept is written to `data/labels.csv`; your clips stay "
                "where they are, and none is decoded again.")  # fmt: skip
    which = gr.Radio(LISTS, value=ISSUES if Path(LABEL_ISSUES).exists() else LEAST_CONFIDENT, label="Clips")
    pending, page, version = gr.State({}), gr.State(0), gr.State(0)  # version: counts the writes

    @gr.render(inputs=[which, page, version])
    @show_errors
    def list_clips(which: str, page: int, _: int) -> None:
        if which == ISSUES and not Path(LABEL_ISSUES).exists():
            gr.Markdown(HOW_TO_LIST)
            return
        table, corrections = clips_to_review(which), read_corrections(LABELS)
        table = table[table["clip"].isin(list(folders))].iloc[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
        if not len(table):
            gr.Markdown("No more clips." if page else "None: the models agree with every label.")
        for _, row in table.iterrows():
            clip, suggestion = row["clip"], row["predicted_label"]
            current = corrections.get(clip, folders[clip])
            choices = sorted({*actions, *corrections.values(), suggestion})
            with gr.Row(equal_height=False, elem_classes="review"):
                with gr.Column(scale=3, min_width=300):
                    gr.HTML(clip_html(row, numbers[clip]))
                with gr.Column(scale=1, min_width=180):
                    action = gr.Dropdown(choices, value=current, label="Label")
                    accept = gr.Button(f"Accept {suggestion}", size="sm", interactive=suggestion != current)
            action.change(partial(choose, clip=clip), [pending, action], [pending, status], **quiet)
            accept.click(partial(str, suggestion), None, action, **quiet)

    @show_errors
    def choose(pending: dict[str, str], action: str, clip: str) -> tuple[dict[str, str], str]:
        changed = {**pending, clip: action}
        if action == read_corrections(LABELS).get(clip, folders[clip]):
            del changed[clip]
        return changed, pending_html(changed)

    with gr.Row():
        previous, following = (gr.Button(name, size="sm", min_width=80, scale=0) for name in ("Previous", "Next"))
    status = gr.HTML(pending_html({}), elem_id="pending")
    write_button = gr.Button("Write to data/labels.csv", variant="primary", elem_id="write", scale=0)
    gr.Markdown("### Corrections in data/labels.csv")

    @gr.render(inputs=[version])
    @show_errors
    def list_corrections(_: int) -> None:
        corrections = read_corrections(LABELS)
        if not corrections:
            gr.Markdown("None.")
        for clip, action in list(corrections.items())[:MAX_CORRECTIONS]:
            with gr.Row(elem_classes="correction"):
                gr.HTML(f'<div class="glimpse">{escape(clip)} is <b>{escape(action)}</b></div>', min_width=240)
                button = gr.Button("Undo", size="sm", min_width=80, scale=0, interactive=clip in folders)
            button.click(partial(undo, clip=clip), [version, pending], [pending, version, status], **quiet)

    @show_errors
    def write(version: int, changes: dict[str, str]) -> tuple[dict[str, str], int, str]:
        if not changes:
            return {}, version, pending_html({})
        corrections = write_correction(LABELS, changes, folders)
        text = f"{len(corrections)} corrections in data/labels.csv: run <code>dvc repro</code> to train with them."
        return {}, version + 1, f'<div class="glimpse">{text}</div>'

    def undo(version: int, pending: dict[str, str], clip: str) -> tuple[dict[str, str], int, str]:
        _, version, text = write(version, {clip: folders[clip]})
        return {other: action for other, action in pending.items() if other != clip}, version, text

    previous.click(lambda page: max(0, page - 1), page, page, **quiet)
    following.click(lambda page: page + 1, page, page, **quiet)
    which.change(lambda: 0, None, page, **quiet)
    write_button.click(write, [version, pending], [pending, version, status], **quiet)
