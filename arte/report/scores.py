"""What report.json says of students: accuracies or losses, means of them, differences, and scores of other tasks."""

from typing import Literal

from arte.report.parts import OpenPart, Part

Metric = Literal["strict-match", "flexible-extract", "acc", "acc_norm"]
METRICS: tuple[Metric, ...] = ("strict-match", "flexible-extract", "acc", "acc_norm")
"""The last two, of the likeliest option, only where a task has options."""
Compared = Literal[Metric, "loss"]
"""What two arms are compared by: shares of right answers, or nats a token of gold replies (less is better)."""
MEAN = "mean of tasks"
"""Of all tasks of a run, where they are no groups of BIG-Bench Hard."""


class Accuracy(Part):
    arm: str
    artefact: str
    """`model` for the torch student, else the name of the file."""
    task: str
    metric: Metric
    slice: str
    """`test`, `unseen` (templates met nowhere else), `steps=N`: the part of `test` that takes N operations, or
    `task=NAME`: the part that is of a task, in a run over several."""
    n: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]


class Loss(Part):
    """Of a torch student on the gold replies of a task with open answers, nats a token, the mean over its items."""

    arm: str
    task: str
    slice: str
    """An accuracy's, or the name of a mean over tasks."""
    n: int
    tokens: int
    """Of all gold replies."""
    loss: float
    ci95: tuple[float, float]


class Average(Part):
    """A mean of accuracies over tasks, on `test`."""

    arm: str
    artefact: str
    metric: Metric
    name: str
    """Of BIG-Bench Hard a family (`Logic`), or `BBH`: all its groups. Of other tasks `mean of tasks`."""
    tasks: int
    n: int
    """Items, all tasks together."""
    accuracy: float
    ci95: tuple[float, float]


class Comparison(Part):
    """a − b on the same items. `a` or `b` is an arm, or the name of a file (against the torch student it came from).
    `slice` is an accuracy's, or the name of a mean over tasks."""

    a: str
    b: str
    metric: Compared
    slice: str
    n: int
    difference: float
    """Of shares; of losses in nats a token, so that below zero a is the better."""
    ci95: tuple[float, float]
    p: float
    test: str = "paired bootstrap"


class LmScore(OpenPart):
    """A score of one of lm-eval's own tasks, as an arm's student answered it (arte.stages.lm_tasks)."""

    arm: str
    task: str
    metric: str
    filter: str
    value: float | None
    standard_error: float | None
    n: int
    higher_is_better: bool | None
    source: str | None = None
    change: float | None = None
    """Minus the untrained student's, on the same documents; null for that one, and where it is no mean of theirs."""
    change_ci95: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """`gsm8k, exact_match (strict-match)`."""
        return f"{self.task}, {self.metric}" + ("" if self.filter == "none" else f" ({self.filter})")

    @property
    def verdict(self) -> str:
        """What the change is, beyond chance or not."""
        if self.change_ci95 is None:
            return "–"
        low, high = self.change_ci95
        if low <= 0 <= high:
            return "not shown"
        return "better" if (low > 0) == (self.higher_is_better is not False) else "worse"
