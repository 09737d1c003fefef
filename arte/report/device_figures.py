"""The figures of speed and memory in report.html: size × latency × accuracy, threads, and memory.

Shapes, filling, dashes and hatches say what colour says.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from arte.report import dot_labels
from arte.report.contract import Measurement
from arte.report.figures import FIRST, INK, MUTED, PAPER, SECOND, THIRD, svg
from arte.report.notation import percent, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_COLOURS = {"gguf": FIRST, "onnx": SECOND, "onnx-optimum": THIRD}
_FORMAT_MARKERS = {"gguf": "o", "onnx": "s", "onnx-optimum": "D"}
_DASHES = {"gguf": "-", "onnx": "--", "onnx-optimum": "-."}
_OTHER = {"colour": INK, "marker": "^", "dash": ":"}
_FILE_MARKERS = "os^DvPX*"
_MOST_TICKS = 8
_BEHIND_TEXT = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
_CHARACTER_SHARE = 0.0135
"""Of the width of the drawing, about."""
_FARTHEST_LIMIT = 2.5
"""A budget more than so many times the longest bar would make the bars unreadably short, so it is not drawn."""


class File(NamedTuple):
    """A file and what was measured of it."""

    label: str
    """Format and scheme."""
    scheme: str
    format: str
    size_bytes: int
    accuracy: float | None
    """Strict-match share on the test problems."""
    measured: Measurement

    @property
    def token_ms(self) -> float | None:
        """Milliseconds a token of decoding, 1000 / the median of tg."""
        rate = self.measured.tg_tok_s
        return 1000 / rate.median if rate and rate.median > 0 else None


def frontier(points: Mapping[str, tuple[float, ...]]) -> set[str]:
    """The names that nothing else beats: no other point is as low in every coordinate and lower in one.

    Lower is better in each, so what is better high (accuracy) is given negative. Equal points stand together.
    """
    return {
        name
        for name, point in points.items()
        if not any(
            other != point and all(theirs <= own for theirs, own in zip(other, point, strict=True))
            for other in points.values()
        )
    }


def best(files: Sequence[File]) -> set[str]:
    """The names of the files on the frontier of size, latency and accuracy.

    Where the accuracy of one is missing it is left out for all.
    """
    graded = all(file.accuracy is not None for file in files)
    return frontier(
        {
            file.measured.file: (file.size_bytes, file.token_ms, -(file.accuracy or 0.0) if graded else 0.0)
            for file in files
            if file.token_ms is not None
        }
    )


def pareto(files: Sequence[File], name: str, title: str) -> str:
    """A dot for each file, all with `token_ms`: size across, milliseconds a token up, accuracy beside the dot."""
    chosen = best(files)
    dots = [(file.size_bytes / 1e6, file.token_ms or 0.0) for file in files]

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        joined = sorted(dot for dot, file in zip(dots, files, strict=True) if file.measured.file in chosen)
        axes.plot(*zip(*joined, strict=True), color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        strong = [file.measured.file in chosen for file in files]
        for (across, up), file, filled in zip(dots, files, strong, strict=True):
            colour = _COLOURS.get(file.format, _OTHER["colour"])
            axes.plot(
                across, up, linestyle="", marker=_FORMAT_MARKERS.get(file.format, _OTHER["marker"]), markersize=7,
                color=colour, markerfacecolor=colour if filled else PAPER, markeredgewidth=1.3, zorder=3,
            )  # fmt: skip
        _in_plain_logarithms(axes, dots)
        axes.margins(0.14, 0.16)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("size, MB (smaller is better; logarithmic)")
        axes.set_ylabel("decode, ms a token (lower is better)")
        _format_legend(figure, files)
        texts = [
            file.scheme
            + ("" if file.accuracy is None else f" {percent(file.accuracy)}").replace(" %", "\N{NO-BREAK SPACE}%")
            for file in files
        ]
        dot_labels.write(figure, axes, dots, joined, texts, strong)

    said = "; ".join(
        f"{file.label}: {size(file.size_bytes)}, {file.token_ms or 0:.1f} ms a token"
        + (f", {percent(file.accuracy)}" if file.accuracy is not None else "")
        + (", on the frontier" if file.measured.file in chosen else "")
        for file in files
    )
    return svg(name, title, f"Dots by size and latency, accuracy beside each. {said}.", 3.5, draw)


def sweep(files: Sequence[File], name: str, title: str) -> str:
    """Decode and prefill over threads, a line for each file; the number of threads that was chosen is filled."""

    def draw(figure: "Figure") -> None:
        handles: list[Line2D] = []
        for panel, (kind, label) in enumerate((("tg_tok_s", "decode, tok/s"), ("pp_tok_s", "prefill, tok/s"))):
            axes = figure.add_subplot(1, 2, panel + 1)
            places: dict[str, int] = {}
            for file in files:
                place = places[file.format] = places.get(file.format, -1) + 1
                colour = _COLOURS.get(file.format, _OTHER["colour"])
                found = sorted(file.measured.sweep, key=lambda swept: swept.threads)
                threads, rates = [each.threads for each in found], [getattr(each, kind) for each in found]
                style: dict[str, Any] = {
                    "marker": _FILE_MARKERS[place % len(_FILE_MARKERS)],
                    "color": colour,
                    "markersize": 5,
                }
                (line,) = axes.plot(
                    threads, rates, linestyle=_DASHES.get(file.format, _OTHER["dash"]), markerfacecolor=PAPER,
                    label=file.label, linewidth=1.2, **style,
                )  # fmt: skip
                at = [(x, y) for x, y in zip(threads, rates, strict=True) if x == file.measured.threads]
                axes.plot(*(zip(*at, strict=True) if at else ([], [])), linestyle="", **style)
                if panel == 0:
                    handles.append(line)
            axes.set_ylim(0, 1.08 * max(getattr(each, kind) for file in files for each in file.measured.sweep))
            axes.margins(x=0.1)
            counts = sorted({swept.threads for file in files for swept in file.measured.sweep})
            axes.set_xticks(counts if len(counts) <= _MOST_TICKS else counts[:: -(-len(counts) // _MOST_TICKS)])
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.set_xlabel("threads")
            axes.set_ylabel(label)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(4, len(files)), frameon=False, handlelength=3,
            columnspacing=1.4,
        )  # fmt: skip

    said = "; ".join(f"{file.label}: {file.measured.threads} chosen" for file in files)
    height = 2.35 + 0.17 * (-(-len(files) // 4))
    return svg(name, title, f"Lines of decode and prefill by number of threads. {said}.", height, draw)


def memory(files: Sequence[File], limits: Mapping[int, Sequence[str]], name: str, title: str) -> str:
    """Peak memory, a bar for each file, its mapped part hatched; `limits`: budgets in bytes, with their devices."""
    longest = max(file.measured.peak_rss_bytes or 0 for file in files)
    near = sorted(limit for limit in limits if limit <= _FARTHEST_LIMIT * longest)

    def draw(figure: "Figure") -> None:
        from matplotlib.patches import Patch

        axes = figure.add_subplot()
        kinds: dict[str, dict[str, Any]] = {
            "mapped": {"facecolor": THIRD, "hatch": "////", "label": "mapped from the file"},
            "rest": {"facecolor": FIRST, "hatch": "", "label": "the rest: cache, buffers, program"},
            "whole": {"facecolor": FIRST, "hatch": "....", "label": "not told apart"},
        }
        used = set()
        for place, file in enumerate(files):
            left = 0.0
            for kind, part in parts(file.measured).items():
                shown = {key: value for key, value in kinds[kind].items() if key != "label"}
                axes.barh(place, part / 1e6, left=left, height=0.62, edgecolor=PAPER, linewidth=0.8, **shown)
                left += part / 1e6
                used.add(kind)
            axes.annotate(size(file.measured.peak_rss_bytes), (left, place), (4, 0), textcoords="offset points",
                          va="center", color=INK, bbox=_BEHIND_TEXT)  # fmt: skip
        top = -0.55 - 0.6 * len(near)
        right = 1.18 * max([longest, *near]) / 1e6
        for row, limit in enumerate(near):
            high = top + 0.35 + 0.6 * row
            ends = [limit / 1e6] * 2, [high, len(files) - 0.5]
            axes.plot(*ends, color=PAPER, linewidth=2.6)  # so that it is seen across a bar
            axes.plot(*ends, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
            devices = list(limits[limit])
            others = f" and {len(devices) - 1} more" if len(devices) > 1 else ""
            text = f"budget {size(limit)}: {devices[0]}{others}"
            leftwards = limit / 1e6 / right > 1 - _CHARACTER_SHARE * len(text)
            axes.annotate(text, (limit / 1e6, high), (-5 if leftwards else 5, 0), textcoords="offset points",
                          va="center", ha="right" if leftwards else "left", color=INK, bbox=_BEHIND_TEXT)  # fmt: skip
        axes.set_yticks(range(len(files)), [file.label for file in files])
        axes.set_ylim(len(files) - 0.45, top)
        axes.set_xlim(0, right)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("peak resident memory, MB")
        handles = [Patch(edgecolor=PAPER, **style) for kind, style in kinds.items() if kind in used]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, handlelength=1.6,
                      handleheight=1.1, columnspacing=1.4)  # fmt: skip

    said = "; ".join(f"{file.label}: {size(file.measured.peak_rss_bytes)}" for file in files)
    return svg(name, title, f"Bars of peak memory. {said}.", 0.85 + 0.26 * len(files) + 0.17 * len(near), draw)


def parts(measured: Measurement) -> dict[str, int]:
    """The peak as `mapped` and `rest` bytes, or as a `whole` where the mapped part is not known."""
    peak = measured.peak_rss_bytes or 0
    if measured.mapped_bytes is None:
        return {"whole": peak}
    mapped = min(measured.mapped_bytes, peak)
    return {"mapped": mapped, "rest": peak - mapped}


def _in_plain_logarithms(axes: "Axes", dots: Sequence[tuple[float, float]]) -> None:
    """Scales on which half the size lies equally far everywhere, with plain numbers on them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, values in ((axes.xaxis, [dot[0] for dot in dots]), (axes.yaxis, [dot[1] for dot in dots])):
        wide = max(values) > 3 * min(values)
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)) if wide else MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _format_legend(figure: "Figure", files: Sequence[File]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=_FORMAT_MARKERS.get(name, _OTHER["marker"]), markerfacecolor=PAPER,
               color=_COLOURS.get(name, _OTHER["colour"]), markersize=6.5, markeredgewidth=1.3, label=name)
        for name in dict.fromkeys(file.format for file in files)
    ]  # fmt: skip
    handles.append(
        Line2D([], [], color=MUTED, marker="o", markersize=6.5, linewidth=0.9, linestyle=(0, (1, 2)),
               label="filled, joined: the frontier")
    )  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=5, frameon=False, columnspacing=1.6)
