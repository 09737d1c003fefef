"""What report.html says of speed, memory and budgets, as tables and sentences ready to print."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from arte.report import notation
from arte.report.contract import BudgetLine, Measurement, Report, Verdict
from arte.report.statistics import Spread

TERMS = {
    "ttft_s": ("first token", "s"),
    "load_s": ("load", "s"),
    "load_cold_s": ("cold load", "s"),
    "pp_tok_s": ("prefill", "tok/s"),
    "tg_tok_s": ("decode", "tok/s"),
    "rss_bytes": ("peak memory", ""),
    "size_bytes": ("size", ""),
    "energy_j_per_token": ("energy", "J a token"),
    "accuracy_loss_points": ("accuracy lost", "points"),
}
"""The terms of a budget (arte_export.budget) in words, with their units; bytes are written with theirs."""
_SIGNS = {"<=": "at most", ">=": "at least"}
MARKS = {
    "pass": "✓ pass",
    "fail": "✗ fail",
    "estimate": "≈ estimate",
    "likely hold": "≈ likely hold",
    "likely miss": "≈ likely miss",
    "open": "? open",
}
_CLASSES = {"pass": "pass", "fail": "fail", "likely miss": "doubt", "open": "doubt"}


class Cell(NamedTuple):
    """A figure, the range under it, and its mark with the class that colours it."""

    text: str
    range: str = ""
    mark: str = ""
    kind: str = ""


class Table(NamedTuple):
    """A table whose first column names the rows; a header is a title and what stands small under it."""

    caption: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]


class Budget(NamedTuple):
    """What one device demanded: a table, and sentences for what the table cannot say."""

    device: str
    table: Table | None
    notes: list[str]


def latency(report: Report) -> Table | None:
    """Load, first token, the time between tokens, answers to real prompts and energy; columns that are known."""
    rows = [
        (file_label(report, row.file) + _where(report, row), row)
        for row in report.measurements
        if row.how == "measured"
    ]
    columns: list[tuple[tuple[str, str], Callable[[Measurement], Cell]]] = [
        (("Cold load", "s"), lambda row: _spread(row.load_cold_s, _seconds)),
        (("Warm load", "s"), lambda row: _spread(row.load_s, _seconds)),
        (("First token", "s"), lambda row: _spread(row.ttft_s, _seconds)),
        (("Token p50", "ms"), lambda row: _between(row, "p50")),
        (("p90", "ms"), lambda row: _between(row, "p90")),
        (("p99", "ms"), lambda row: _between(row, "p99")),
        (("Task answer", "s"), lambda row: _spread(row.end_to_end.seconds if row.end_to_end else None, _seconds)),
        (("Energy", "J a token"), _energy),
        (("Threads", ""), lambda row: Cell(notation.whole(row.threads))),
    ]
    shown = [(title, cell) for title, cell in columns[:-1] if any(cell(row) != Cell("–") for _, row in rows)]
    if not shown:
        return None
    shown.append(columns[-1])
    body = [[_named(label, row), *(cell(row) for _, cell in shown)] for label, row in rows]
    return Table("Load, first token, time between tokens", [("File", ""), *(title for title, _ in shown)], body)


def rates(report: Report) -> Table | None:
    """Every test at its length and depth, tokens a second; None where no more than the headline was tested."""
    rows = [(file_label(report, row.file) + _where(report, row), row) for row in report.measurements if row.tests]
    names = sorted(
        {timed.test.name: timed.test for _, row in rows for timed in row.tests}.items(),
        key=lambda item: (not item[1].prompt_tokens, item[1].depth_tokens, item[1].prompt_tokens, item[0]),
    )
    if len(names) <= 2:
        return None
    body = []
    for label, row in rows:
        found = {timed.test.name: timed.tok_s for timed in row.tests}
        body.append([_named(label, row), *(_spread(found.get(name), rate) for name, _ in names)])
    return Table("Every test, tokens a second", [("File", ""), *((name, "") for name, _ in names)], body)


def unsteady(report: Report) -> list[str]:
    """For each file whose figures moved: why they are not to be trusted to their last digit."""
    return [
        f"{file_label(report, row.file)}{_where(report, row)}: {'; '.join(row.unsteady)}."
        for row in report.measurements
        if row.unsteady
    ]


def ttft_definition(report: Report) -> str | None:
    """What the time to first token counts, where it was measured; runs from before an engine was named had another."""
    from arte_export.measurement import TTFT_DEFINITION

    return f"{TTFT_DEFINITION}." if any(row.ttft_s and row.engine for row in report.measurements) else None


def budgets(report: Report) -> list[Budget]:
    """For each device in turn: every line of its budget, file by file."""
    found = []
    for device in dict.fromkeys(verdict.device for verdict in report.verdicts):
        verdicts = [verdict for verdict in report.verdicts if verdict.device == device]
        if all(verdict.lines == [] and verdict.result == "pass" for verdict in verdicts):
            note = f"Nothing was demanded of the files on {device}: they were measured, and no budget is set."
            found.append(Budget(device, None, [note]))
            continue
        alike: dict[str, list[str]] = {}
        for verdict in verdicts:
            if not verdict.lines:
                said = f"{MARKS[verdict.result]}. {_sentence(verdict.why)}"
                alike.setdefault(said, []).append(file_label(report, verdict.file))
        notes = [f"{', '.join(files)}: {said}" for said, files in alike.items()]
        lines = [line for verdict in verdicts for line in verdict.lines or []]
        notes += dict.fromkeys(_sentence(_in_words(line)) for line in lines if line.value is None)
        asked = [verdict for verdict in verdicts if verdict.lines]
        if any(verdict.result == "estimate" for verdict in asked):
            notes.append(
                "≈ is an estimate: nothing here was measured on this device, so no line passes or fails. Under a "
                "figure stands its interval."
            )
        found.append(Budget(device, _budget(report, device, asked) if asked else None, notes))
    return found


def _budget(report: Report, device: str, verdicts: Sequence[Verdict]) -> Table:
    found = {(line.term, line.sign, line.limit) for each in verdicts for line in each.lines or []}
    order = list(TERMS)
    keys = sorted(found, key=lambda key: (order.index(key[0]) if key[0] in TERMS else len(order), key))
    asked = [(_capital(_name(term)), _demand(term, sign, limit)) for term, sign, limit in keys]
    header = [("File", ""), ("Result", ""), *asked]
    rows = []
    for each in verdicts:
        lines = {(line.term, line.sign, line.limit): line for line in each.lines or []}
        measured = next((row for row in report.measurements if (row.file, row.device) == (each.file, device)), None)
        cells = [_held(lines[key]) if key in lines else Cell("–") for key in keys]
        whole = Cell("", mark=MARKS[each.result], kind=_CLASSES.get(each.result, ""))
        rows.append([_named(file_label(report, each.file), measured), whole, *cells])
    estimated = all(each.result == "estimate" for each in verdicts)
    shown = "Estimates, the interval under each" if estimated else "Medians, the range of the repeats under each"
    return Table(f"{shown}, and whether it holds", header, rows)


def _in_words(line: BudgetLine) -> str:
    """The line's sentence with its term in words."""
    return line.text.replace(line.term, _name(line.term), 1)


def _name(term: str) -> str:
    return TERMS[term][0] if term in TERMS else term


def _held(line: BudgetLine) -> Cell:
    put = _unit(line.term)
    mark, kind = MARKS.get(line.result, line.result), _CLASSES.get(line.result, "")
    if line.value is None:
        return Cell("not known" if line.result == "open" else "not measured", "", mark, kind)
    between = _spread(line.spread, put).range
    if line.low is not None and line.high is not None and line.low != line.high:
        between = f"{put(line.low)} to {put(line.high)}"
    return Cell(put(line.value), between, mark, kind)


def _demand(term: str, sign: str, limit: float) -> str:
    unit = TERMS[term][1] if term in TERMS else ""
    put = notation.size(round(limit)) if term.endswith("_bytes") else f"{limit:g} {unit}".strip()
    return f"{_SIGNS.get(sign, sign)} " + put.replace(" ", "\N{NO-BREAK SPACE}")


def _unit(term: str) -> Callable[[float], str]:
    if term.endswith("_bytes"):
        return lambda value: notation.size(round(value))
    if term.endswith("_points"):
        return lambda value: f"{value:.1f}".replace("-", "−")
    return rate if term.endswith("tok_s") else _seconds


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def rate(value: float) -> str:
    """Tokens a second, one decimal below 100."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _spread(found: Spread | None, put: Callable[[float], str]) -> Cell:
    if found is None:
        return Cell("–")
    low, high = put(found.min), put(found.max)
    return Cell(put(found.median), f"{low} to {high}" if low != high else "")


def _between(row: Measurement, part: str) -> Cell:
    return Cell(f"{1000 * getattr(row.inter_token_s, part):.1f}") if row.inter_token_s else Cell("–")


def _energy(row: Measurement) -> Cell:
    value = row.energy_j_per_token
    if value is None:
        return Cell("–")
    return _spread(value, _seconds) if isinstance(value, Spread) else Cell(_seconds(value))


def _named(label: str, measured: Measurement | None) -> Cell:
    return Cell(label, mark="± unsteady" if measured and measured.unsteady else "", kind="doubt")


def _where(report: Report, row: Measurement) -> str:
    return f" on {row.device}" if len({each.device for each in report.measurements}) > 1 else ""


def file_label(report: Report, file: str) -> str:
    """Format and scheme of a file, or its name where it is none of the run's."""
    return next((f"{each.format} {each.scheme}" for each in report.artefacts if each.file == file), file)


def _sentence(text: str) -> str:
    return f"{_capital(text).rstrip('.')}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
