"""Graded answers of every arm and file: accuracies with Wilson intervals, and paired comparisons."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import BaseModel

from arte import arms, tasks
from arte.recipe import Arm, Recipe
from arte.report.contract import METRICS, Accuracy, Comparison, Metric
from arte.report.files import parsed
from arte.report.statistics import paired_bootstrap, wilson


class Sample(BaseModel):
    """A line of samples.jsonl, as far as the report needs it."""

    id: str
    task: str | None = None
    slice: str
    steps: int | None = None
    strict_correct: bool
    flexible_correct: bool
    chosen_correct: bool | None = None
    chosen_norm_correct: bool | None = None

    def has(self, metric: Metric) -> bool:
        """Whether it was judged so."""
        return self._value(metric) is not None

    def correct(self, metric: Metric) -> bool:
        return bool(self._value(metric))

    def _value(self, metric: Metric) -> bool | None:
        return {
            "strict-match": self.strict_correct,
            "flexible-extract": self.flexible_correct,
            "acc": self.chosen_correct,
            "acc_norm": self.chosen_norm_correct,
        }[metric]


class Samples(NamedTuple):
    """Graded answers of the torch students by arm, and of the device files by file name."""

    arms: dict[str, list[Sample]]
    files: dict[str, list[Sample]]


def read_samples(run: Path, recipe: Recipe, files: list[str]) -> Samples:
    """What evaluate and export left in `run`."""
    arms = {arm: parsed(run / "evaluate" / arm / "samples.jsonl", Sample) for arm in recipe.arms}
    graded = {file: parsed(run / "export" / f"{file}.samples.jsonl", Sample) for file in files}
    return Samples(
        {arm: rows for arm, rows in arms.items() if rows}, {file: rows for file, rows in graded.items() if rows}
    )


def accuracies(samples: Samples, recipe: Recipe, student_arm: str | None) -> list[Accuracy]:
    """A row for every arm or file, slice and metric that has samples."""
    graded = [(arm, "model", rows) for arm, rows in samples.arms.items()]
    graded += [(student_arm or "arte", file, rows) for file, rows in samples.files.items()]
    return [
        accuracy
        for arm, artefact, rows in graded
        for name, part in _slices(rows)
        for metric in METRICS
        if (accuracy := _accuracy(arm, artefact, tasks.called(recipe.task.name), metric, name, part)) is not None
    ]


def comparisons(samples: Samples, recipe: Recipe, student_arm: str | None) -> list[Comparison]:
    """Arm against arm, and every file against the torch student it came from, on the items that both answered."""
    pairs: list[tuple[str, str, list[Sample], list[Sample]]] = [
        (a, b, samples.arms[a], samples.arms[b]) for a, b in arms.comparisons(cast("list[Arm]", [*samples.arms]))
    ]
    if student_arm in samples.arms:
        pairs += [(file, student_arm, rows, samples.arms[student_arm]) for file, rows in samples.files.items()]
    return [
        comparison
        for a, b, rows_a, rows_b in pairs
        for name in ("test", "unseen")
        for metric in METRICS
        if (comparison := _comparison(a, b, metric, name, rows_a, rows_b, recipe.seed)) is not None
    ]


def _slices(rows: list[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    """The test items, the unseen ones, and the test items by number of steps and by task where there are several."""
    test = [row for row in rows if row.slice == "test"]
    yield "test", test
    yield "unseen", [row for row in rows if row.slice == "unseen"]
    steps = sorted({row.steps for row in test if row.steps is not None})
    if len(steps) > 1:
        for number in steps:
            yield f"steps={number}", [row for row in test if row.steps == number]
    several = {row.task: None for row in test}
    if len(several) > 1:
        for task in several:
            yield f"task={task}", [row for row in test if row.task == task]


def _accuracy(arm: str, artefact: str, task: str, metric: Metric, name: str, rows: list[Sample]) -> Accuracy | None:
    rows = [row for row in rows if row.has(metric)]
    correct = sum(row.correct(metric) for row in rows)
    interval = wilson(correct, len(rows))
    if interval is None:
        return None
    return Accuracy(
        arm=arm,
        artefact=artefact,
        task=task,
        metric=metric,
        slice=name,
        n=len(rows),
        correct=correct,
        accuracy=correct / len(rows),
        ci95=interval,
    )


def _comparison(
    a: str, b: str, metric: Metric, name: str, rows_a: list[Sample], rows_b: list[Sample], seed: int
) -> Comparison | None:
    by_id = {row.id: row for row in rows_b if row.slice == name and row.has(metric)}
    both = [(row, by_id[row.id]) for row in rows_a if row.slice == name and row.id in by_id and row.has(metric)]
    found = paired_bootstrap(
        [row.correct(metric) for row, _ in both], [row.correct(metric) for _, row in both], seed=seed
    )
    if found is None:
        return None
    return Comparison(
        a=a,
        b=b,
        metric=metric,
        slice=name,
        n=len(both),
        difference=found.difference,
        ci95=found.ci95,
        p=found.p,
    )
