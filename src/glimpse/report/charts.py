"""Line charts as SVG that stands in a page: its colours come from the page's style, and its figures show on hover.

Text stays readable when a phone shows the chart at three quarters of its size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDE, HIGH = 480, 300  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 70, 26, 14, 48  # what is left around the plot for words
LARGEST = 9.0  # radius of the largest point
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # marked on an axis of shares


@dataclass(frozen=True)
class Axis:
    """What runs along x: its name, its marks with their words, from where to where."""

    label: str
    marks: Sequence[tuple[float, str]]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Line:
    """One line: its name, which is its class in the page's style too, and its points (x, y, what hovering says).

    `band`: (x, low, high) of an interval around it; `weights`: of the points, shown as their areas.
    """

    name: str
    points: Sequence[tuple[float, float, str]]
    band: Sequence[tuple[float, float, float]] = ()
    weights: Sequence[float] = ()


def shares() -> list[tuple[float, str]]:
    """The marks of an axis of shares."""
    return [(share, f"{share:.0%}") for share in SHARES]


def chart(lines: Sequence[Line], axis: Axis, y_label: str, told: str, diagonal: bool = False) -> Markup:
    """An SVG of lines over shares from 0 to 1; `told` says the same to who can't see it; `diagonal`: where x is y."""
    span = (axis.high - axis.low) or 1.0

    def x(value: float) -> float:
        return LEFT + (value - axis.low) / span * (WIDE - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (1 - value) * (HIGH - TOP - BOTTOM)

    parts = [_grid(axis, y_label, x, y)]
    if diagonal:
        ends = x(axis.low), y(axis.low), x(axis.high), y(axis.high)
        parts.append(Markup('<path class="even" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(*ends))
    for line in lines:
        upper = [(x(at), y(high)) for at, _, high in line.band]
        lower = [(x(at), y(low)) for at, low, _ in reversed(line.band)]
        if len(upper) > 1:
            parts.append(Markup('<path class="band {}" d="{}Z"/>').format(line.name, _path(upper + lower)))
    for line in lines:
        places = [(x(at), y(value)) for at, value, _ in line.points]
        parts.append(Markup('<path class="line {}" d="{}"/>').format(line.name, _path(places)))
        heaviest = max(line.weights, default=1.0)
        radii = [max(2.5, LARGEST * (weight / heaviest) ** 0.5) for weight in line.weights] or [3.5] * len(places)
        for (across, down), radius, (_, _, said) in zip(places, radii, line.points, strict=True):
            dot = '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>'
            parts.append(Markup(dot).format(line.name, across, down, radius, said))
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDE, HIGH, told)
    return head + Markup("").join(parts) + Markup("</svg>")


def _path(places: Sequence[tuple[float, float]]) -> str:
    """A line through places."""
    return "".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(places))


def _grid(axis: Axis, y_label: str, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    """The marks of both axes with their words, and what the axes are."""
    bottom, middle = HIGH - BOTTOM, (TOP + HIGH - BOTTOM) / 2
    parts = []
    for share in SHARES:
        rule = '<path class="rule" d="M{} {:.1f}H{}"/><text class="end" x="{}" y="{:.1f}">{:.0%}</text>'
        parts.append(Markup(rule).format(LEFT, y(share), WIDE - RIGHT, LEFT - 8, y(share) + 5, share))
    for at, words in axis.marks:
        parts.append(Markup('<text class="mid" x="{:.1f}" y="{}">{}</text>').format(x(at), bottom + 18, words))
    label = '<text class="mid" x="{}" y="{}">{}</text>'
    parts.append(Markup(label).format((LEFT + WIDE - RIGHT) / 2, HIGH - 8, axis.label))
    turned = '<text class="mid" transform="translate(14 {:.1f}) rotate(-90)">{}</text>'
    parts.append(Markup(turned).format(middle, y_label))
    return Markup("").join(parts)
