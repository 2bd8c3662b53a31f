"""Line charts as inline SVG: the page's style sheet colours them, and values are shown on hover.

Text stays readable when a phone shows the chart at three quarters of its size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 480, 300  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 70, 26, 14, 48  # margins around the plot, for labels
MIN_RADIUS, RADIUS, MAX_RADIUS = 2.5, 3.5, 9.0  # of points; RADIUS where they have no weights
PERCENT_TICKS = tuple((tick, f"{tick:.0%}") for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


@dataclass(frozen=True)
class Axis:
    """The x axis: its label, its ticks (value, text) and its limits."""

    label: str
    ticks: Sequence[tuple[float, str]] = PERCENT_TICKS
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


def chart(lines: Sequence[Line], axis: Axis, y_label: str, description: str, diagonal: bool = False) -> Markup:
    """An SVG of lines with a y axis from 0 to 1.

    `description`: for screen readers; `diagonal`: draw the line where x equals y.
    """
    span = (axis.high - axis.low) or 1.0

    def x(value: float) -> float:
        return LEFT + (value - axis.low) / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)

    elements = _grid(axis, y_label, x, y)
    if diagonal:
        ends = _path([(x(axis.low), y(axis.low)), (x(axis.high), y(axis.high))])
        elements.append(Markup('<path class="diagonal" d="{}"/>').format(ends))
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
        dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>')
        for place, radius, (_, _, text) in zip(places, radii or [RADIUS] * len(places), line.points, strict=True):
            elements.append(dot.format(line.name, *place, radius, text))
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, description)
    return head + Markup("").join(elements) + Markup("</svg>")


def _path(places: Sequence[tuple[float, float]]) -> str:
    """SVG path data of a polyline."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _grid(axis: Axis, y_label: str, x: Callable[[float], float], y: Callable[[float], float]) -> list[Markup]:
    """Grid lines, ticks and labels of both axes."""
    rule = Markup('<path class="rule" d="M{} {:.1f}H{}"/><text class="end" x="{}" y="{:.1f}">{}</text>')
    elements = [rule.format(LEFT, y(tick), WIDTH - RIGHT, LEFT - 8, y(tick) + 5, text) for tick, text in PERCENT_TICKS]
    label = Markup('<text class="mid" x="{}" y="{}">{}</text>')
    elements += [label.format(f"{x(value):.1f}", HEIGHT - BOTTOM + 18, text) for value, text in axis.ticks]
    rotated = Markup('<text class="mid" transform="translate(14 {:.1f}) rotate(-90)">{}</text>')
    elements.append(label.format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, axis.label))
    return [*elements, rotated.format((TOP + HEIGHT - BOTTOM) / 2, y_label)]
