"""The figures of report.html, as inline SVG that takes its colours and fonts from the page.

Matplotlib is given colours that stand for the page's CSS variables, and they are replaced afterwards: so one drawing
serves light, dark and print. Shapes, dashes and hatches carry the same distinctions without colour.
"""

import re
from collections.abc import Callable, Sequence
from html import escape
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from arte.report.contract import Curve, TeacherData
from arte.report.notation import percent
from arte.report.scores import Accuracy
from arte.report.words import slice_title, slices
from arte.rows import REASONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#fdfdfd"
FIRST, SECOND, THIRD = "#0a0a01", "#0a0a02", "#0a0a03"
_ARM_COLOURS = {"arte": FIRST, "verified": SECOND, "unaligned": SECOND, "untrained": THIRD}
_ARM_MARKERS = {"arte": "o", "verified": "s", "unaligned": "v", "untrained": "D"}
_ARM_DASHES = {"arte": "-", "verified": "--", "unaligned": "-.", "untrained": ":"}
_FATES = ("accepted", *REASONS)
_FATE_COLOURS = dict(zip(_FATES, (FIRST, "#0b0b00", "#0b0b01", "#0b0b02", "#0b0b03", "#0b0b04"), strict=True))
_FATE_HATCHES = dict(zip(_FATES, ("", "////", "....", "\\\\\\\\", "xxxx", "oo"), strict=True))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    FIRST: "--arte",
    SECOND: "--unaligned",
    THIRD: "--untrained",
    "#0b0b00": "--lost-1",
    "#0b0b01": "--lost-2",
    "#0b0b02": "--lost-3",
    "#0b0b03": "--lost-4",
    "#0b0b04": "--lost-5",
}
_WIDTH_INCHES = 5.8
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8,
    "axes.labelsize": 8,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "hatch.color": PAPER,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.4,
}


class Drawing(NamedTuple):
    """A figure and the table of what it shows."""

    svg: Any
    header: list[str]
    rows: list[list[str]]
    caption: str
    note: str = ""


def accuracy(rows: Sequence[Accuracy]) -> str:
    """A dot and its 95 % interval for every arm, slice under slice."""
    groups = [(name, [row for row in rows if row.slice == name]) for name in slices(list(rows))]
    height = sum(len(group) * 0.24 + 0.42 for _, group in groups) + 0.35

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        place, ticks, labels = 0.0, [], []
        for name, group in groups:
            title = f"{slice_title(name)} (n = {group[0].n:,})"
            axes.text(0, place, title, fontweight="bold", va="center", ha="left", color=INK)
            place += 1.0
            for row in group:
                colour = _ARM_COLOURS.get(row.arm, INK)
                low, high = (100 * bound for bound in row.ci95)
                axes.plot(
                    [low, high], [place, place], color=colour, linewidth=1.8, solid_capstyle="butt", clip_on=False
                )
                marker = _ARM_MARKERS.get(row.arm, "o")
                filled = colour if row.arm == "arte" else PAPER
                axes.plot(
                    [100 * row.accuracy], [place], marker=marker, markersize=6, color=colour, markerfacecolor=filled,
                    markeredgewidth=1.4, clip_on=False, zorder=3,
                )  # fmt: skip
                axes.text(high + 1.2, place, percent(row.accuracy), va="center", color=INK)
                ticks.append(place)
                labels.append(row.arm)
                place += 1.0
            place += 0.55
        axes.set_ylim(place - 0.9, -0.7)
        top = max(100 * row.ci95[1] for row in rows)
        axes.set_xlim(-2.0, min(100.0, 10 * (int(top / 10) + 1)) + 9)
        axes.set_yticks(ticks, labels)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xticks([tick for tick in range(0, 101, 10 if top < 60 else 20) if tick <= top + 10])
        axes.set_xlabel("strict-match accuracy, %")

    said = "; ".join(f"{row.arm}, {slice_title(row.slice)}: {percent(row.accuracy)}" for row in rows)
    return svg("accuracy", "Accuracy by arm", f"Dots with 95 % intervals. {said}.", height, draw)


def losses(teachers: Sequence[TeacherData]) -> str:
    """Shares of drafts accepted and lost by reason, a bar for each teacher."""
    from matplotlib.patches import Patch

    # Seldom, and a sixth entry does not fit into the legend's line.
    too_long = any(teacher.rejected.too_long for teacher in teachers)
    fates = [name for name in _FATES if name != "too_long" or too_long]

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for place, teacher in enumerate(teachers):
            left = 0.0
            for name in fates:
                count = teacher.accepted if name == "accepted" else getattr(teacher.rejected, name)
                width = 100 * count / teacher.drafted
                axes.barh(
                    place, width, left=left, height=0.62, color=_FATE_COLOURS[name], hatch=_FATE_HATCHES[name],
                    edgecolor=PAPER, linewidth=0.8,
                )  # fmt: skip
                if name == "accepted" and width >= 12:
                    axes.text(left + width / 2, place, f"{width:.0f} %", ha="center", va="center", color=PAPER)
                left += width
        axes.set_yticks(range(len(teachers)), [_before_or_after(teacher) for teacher in teachers])
        axes.set_ylim(len(teachers) - 0.55, -0.5)
        axes.set_xlim(0, 100)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("share of drafts, %")
        handles = [
            Patch(
                facecolor=_FATE_COLOURS[name],
                hatch=_FATE_HATCHES[name],
                edgecolor=PAPER,
                label=name.replace("_", " "),
            )
            for name in fates
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=5 if len(fates) < 6 else 3, frameon=False,
            handlelength=1.1, handleheight=1.0, columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip

    said = "; ".join(
        f"{_before_or_after(teacher)}: {teacher.accepted} of {teacher.drafted} accepted" for teacher in teachers
    )
    return svg("losses", "Where drafts were lost", f"Stacked bars. {said}.", 0.75 + 0.42 * len(teachers), draw)


def scores(counts: Sequence[int], edges: Sequence[float], unit: str) -> str:
    """A histogram of draft scores; `edges` are one more than `counts`."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        widths = [right - left for left, right in pairwise(edges)]
        axes.bar(
            edges[:-1], counts, width=widths, align="edge", color=_ARM_COLOURS["arte"], edgecolor=PAPER, linewidth=0.8
        )
        if edges[0] < 0 < edges[-1]:
            axes.axvline(0, color=INK, linewidth=0.9, linestyle=":")
        _count_axis(axes)
        axes.set_xlabel(f"score of a draft, {unit}")
        axes.set_ylabel("drafts")

    said = f"Histogram of {sum(counts)} drafts from {edges[0]:.3g} to {edges[-1]:.3g}."
    return svg("scores", "How much drafts taught the student", said, 1.9, draw)


def curves(found: Sequence[Curve], name: str, title: str, label: str) -> str:
    """Lines over optimizer steps, one for each arm where there are several."""
    from matplotlib.ticker import MaxNLocator

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for curve in found:
            arm = curve.arm or "arte"
            values = [float("nan") if value is None else value for value in curve.values]
            axes.plot(
                curve.steps, values, color=_ARM_COLOURS.get(arm, INK), linestyle=_ARM_DASHES.get(arm, "-"),
                marker="o" if len(values) == 1 else None, label=arm,
            )  # fmt: skip
        if len(found) > 1:
            axes.legend(frameon=False, handlelength=2.4)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    ends = [
        f"{curve.arm or label}: from {curve.values[0]:.3g} to {curve.values[-1]:.3g}"
        for curve in found
        if curve.values[0] is not None and curve.values[-1] is not None
    ]
    return svg(name, title, f"Lines by optimizer step. {'; '.join(ends)}.", 1.9, draw)


def _before_or_after(teacher: TeacherData) -> str:
    return "before alignment" if teacher.teacher == "unaligned" else "after alignment"


def _count_axis(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def svg(name: str, title: str, description: str, height_inches: float, draw: "Callable[[Figure], None]") -> str:
    """The drawing as an <svg> element with title and description, no fixed size, no fixed colour, no outside name."""
    import matplotlib
    from matplotlib.figure import Figure

    # The salt keeps the ids of clip paths and hatches apart between figures of one page, and equal between runs.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        draw(figure)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 :]
    heading = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {box[0] if box else ""}>{heading}{body.rstrip()}'
    )
