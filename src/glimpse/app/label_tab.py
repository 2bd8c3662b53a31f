"""The tab of the web page that mends labels: doubtful clips to play, corrections to accept, and data/labels.csv.

Reads metrics/doubts.csv, metrics/predictions-all10.csv, data/clips.csv. Writes data/labels.csv when asked to.
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

LABELS, DOUBTS, ANSWERS = "data/labels.csv", "metrics/doubts.csv", "metrics/predictions-all10.csv"
LISTS = ("Doubtful labels", "Least sure")
ROWS = 6  # clips on a page of a list
NO_LABEL_ISSUES = (
    "`make doubts` makes this list, in a few minutes: it asks models that have not seen a clip what it shows."
)


def show_errors(function: Callable) -> Callable:
    """The function, with what would end the program told in the page: it would end the page for everybody."""

    @wraps(function)
    def run(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except (SystemExit, ValueError) as reason:
            raise gr.Error(str(reason), print_exception=False) from None

    return run


def suspect_clips(which: str) -> pd.DataFrame:
    """A list, worst first: columns clip, action (its label), suggested, chance (of the label) and sure (of the other).

    Doubtful labels: what models that have not seen a clip call something else, `mislabelled` ("yes") if they do so
    clearly. Least sure: test clips, by the confidence of all10's answer. A file that is missing ends the program.
    """
    if which == LISTS[0]:
        table = read_table(DOUBTS, ["clip", "action", "suggested", "p_action", "p_suggested", "margin", "mislabelled"])
        table = table[table["margin"].astype(float) < 0]
        table = table.rename(columns={"p_action": "chance", "p_suggested": "sure"})
        return table[["clip", "action", "suggested", "chance", "sure", "mislabelled"]]
    table = read_table(ANSWERS, ["clip", "action", "predicted"])
    table["sure"] = [row[f"p({row['predicted']})"] for _, row in table.iterrows()]
    table["chance"] = [row.get(f"p({row['action']})", "0") for _, row in table.iterrows()]
    table = table.rename(columns={"predicted": "suggested"})[["clip", "action", "suggested", "chance", "sure"]]
    return table.sort_values("sure", key=lambda column: column.astype(float), kind="stable").head(10 * ROWS)


def shown(row: pd.Series, number: int) -> str:
    """A doubtful clip to play, and what is said of it."""
    agrees = row["suggested"] == row["action"]
    other = "the models agree" if agrees else f"the models say <b>{escape(row['suggested'])}</b>"
    other += f" {float(row['sure']):.0%}" + ("" if agrees else f"; its label gets {float(row['chance']):.0%}")
    other += ": probably mislabelled" if row.get("mislabelled") == "yes" else ""
    return (
        f'<div class="glimpse"><div class="clip"><video src="/clip/{number}.webm" poster="/clip/{number}.jpg" controls '
        f'muted loop preload="none"></video><div><b>{escape(row["clip"])}</b><p>labelled <b>{escape(row["action"])}</b>'
        f"</p><p>{other}</p></div></div></div>"
    )


def in_words(pending: dict[str, str]) -> str:
    """What would be written."""
    if not pending:
        return "Nothing to write yet: accept a suggestion, or choose an action."
    return "To write: " + ", ".join(f"`{clip}` is **{action}**" for clip, action in pending.items())


def tab(folders: dict[str, str], number_of: dict[str, int]) -> None:
    """Lays out the tab. folders: {clip: action of its folder}; number_of: {clip: its row in data/clips.csv}."""
    actions = sorted(set(folders.values()))
    gr.Markdown(
        "Clips whose label is doubtful. What you accept goes into `data/labels.csv`; your clips stay where they are, "
        "and none is decoded again."
    )
    which = gr.Radio(LISTS, value=LISTS[0] if Path(DOUBTS).exists() else LISTS[1], label="Clips", elem_id="which")
    pending, page, written = gr.State({}), gr.State(0), gr.State(0)

    @gr.render(inputs=[which, page, written])
    @show_errors
    def rows(which: str, page: int, _: int) -> None:
        if which == LISTS[0] and not Path(DOUBTS).exists():
            gr.Markdown(NO_LABEL_ISSUES)
            return
        table, held = suspect_clips(which), read_corrections(LABELS)
        table = table[table["clip"].isin(list(folders))].iloc[page * ROWS : (page + 1) * ROWS]
        if not len(table):
            gr.Markdown("No more clips." if page else "None: the models agree with every label.")
        for _, row in table.iterrows():
            clip, suggested = row["clip"], row["suggested"]
            now = held.get(clip, folders[clip])
            choices = sorted({*actions, *held.values(), suggested})
            with gr.Row(equal_height=False, elem_classes="doubt"):
                with gr.Column(scale=3, min_width=300):
                    gr.HTML(shown(row, number_of[clip]))
                with gr.Column(scale=1, min_width=180):
                    action = gr.Dropdown(choices, value=now, label="Label")
                    accept = gr.Button(f"It is {suggested}", size="sm", interactive=suggested != now)
            choose = partial(choice, clip=clip, folder=folders[clip])
            action.change(choose, [pending, action], [pending, said], api_visibility="private", show_progress="hidden")
            accept.click(partial(str, suggested), None, action, api_visibility="private", show_progress="hidden")

    @show_errors
    def choice(pending: dict[str, str], action: str, clip: str, folder: str) -> tuple[dict[str, str], str]:
        chosen = {other: of for other, of in pending.items() if other != clip}
        if action != read_corrections(LABELS).get(clip, folder):
            chosen[clip] = action
        return chosen, in_words(chosen)

    with gr.Row():
        back = gr.Button("Earlier", size="sm", min_width=80, scale=0)
        on = gr.Button("More", size="sm", min_width=80, scale=0)
    said = gr.Markdown(in_words({}), elem_id="pending")
    write = gr.Button("Write to data/labels.csv", variant="primary", elem_id="write", scale=0)
    gr.Markdown("### Corrections in data/labels.csv")

    @gr.render(inputs=[written])
    @show_errors
    def config(_: int) -> None:
        held = read_corrections(LABELS)
        if not held:
            gr.Markdown("None.")
        for clip, action in list(held.items())[:200]:
            with gr.Row(elem_classes="kept"):
                words = f"{escape(clip)} is <b>{escape(action)}</b>"
                gr.HTML(f'<div class="glimpse">{words}</div>', min_width=240)
                undo = gr.Button("Undo", size="sm", min_width=80, scale=0, interactive=clip in folders)
            undo.click(
                partial(take_back, clip=clip), [written, pending], [pending, written, said], api_visibility="private"
            )

    def take_back(written: int, pending: dict[str, str], clip: str) -> tuple[dict[str, str], int, str]:
        _, written, words = mend(written, {clip: folders[clip]})
        return {other: action for other, action in pending.items() if other != clip}, written, words

    @show_errors
    def mend(written: int, pending: dict[str, str]) -> tuple[dict[str, str], int, str]:
        held = write_correction(LABELS, pending, folders)
        return {}, written + 1, f"{len(held)} corrections in data/labels.csv: run `dvc repro` to train with them."

    def all_pending(written: int, pending: dict[str, str]) -> tuple[dict[str, str], int, str]:
        return mend(written, pending) if pending else ({}, written, in_words({}))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    back.click(lambda page: max(0, page - 1), page, page, **quiet)
    on.click(lambda page: page + 1, page, page, **quiet)
    which.change(lambda: 0, None, page, **quiet)
    write.click(all_pending, [written, pending], [pending, written, said], **quiet)
