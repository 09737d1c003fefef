"""Means over the tasks of a run over several: of BIG-Bench Hard by family and over all its groups, as in the paper's
tables (2 and 5); of others over all tasks, each with equal weight."""

from collections.abc import Sequence
from typing import cast

from arte import arms
from arte.recipe import Arm
from arte.report.contract import METRICS, Average, Comparison
from arte.report.graded import Sample, Samples
from arte.report.statistics import bootstrap_within, wilson
from arte.tasks.bbh import family_weights
from arte.tasks.mixture import grouped

BBH = "bbh/"


def weights(tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """By the name of a mean, what each task weighs in it; none where there is one task."""
    if len(tasks) < 2:
        return {}
    if all(task.startswith(BBH) for task in tasks):
        families = family_weights([task.removeprefix(BBH) for task in tasks])
        return {name: {BBH + task: share for task, share in those.items()} for name, those in families.items()}
    return {"mean of tasks": {task: 1 / len(tasks) for task in tasks}}


def averages(samples: Samples, student_arm: str | None) -> list[Average]:
    """For every arm or file and metric, on the test items."""
    graded = [(arm, "model", rows) for arm, rows in samples.arms.items()]
    graded += [(student_arm or "arte", file, rows) for file, rows in samples.files.items()]
    found = []
    for arm, artefact, rows in graded:
        parts = _parts(rows)
        for metric in METRICS:
            for name, shares in weights([*parts]).items():
                accuracy = sum(
                    share * sum(row.correct(metric) for row in parts[task]) / len(parts[task])
                    for task, share in shares.items()
                )
                # As many items as would tell a plain share as well (Kish 1965): Wilson's interval, which is not empty
                # where all is wrong; that tasks differ among themselves would make it narrower.
                size = 1 / sum(share**2 / len(parts[task]) for task, share in shares.items())
                interval = wilson(min(accuracy * size, size), size)
                assert interval is not None
                found.append(
                    Average(
                        arm=arm,
                        artefact=artefact,
                        metric=metric,
                        name=name,
                        tasks=len(shares),
                        n=sum(len(parts[task]) for task in shares),
                        accuracy=accuracy,
                        ci95=interval,
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
            for metric in METRICS:
                parts = [
                    (
                        share,
                        [
                            float(x.correct(metric)) - float(y.correct(metric))
                            for x, y in zip(ours[task], theirs[task], strict=True)
                        ],
                    )
                    for task, share in shares.items()
                ]
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


def _parts(rows: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Test items by their task, in the order of their ids; nothing in a run over one task."""
    test = sorted((row for row in rows if row.slice == "test"), key=lambda row: row.id)
    return {task: those for task, those in grouped(test, lambda row: row.task).items() if task is not None}
