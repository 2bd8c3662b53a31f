"""Pages from the templates beside this file (Jinja): what is put into them is escaped, and what they ask for must be
there."""

import math
from pathlib import Path

import jinja2

NONE = "–"  # where there is no figure


def render(template: str, **values: object) -> str:
    """A template's text with these values; in one that ends in .html.jinja, names stay text whatever is in them."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"three": three, "share": share, "between": between, "cell": cell}
    return templates.get_template(template).render(**values)


def three(value: float) -> str:
    """A figure with three digits; none where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else NONE


def share(value: float) -> str:
    """A share in whole percent."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else NONE


def between(row: dict) -> str:
    """The interval of a figure."""
    return f"{row['low']:.3f} to {row['high']:.3f}" if math.isfinite(row["low"]) else "no interval"


def cell(words: str) -> str:
    """Words as they can stand in a table in Markdown."""
    return " ".join(words.replace("\\", "\\\\").replace("|", "\\|").split())
