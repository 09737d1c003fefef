"""Graded answers of every arm and file: accuracies with Wilson intervals, and paired comparisons. Where answers are
open: losses of every arm, and their paired differences."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, Self, cast, get_args

from pydantic import BaseModel, model_validator

from arte import arms, tasks
from arte.recipe import Arm, Recipe
from arte.report.files import parsed
from arte.report.scores import METRICS, Accuracy, Compared, Comparison, Loss, Metric
from arte.report.statistics import mean_interval, paired_bootstrap, wilson


class Sample(BaseModel):
    """A line of samples.jsonl, as far as the report needs it: marks, or a loss where answers are open."""

    id: str
    task: str | None = None
    slice: str
    steps: int | None = None
    strict_correct: bool | None = None
    flexible_correct: bool | None = None
    chosen_correct: bool | None = None
    chosen_norm_correct: bool | None = None
    loss: float | None = None
    tokens: int = 0

    @model_validator(mode="after")
    def _has_either(self) -> Self:
        missing = [name for name in ("strict_correct", "flexible_correct") if getattr(self, name) is None]
        if missing and self.loss is None:
            raise ValueError(f"{' and '.join(missing)} missing, and no loss in their place")
        return self

    def value(self, metric: Compared) -> float | None:
        """1 where the answer is right, else 0; or the loss. None where it was not judged so."""
        found: dict[Compared, float | None] = {
            "strict-match": self.strict_correct,
            "flexible-extract": self.flexible_correct,
            "acc": self.chosen_correct,
            "acc_norm": self.chosen_norm_correct,
            "loss": self.loss,
        }
        value = found[metric]
        return None if value is None else float(value)


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


def losses(samples: Samples, recipe: Recipe) -> list[Loss]:
    """A row for every arm and slice whose samples have losses."""
    return [
        Loss(
            arm=arm,
            task=tasks.called(recipe.task.name),
            slice=name,
            n=len(part),
            tokens=sum(row.tokens for row in part),
            loss=fmean(values),
            ci95=mean_interval(values, recipe.seed),
        )
        for arm, rows in samples.arms.items()
        for name, part in _slices(rows)
        if (values := [row.loss for row in part if row.loss is not None])
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
        for metric in get_args(Compared)
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
    graded = [value for row in rows if (value := row.value(metric)) is not None]
    correct = round(sum(graded))
    interval = wilson(correct, len(graded))
    if interval is None:
        return None
    return Accuracy(
        arm=arm,
        artefact=artefact,
        task=task,
        metric=metric,
        slice=name,
        n=len(graded),
        correct=correct,
        accuracy=correct / len(graded),
        ci95=interval,
    )


def _comparison(
    a: str, b: str, metric: Compared, name: str, rows_a: list[Sample], rows_b: list[Sample], seed: int
) -> Comparison | None:
    values_a, values_b = (
        {row.id: value for row in rows if row.slice == name and (value := row.value(metric)) is not None}
        for rows in (rows_a, rows_b)
    )
    both = [(value, values_b[item]) for item, value in values_a.items() if item in values_b]
    found = paired_bootstrap([value for value, _ in both], [value for _, value in both], seed=seed)
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
