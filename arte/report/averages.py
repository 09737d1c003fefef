"""Means over the tasks of a run over several: of BIG-Bench Hard by family and over all its groups, as in the paper's
tables (2 and 5); of others over all tasks, each with equal weight. There is none by a metric that one of its tasks has
not."""

from collections.abc import Sequence
from statistics import fmean
from typing import cast, get_args

from arte import arms
from arte.recipe import Arm
from arte.report.graded import Sample, Samples
from arte.report.scores import MEAN, METRICS, Average, Compared, Comparison, Loss
from arte.report.statistics import bootstrap_within, wilson
from arte.tasks.bbh import family_weights
from arte.tasks.mixture import grouped

BBH = "bbh/"


def weights(names: Sequence[str]) -> dict[str, dict[str, float]]:
    """By the name of a mean, what each task weighs in it; none where there is one task."""
    if len(names) < 2:
        return {}
    if all(task.startswith(BBH) for task in names):
        families = family_weights([task.removeprefix(BBH) for task in names])
        return {name: {BBH + task: share for task, share in those.items()} for name, those in families.items()}
    return {MEAN: {task: 1 / len(names) for task in names}}


def averages(samples: Samples, student_arm: str | None) -> list[Average]:
    """For every arm or file and metric, on the test items."""
    graded = [(arm, "model", rows) for arm, rows in samples.arms.items()]
    graded += [(student_arm or "arte", file, rows) for file, rows in samples.files.items()]
    found = []
    for arm, artefact, rows in graded:
        parts = _parts(rows)
        for metric in METRICS:
            values = {task: _values(those, metric) for task, those in parts.items()}
            for name, shares in weights([*parts]).items():
                if not all(values[task] for task in shares):
                    continue
                accuracy = sum(share * fmean(values[task]) for task, share in shares.items())
                # As many items as would tell a plain share as well (Kish 1965): Wilson's interval, which is not empty
                # where all is wrong; that tasks differ among themselves would make it narrower.
                size = 1 / sum(share**2 / len(values[task]) for task, share in shares.items())
                interval = wilson(min(accuracy * size, size), size)
                assert interval is not None
                found.append(
                    Average(
                        arm=arm,
                        artefact=artefact,
                        metric=metric,
                        name=name,
                        tasks=len(shares),
                        n=sum(len(values[task]) for task in shares),
                        accuracy=accuracy,
                        ci95=interval,
                    )
                )
    return found


def losses(samples: Samples, called: str, seed: int) -> list[Loss]:
    """For every arm, on the test items of tasks with open answers, `called` so together; items are drawn anew within
    each task."""
    found = []
    for arm, rows in samples.arms.items():
        parts = _parts(rows)
        values = {task: _values(those, "loss") for task, those in parts.items()}
        for name, shares in weights([*parts]).items():
            if not all(values[task] for task in shares):
                continue
            mean = bootstrap_within([(share, values[task]) for task, share in shares.items()], seed=seed)
            found.append(
                Loss(
                    arm=arm,
                    task=called,
                    slice=name,
                    n=sum(len(values[task]) for task in shares),
                    tokens=sum(row.tokens for task in shares for row in parts[task]),
                    loss=mean.difference,
                    ci95=mean.ci95,
                )
            )
    return found


def comparisons(samples: Samples, seed: int) -> list[Comparison]:
    """Arm against arm in every mean: differences on the same items, drawn anew within each task."""
    found = []
    for a, b in arms.comparisons(cast("list[Arm]", [*samples.arms])):
        ours, theirs = _parts(samples.arms[a]), _parts(samples.arms[b])
        if any([row.id for row in ours[task]] != [row.id for row in theirs.get(task, [])] for task in ours):
            continue
        for name, shares in weights([*ours]).items():
            for metric in get_args(Compared):
                parts = [(share, _differences(ours[task], theirs[task], metric)) for task, share in shares.items()]
                if not all(values for _, values in parts):
                    continue
                difference = bootstrap_within(parts, seed=seed)
                found.append(
                    Comparison(
                        a=a,
                        b=b,
                        metric=metric,
                        slice=name,
                        n=sum(len(values) for _, values in parts),
                        difference=difference.difference,
                        ci95=difference.ci95,
                        p=difference.p,
                        test="paired bootstrap within tasks",
                    )
                )
    return found


def _values(rows: Sequence[Sample], metric: Compared) -> list[float]:
    return [value for row in rows if (value := row.value(metric)) is not None]


def _differences(ours: Sequence[Sample], theirs: Sequence[Sample], metric: Compared) -> list[float]:
    """On the items that were judged so of both."""
    values = [(x.value(metric), y.value(metric)) for x, y in zip(ours, theirs, strict=True)]
    return [a - b for a, b in values if a is not None and b is not None]


def _parts(rows: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Test items by their task, in the order of their ids; nothing in a run over one task."""
    test = sorted((row for row in rows if row.slice == "test"), key=lambda row: row.id)
    return {task: those for task, those in grouped(test, lambda row: row.task).items() if task is not None}
