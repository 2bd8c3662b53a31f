"""Line charts as inline SVG: the page's style sheet colours them, and values are shown on hover.

Text stays readable when a phone shows the chart at three quarters of its size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 480, 300  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 70, 26, 14, 48  # margins around the plot, for labels
MIN_RADIUS, RADIUS, MAX_RADIUS = 2.5, 3.5, 9.0  # of points; RADIUS where they have no weights
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Axis:
    """The x axis: its label, its ticks (value, text) and its limits."""

    label: str
    ticks: Sequence[tuple[float, str]]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Line:
    """One line: its name, which is also its CSS class, and its points (x, y, text on hover).

    `band`: (x, low, high) of an interval around it; `weights`: of the points, drawn as their areas.
    """

    name: str
    points: Sequence[tuple[float, float, str]]
    band: Sequence[tuple[float, float, float]] = ()
    weights: Sequence[float] = ()


def percent_ticks() -> list[tuple[float, str]]:
    """Ticks of an axis from 0 to 100 %."""
    return [(tick, f"{tick:.0%}") for tick in TICKS]


def chart(lines: Sequence[Line], axis: Axis, y_label: str, description: str, diagonal: bool = False) -> Markup:
    """An SVG of lines with a y axis from 0 to 1.

    `description`: for screen readers; `diagonal`: draw the line where x equals y.
    """
    span = (axis.high - axis.low) or 1.0

    def x(value: float) -> float:
        return LEFT + (value - axis.low) / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)

    elements = [_grid(axis, y_label, x, y)]
    if diagonal:
        ends = x(axis.low), y(axis.low), x(axis.high), y(axis.high)
        elements.append(Markup('<path class="diagonal" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(*ends))
    for line in lines:
        upper = [(x(value), y(high)) for value, _, high in line.band]
        lower = [(x(value), y(low)) for value, low, _ in reversed(line.band)]
        if len(upper) > 1:
            elements.append(Markup('<path class="band {}" d="{}Z"/>').format(line.name, _path(upper + lower)))
    for line in lines:
        places = [(x(at), y(value)) for at, value, _ in line.points]
        elements.append(Markup('<path class="line {}" d="{}"/>').format(line.name, _path(places)))
        largest = max(line.weights, default=1.0)
        radii = [max(MIN_RADIUS, MAX_RADIUS * (weight / largest) ** 0.5) for weight in line.weights]
        for (cx, cy), radius, (_, _, text) in zip(places, radii or [RADIUS] * len(places), line.points, strict=True):
            dot = '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>'
            elements.append(Markup(dot).format(line.name, cx, cy, radius, text))
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, description)
    return head + Markup("").join(elements) + Markup("</svg>")


def _path(places: Sequence[tuple[float, float]]) -> str:
    """SVG path data of a polyline."""
    return "".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(places))


def _grid(axis: Axis, y_label: str, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    """Grid lines, ticks and labels of both axes."""
    bottom, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    elements = []
    for tick in TICKS:
        rule = '<path class="rule" d="M{} {:.1f}H{}"/><text class="end" x="{}" y="{:.1f}">{:.0%}</text>'
        elements.append(Markup(rule).format(LEFT, y(tick), WIDTH - RIGHT, LEFT - 8, y(tick) + 5, tick))
    for value, text in axis.ticks:
        elements.append(Markup('<text class="mid" x="{:.1f}" y="{}">{}</text>').format(x(value), bottom + 18, text))
    label = '<text class="mid" x="{}" y="{}">{}</text>'
    elements.append(Markup(label).format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, axis.label))
    rotated = '<text class="mid" transform="translate(14 {:.1f}) rotate(-90)">{}</text>'
    elements.append(Markup(rotated).format(middle, y_label))
    return Markup("").join(elements)
