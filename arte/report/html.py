"""report.html: one page that holds everything, asks nothing of the network and runs no script.

Drafts are a model's output and names are a user's: the template escapes all of them; only our own SVG is let through.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from arte.report import device_drawings, devices_table, figures, notation, task_table, words
from arte.report.contract import Curve, Report, Stage
from arte.report.figures import Drawing
from arte.report.statistics import Spread
from arte.rows import REASONS
from arte.stage_record import stage_of

Number = TypeVar("Number", int, float)

_BINS = 24
_CURVE_POINTS = 60
_METRIC_TITLES = {
    "loss": "loss",
    "rewards/accuracies": "pairs ranked as the student ranks them",
    "rewards/margins": "reward margin",
}
_AXIS_LABELS = {"rewards/accuracies": "share of pairs"}
_SCORE_UNITS = {
    "logprob": "gain in log-probability of the gold solution (nats a token)",
    "accuracy": "share of probes answered",
    "influence": "fall of the loss on the gold solution (nats a token)",
    "influence_first_order": "fall of the loss on the gold solution by gradients (nats a token)",
    "likelihood": "log-probability of the draft itself (nats a token)",
    "rank_surprisal": "rank-surprisal ratio of the draft itself, negated",
}
_AS_EXAMPLE = "Each draft stood as the one worked example before"
_SCORE_WAYS = {
    "logprob": _AS_EXAMPLE,
    "accuracy": _AS_EXAMPLE,
    "influence": "A warmed-up student took one step of training on each draft, put back after it, and was asked",
    "influence_first_order": "A warmed-up student's step on each draft was held, by its gradients, against",
}


def by_stage(done: Sequence[Stage]) -> list[Stage]:
    """One row a stage: those of its arms or scores together, the largest memory of any."""
    found: dict[str, list[Stage]] = {}
    for row in done:
        found.setdefault(stage_of(row.name), []).append(row)
    return [
        Stage(
            name=name if len(rows) == 1 else f"{name} ({len(rows)})",
            seconds=_total(row.seconds for row in rows),
            kept=all(row.kept for row in rows),
            tokens_in=_total(row.tokens_in for row in rows),
            tokens_out=_total(row.tokens_out for row in rows),
            peak_rss_bytes=max((row.peak_rss_bytes for row in rows if row.peak_rss_bytes is not None), default=None),
        )
        for name, rows in found.items()
    ]


def _total(values: Iterable[Number | None]) -> Number | None:
    """The sum of what is known; null where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def page(report: Report) -> str:
    """The HTML of the report."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": notation.percent,
        "points": notation.points,
        "interval": notation.interval,
        "size": notation.size,
        "whole": notation.whole,
        "duration": notation.duration,
        "signed": notation.signed,
        "nats": notation.nats,
        "nats_interval": notation.nats_interval,
        "together": notation.together,
    }
    return environment.get_template("report.html").render(
        report=report,
        words=words,
        notation=notation,
        reasons=REASONS,
        sentence=words.sentence(report),
        losses=report.losses,
        torch_rows=[row for row in report.accuracy if row.artefact == "model"],
        by_task=task_table.table(report),
        strict_rows=_strict(report),
        has_options=any(row.metric == "acc" for row in report.accuracy),
        accuracy_figure=_accuracy(report),
        losses_figure=_losses(report),
        scores_figure=_scores(report),
        scores_spread=Spread.of(report.preference.draft_scores) if report.preference else None,
        score_way=_SCORE_WAYS.get(report.preference.score) if report.preference else None,
        score_unit=_SCORE_UNITS.get(report.preference.score, report.preference.score) if report.preference else "",
        training_figures=_training(report),
        device_drawings=device_drawings.drawings(report),
        latency=devices_table.latency(report),
        rates=devices_table.rates(report),
        budgets=devices_table.budgets(report),
        unsteady=devices_table.unsteady(report),
        ttft_definition=devices_table.ttft_definition(report),
        compared=words.arm_comparisons(report),
        planned={entry.stage: entry for entry in report.plan},
        stages=by_stage(report.stages),
        settings=_flat(report.settings),
        limitations=words.limitations(report),
    )


def thin(curve: Curve, count: int = _CURVE_POINTS) -> Curve:
    """At most `count` points of the curve, evenly spread, first and last among them."""
    size = len(curve.steps)
    if size <= count:
        return curve
    places = [round(place * (size - 1) / (count - 1)) for place in range(count)]
    return curve.model_copy(
        update={"steps": [curve.steps[place] for place in places], "values": [curve.values[place] for place in places]}
    )


def _strict(report: Report) -> list[Any]:
    """Without the tasks of a run over several, which have a table of their own."""
    found = [row for row in report.accuracy if row.artefact == "model" and row.metric == "strict-match"]
    return [row for row in found if not row.slice.startswith(words.OF_TASK)]


def _accuracy(report: Report) -> Any:
    from markupsafe import Markup

    rows = _strict(report)
    return Markup(figures.accuracy(rows)) if rows else None


def _losses(report: Report) -> Any:
    from markupsafe import Markup

    return Markup(figures.losses(report.data.teachers)) if report.data and report.data.drafted else None


def _scores(report: Report) -> Drawing | None:
    import numpy as np
    from markupsafe import Markup

    if report.preference is None or not report.preference.draft_scores:
        return None
    values = report.preference.draft_scores
    counts, edges = np.histogram(values, bins=min(_BINS, max(4, round(len(values) ** 0.5 * 1.5))))
    unit = _SCORE_UNITS.get(report.preference.score, report.preference.score)
    rows = [
        [f"{notation.signed(low, 3)} to {notation.signed(high, 3)}", str(count)]
        for low, high, count in zip(edges.tolist(), edges.tolist()[1:], counts.tolist(), strict=False)
    ]
    svg = Markup(figures.scores(counts.tolist(), edges.tolist(), unit))
    return Drawing(svg, ["score", "drafts"], rows, "Drafts by score")


def _training(report: Report) -> list[Drawing]:
    drawings = []
    for stage, title in (("align", "Aligning the teacher (DPO)"), ("distill", "Training the student (SFT)")):
        for metric in dict.fromkeys(curve.metric for curve in report.training if curve.stage == stage):
            found = [thin(curve) for curve in report.training if (curve.stage, curve.metric) == (stage, metric)]
            label = _METRIC_TITLES.get(metric, metric)
            drawings.append(_drawing(found, f"{stage}-{metric.replace('/', '-')}", f"{title}: {label}", label))
    return drawings


def _drawing(found: Sequence[Curve], name: str, title: str, label: str) -> Drawing:
    from markupsafe import Markup

    steps = sorted({step for curve in found for step in curve.steps})
    columns = [dict(zip(curve.steps, curve.values, strict=True)) for curve in found]
    rows = [[str(step), *(_number(column.get(step)) for column in columns)] for step in steps]
    header = ["step", *(curve.arm or label for curve in found)]
    return Drawing(
        Markup(figures.curves(found, name, title, _AXIS_LABELS.get(found[0].metric, label))), header, rows, title
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """`dotted.key`, value: as they are written on the command line."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((prefix + key, {"None": "null", "True": "true", "False": "false"}.get(text, text)))
    return rows
