"""An answer as a piece of a web page: what both approaches say of a clip, the frames they saw, and their beliefs.

Whatever comes from outside, names of files and of actions, is escaped. Colours and measures stand in app.css.
"""

import base64
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from glimpse.app.upload import ModelPrediction, UploadedClip
from glimpse.predict.load import LONG

SHOWN = 6  # actions that get a bar, a line and a colour of their own
WIDE, TALL, LEFT, BELOW = 500, 170, 46, 36  # of the chart of beliefs, and its margins


def sentence(text: str) -> str:
    """One sentence in place of an answer."""
    return f'<div class="glimpse"><p class="sorry">{escape(text)}</p></div>'


def page_of(
    name: str, label: str, tried: UploadedClip, answers: Sequence[ModelPrediction], error: float, usual: float
) -> str:
    """All that is to be said of a clip. label: what the data set says it shows, "" if it is not of it. usual: seconds
    that the clips last which the models were trained on, 0 if unknown."""
    facts = f"{tried.frames} frames, {tried.seconds:.1f} s, {tried.width} x {tried.height} pixels"
    known = f'<p>labelled <b class="label">{escape(label)}</b> in the data set</p>' if label else ""
    if tried.seconds > LONG * usual > 0:
        known += (
            f'<p class="sorry">Much longer than the clips the models know ({usual:.1f} s): one answer says little. '
        )
        known += "For what happens when: <code>glimpse predict video FILE</code></p>"
    player = f'<video src="{as_url(tried.played, "video/webm")}" controls muted loop></video>' if tried.played else ""
    top = f'<div class="top">{player}<div><h3>{escape(name)}</h3><p class="dim">{facts}</p>{known}</div></div>'
    shown = likeliest(answers)
    both = "".join(card(answer, shown, error) for answer in answers)
    return f'<div class="glimpse">{top}<div class="both">{both}</div></div>'


def likeliest(answers: Sequence[ModelPrediction]) -> list[str]:
    """The actions worth showing, in their order: the likeliest of any approach."""
    best: dict[str, float] = {}
    for answer in answers:
        for action, chance in zip(answer.actions, answer.beliefs.max(0).tolist(), strict=True):
            best[action] = max(chance, best.get(action, 0))
    return sorted(sorted(best, key=lambda action: -best[action])[:SHOWN])


def card(answer: ModelPrediction, shown: Sequence[str], error: float) -> str:
    """What one approach says."""
    last, use = answer.beliefs[-1], len(answer.beliefs)
    first = int(last.argmax())
    action, chance = escape(answer.actions[first]), last[first]
    if chance >= answer.least:
        said = f'<p class="said"><b class="answer">{action}</b> {chance:.1%}</p>'
        why = f"sure enough to be wrong in at most {error:.0%} of its answers; settled after "
        why += f"{frames_to_stable(answer.beliefs)} of {use} frames"
    else:
        said = f'<p class="said"><b class="answer unknown">unknown</b> likeliest: {action} {chance:.1%}</p>'
        why = "never sure enough: there were too few val clips to tell from when on"
        if math.isfinite(answer.least):
            why = f"it would answer from {answer.least:.1%} on, to be wrong in at most {error:.0%} of its answers"
    cells = "".join(_frame(number, *pair) for number, pair in enumerate(answer.pictures, 1))
    return (
        f'<section class="card" data-approach="{escape(answer.approach)}">'
        f'<h3>{escape(answer.approach)} <span class="dim">reads {use} frames</span></h3>{said}<p class="dim">{why}</p>'
        f"{bars(answer, shown)}<h4>Belief after each frame</h4>{chart(answer, shown)}"
        f'<h4>The frames it saw <span class="dim">bright where it found its answer (Grad-CAM); point at one to see '
        f'it plain</span></h4><div class="frames">{cells}</div></section>'
    )


def bars(answer: ModelPrediction, shown: Sequence[str]) -> str:
    """The probability of each shown action after the last frame."""
    rows = []
    for number, action in enumerate(shown):
        chance = answer.beliefs[-1, answer.actions.index(action)]
        rows.append(
            f'<div class="bar"><span><b class="dot c{number}"></b>{escape(action)}</span>'
            f'<i><u class="c{number}" style="width:{chance:.1%}"></u></i>'
            f"<span>{chance:.1%}</span></div>"
        )
    rest = len(answer.actions) - len(shown)
    more = f'<p class="dim">and {rest} less likely actions</p>' if rest > 0 else ""
    return f'<div class="bars">{"".join(rows)}</div>{more}'


def chart(answer: ModelPrediction, shown: Sequence[str]) -> str:
    """How the belief in each shown action grows frame by frame, as an SVG line chart."""
    use = len(answer.beliefs)
    across = LEFT + 8 + np.arange(use) * (WIDE - LEFT - 20) / max(1, use - 1)

    def down(chance: float) -> float:
        return 8 + (1 - chance) * (TALL - BELOW - 8)

    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDE - 4}" y1="{down(at):.1f}" y2="{down(at):.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{down(at) + 4:.1f}" text-anchor="end">{at:.0%}</text>'
        for at in (0, 0.5, 1)
    )
    if math.isfinite(answer.least):
        at = down(min(1, answer.least))
        grid += f'<line x1="{LEFT}" x2="{WIDE - 4}" y1="{at:.1f}" y2="{at:.1f}" class="least"/>'
    ticks = "".join(
        f'<text x="{x:.1f}" y="{TALL - BELOW + 16}" text-anchor="middle">{number}</text>'
        for number, x in enumerate(across, 1)
        if use <= 12 or number == 1 or number % 5 == 0
    )
    lines = ""
    for number, action in enumerate(shown):
        belief = answer.beliefs[:, answer.actions.index(action)]
        points = " ".join(f"{x:.1f},{down(chance):.1f}" for x, chance in zip(across, belief, strict=True))
        lines += f'<polyline points="{points}" pathLength="1" class="c{number}"><title>{escape(action)}</title>'
        lines += "</polyline>" + "".join(
            f'<circle cx="{x:.1f}" cy="{down(chance):.1f}" r="3" class="c{number}">'
            f"<title>{escape(action)} {chance:.1%} after frame {frame}</title></circle>"
            for frame, (x, chance) in enumerate(zip(across, belief, strict=True), 1)
        )
    middle = (LEFT + WIDE) / 2
    words = "frames seen" + (" (dashed: sure enough to answer)" if math.isfinite(answer.least) else "")
    return (
        f'<svg viewBox="0 0 {WIDE} {TALL}" role="img" aria-label="belief in each action after each frame">{grid}{ticks}'
        f'{lines}<text x="{middle}" y="{TALL - 3}" text-anchor="middle">{words}</text></svg>'
    )


def _frame(number: int, plain: bytes, hot: bytes) -> str:
    """A frame that was read, with and without its heat."""
    return (
        f'<figure><img src="{as_url(plain, "image/jpeg")}" alt="frame {number}">'
        f'<img class="hot" src="{as_url(hot, "image/jpeg")}" alt=""><figcaption>{number}</figcaption></figure>'
    )


def as_url(content: bytes, kind: str) -> str:
    """A file that stands in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
