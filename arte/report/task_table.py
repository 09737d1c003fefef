"""Accuracy of every arm on each task of a run over several, and in the means over them: for a page and for a card."""

from arte.report import notation, words
from arte.report.contract import Report
from arte.report.devices_table import Cell, Table
from arte.report.scores import Accuracy, Average


def table(report: Report) -> Table | None:
    """Means first, then tasks; strict-match of the torch students. None in a run over one task."""
    if not report.averages:
        return None
    means = {
        (row.name, row.arm): row for row in report.averages if row.artefact == "model" and row.metric == "strict-match"
    }
    rows = []
    for name in dict.fromkeys(name for name, _ in means):
        found = [means.get((name, arm)) for arm in report.arms]
        first = next(row for row in found if row is not None)
        rows.append([Cell(f"mean: {name}", f"{first.tasks} tasks, {first.n:,} problems"), *map(_cell, found)])
    slices = [row.slice for row in report.accuracy if row.slice.startswith(words.OF_TASK)]
    for name in dict.fromkeys(slices):
        each = [report.found(arm, slice=name) for arm in report.arms]
        count = next(row.n for row in each if row is not None)
        rows.append([Cell(words.slice_title(name), f"{count:,} problems"), *map(_cell, each)])
    header = [("Task", ""), *((str(arm), "strict-match") for arm in report.arms)]
    return Table("Accuracy by task, with 95 % intervals", header, rows)


def markdown(report: Report) -> list[str]:
    """The lines of the table; none in a run over one task."""
    found = table(report)
    if found is None:
        return []
    lines = ["", f"{found.caption}; a mean weighs its tasks, not their problems:", ""]
    lines.append("| " + " | ".join(title for title, _ in found.header) + " |")
    lines.append("|---" + "|---:" * (len(found.header) - 1) + "|")
    for row in found.rows:
        cells = [f"{cell.text} ({cell.range})" if cell.range else cell.text for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(row: Accuracy | Average | None) -> Cell:
    if row is None:
        return Cell("–")
    return Cell(notation.percent(row.accuracy), notation.interval(row.ci95))
