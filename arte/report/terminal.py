"""The end of a terminal run: a table, one sentence, three commands."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from arte.recipe import SCALES, STAGES
from arte.report.contract import Report
from arte.report.notation import interval, nats, nats_interval, percent, size, whole
from arte.report.statistics import Spread
from arte.report.words import file_name, sentence, task_title

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["next_commands", "sentence", "table"]


def table(report: Report) -> "Table":
    """Accuracy (or loss) of every arm, then accuracy, size and speed of every device file."""
    from rich.table import Table
    from rich.text import Text

    out = Table(title=Text(f"{report.recipe} at scale {report.scale}, on {task_title(report)}"), title_justify="left")
    out.add_column("")
    metrics = ("loss\nnats/tok", "95 %") if report.losses else ("strict", "95 %", "flexible")
    for title in (*metrics, "size", "prefill\ntok/s", "decode\ntok/s"):
        out.add_column(title, justify="right")
    for arm in report.arms:
        weights = report.model_bytes if arm == report.student_arm else None
        out.add_row(Text(arm), *_shares(report, arm, "model"), size(weights), "–", "–")
    for artefact in report.artefacts:
        measured = report.measured(artefact.file)
        out.add_row(
            Text(f"{artefact.format} {artefact.scheme}"),
            *_shares(report, report.student_arm or "arte", artefact.file),
            size(artefact.bytes),
            _median(measured.pp_tok_s if measured else None),
            _median(measured.tg_tok_s if measured else None),
        )
    return out


def _median(spread: Spread | None) -> str:
    return whole(spread.median if spread else None)


def _shares(report: Report, arm: str, artefact: str) -> tuple[str, ...]:
    if report.losses:  # files have none; their parity has the ratio of perplexities
        lost = report.lost(arm) if artefact == "model" else None
        return (nats(lost.loss), nats_interval(lost.ci95)) if lost else ("–", "–")
    strict = report.found(arm, artefact)
    flexible = report.found(arm, artefact, "flexible-extract")
    return (
        percent(strict.accuracy) if strict else "–",
        interval(strict.ci95) if strict else "–",
        percent(flexible.accuracy) if flexible else "–",
    )


def next_commands(report: Report, run_folder: Path) -> list[str]:
    """The three commands that one would want next, ready to paste."""
    folder = quote(str(run_folder))
    same = f"arte recipe {quote(report.recipe)} --scale {report.scale}"
    redo = f"arte report {folder}"
    larger = SCALES[min(SCALES.index(report.scale) + 1, len(SCALES) - 1)] if report.scale in SCALES else "gpu"
    plan = f"arte plan {quote(report.recipe)} --scale {larger}"
    ended = {stage.name.split("/")[0] for stage in report.stages}
    if not set(STAGES) - {"report"} <= ended:
        return [f"{same} --out {folder}", redo, plan]
    if any(artefact.format == "gguf" for artefact in report.artefacts):
        name = quote(file_name(report))
        return [f"ollama create {name} -f {quote(str(run_folder / 'Modelfile'))} && ollama run {name}", redo, plan]
    model = quote(str(run_folder / "distill" / (report.student_arm or "arte") / "model"))
    return [f"arte export {model} --to gguf:q4_k_m", redo, plan]
