"""The figures of speed and memory of a report, each with the table of what it shows."""

from collections.abc import Sequence
from typing import Any

from arte.report import device_figures, notation
from arte.report.contract import Report
from arte.report.device_figures import File
from arte.report.devices_table import file_label, rate
from arte.report.figures import Drawing


def drawings(report: Report) -> list[Drawing]:
    """Size × latency × accuracy, memory and threads, for each device that was measured and as far as it was."""
    found = []
    by_device = _files(report)
    for place, (device, files) in enumerate(by_device.items(), start=1):
        on = f" on {device}" if len(by_device) > 1 else ""
        timed = [file for file in files if file.token_ms is not None and file.size_bytes]
        if len(timed) > 1:
            what = "Size and latency" if report.losses else "Size, latency and accuracy"
            found.append(_pareto(timed, f"pareto-{place}", f"{what}{on}", has_accuracy=not report.losses))
        held = [file for file in files if file.measured.peak_rss_bytes]
        if held:
            found.append(_memory(held, report, f"memory-{place}", f"Peak memory{on}"))
        swept = [file for file in files if len(file.measured.sweep) > 1]
        if swept:
            found.append(_sweep(swept, f"threads-{place}", f"Speed by number of threads{on}"))
    return found


def _files(report: Report) -> dict[str, list[File]]:
    """What was measured, by device."""
    artefacts = {artefact.file: artefact for artefact in report.artefacts}
    found: dict[str, list[File]] = {}
    for row in report.measurements:
        if row.how == "measured":
            artefact, graded = artefacts.get(row.file), report.found(report.student_arm or "arte", row.file)
            file = File(
                label=file_label(report, row.file),
                scheme=artefact.scheme if artefact else row.file,
                format=artefact.format if artefact else row.format or "file",
                size_bytes=row.bytes or (artefact.bytes if artefact else 0),
                accuracy=graded.accuracy if graded else None,
                measured=row,
            )
            found.setdefault(row.device, []).append(file)
    return found


def _pareto(files: Sequence[File], name: str, title: str, *, has_accuracy: bool) -> Drawing:
    """`has_accuracy`: whether answers are right or wrong at all."""
    chosen = device_figures.best(files)
    rows = [
        [
            file.label,
            notation.size(file.size_bytes),
            f"{file.token_ms or 0:.1f}",
            *(["–" if file.accuracy is None else notation.percent(file.accuracy)] if has_accuracy else []),
            "yes" if file.measured.file in chosen else "no",
        ]
        for file in files
    ]
    graded = all(file.accuracy is not None for file in files)
    what = "size, latency and accuracy" if graded else "size and latency (not every accuracy is known)"
    if not has_accuracy:
        what = "size and latency"
    note = (
        f"Filled: on the frontier, as no other file is as good in {what} and better in one of them. "
        "Milliseconds a token are 1000 / decode tokens a second."
    )
    note += " The percentage is strict-match accuracy." if has_accuracy else ""
    header = ["file", "size", "ms a token", *(["strict-match"] if has_accuracy else []), "on the frontier"]
    return Drawing(_safe(device_figures.pareto(files, name, title)), header, rows, title, note)


def _memory(files: Sequence[File], report: Report, name: str, title: str) -> Drawing:
    limits: dict[int, list[str]] = {}
    for verdict in report.verdicts:
        for line in verdict.lines or []:
            if line.term == "rss_bytes" and verdict.device not in limits.get(round(line.limit), []):
                limits.setdefault(round(line.limit), []).append(verdict.device)
    rows = []
    for file in files:
        parts = device_figures.parts(file.measured)
        cells = [notation.size(parts.get(part)) for part in ("mapped", "rest")]
        rows.append([file.label, notation.size(file.measured.peak_rss_bytes), *cells])
    note = "Of the child process alone."
    if any(file.measured.mapped_bytes is not None for file in files):
        note += (
            " The hatched part is mapped from files: the system may drop it and read it again. The rest (key-value "
            "cache, buffers, program) must stay."
        )
    svg = _safe(device_figures.memory(files, limits, name, title))
    return Drawing(svg, ["file", "peak", "mapped", "the rest"], rows, title, note)


def _sweep(files: Sequence[File], name: str, title: str) -> Drawing:
    rows = [
        [file.label, str(swept.threads), rate(swept.tg_tok_s), rate(swept.pp_tok_s)]
        for file in files
        for swept in sorted(file.measured.sweep, key=lambda swept: swept.threads)
    ]
    header = ["file", "threads", "decode, tok/s", "prefill, tok/s"]
    note = "Medians. Filled: the number of threads that all other figures were measured with."
    return Drawing(_safe(device_figures.sweep(files, name, title)), header, rows, title, note)


def _safe(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)
