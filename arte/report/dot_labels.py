"""Names beside the dots of a figure, placed so that they cover neither dots nor one another."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from arte.report.figures import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONT_SIZE = 8.0
_CHARACTER_WIDTH = 0.58 * _FONT_SIZE
_LINE_HEIGHT = 1.3 * _FONT_SIZE

Box = tuple[float, float, float, float]
"""left, bottom, right, top in points of the page."""


def write(
    figure: "Figure",
    axes: "Axes",
    dots: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
    texts: Sequence[str],
    bold: Sequence[bool],
) -> None:
    """Writes each text where it covers no dot and no other text, with a thin line to its dot where that is far."""
    import numpy as np

    figure.draw_without_rendering()  # settles the layout, on which the places in points depend
    figure.set_layout_engine("none")
    scale = 72 / figure.dpi
    at = axes.transData.transform(np.array(dots)) * scale
    corners = axes.transData.transform(np.array(line)) * scale
    steps = np.linspace(0, 1, 25)[:, None]
    track = np.vstack([start + steps * (end - start) for start, end in pairwise(corners)] or [at])
    left, bottom, right, _ = (float(edge) * scale for edge in axes.bbox.extents)
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    rows = sorted(zip(at, dots, texts, bold, strict=True), key=lambda row: -row[1][1])
    for (x, y), dot, text, strong in rows:
        width = len(text) * _CHARACTER_WIDTH * (1.08 if strong else 1)

        def cost(place: tuple[float, float], x: float = x, y: float = y, width: float = width) -> float:
            box = (x + place[0], y + place[1] - _LINE_HEIGHT / 2, x + place[0] + width, y + place[1] + _LINE_HEIGHT / 2)
            out = max(0.0, left - box[0]) + max(0.0, box[2] - right) + max(0.0, bottom - box[1])
            inside = ((track > box[:2]) & (track < box[2:])).all(axis=1).sum()
            return float(
                50 * sum(_overlap(box, other) for other in taken) + 100 * out + 4 * inside + _away(place, width)
            )

        places = [
            (across, up)
            for up in (0, 9, -9, 14, -14, 22, -22, 32, -32)
            for across in (8, -8 - width, -width / 2, 22, -22 - width)
        ]
        across, up = min(places, key=cost)
        taken.append((x + across, y + up - _LINE_HEIGHT / 2, x + across + width, y + up + _LINE_HEIGHT / 2))
        far = _away((across, up), width) > 18
        leftwards = across < -width / 2
        line_to_dot = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5}
        axes.annotate(
            text, dot, (across + width if leftwards else across, up), textcoords="offset points", va="center",
            ha="right" if leftwards else "left", color=INK, fontweight="bold" if strong else "normal", zorder=4,
            arrowprops=line_to_dot if far else None,
        )  # fmt: skip


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0


def _away(place: tuple[float, float], width: float) -> float:
    """How far a text that starts at `place` lies from its dot, in points."""
    across, up = place
    gap = across if across > 0 else max(0.0, -across - width)
    return float((gap**2 + up**2) ** 0.5)
