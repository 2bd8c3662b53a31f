"""Renders the Jinja templates of this folder. Values are escaped in HTML; an undefined value is an error."""

import math
from pathlib import Path

import jinja2

MISSING = "–"


def render(template: str, **values: object) -> str:
    """Render a template with these values; they are escaped if its name ends in .html.jinja."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"score": score, "percent": percent, "interval": interval, "cell": cell}
    return templates.get_template(template).render(**values)


def score(value: float) -> str:
    """A number with three decimals; a dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else MISSING


def percent(value: float) -> str:
    """A share in whole percent; a dash where there is none."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else MISSING


def interval(row: dict) -> str:
    """The interval of a score, from its row."""
    return f"{row['low']:.3f} to {row['high']:.3f}" if math.isfinite(row["low"]) else "no interval"


def cell(text: str) -> str:
    """Text escaped for a cell of a Markdown table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
