"""lm-eval's own tasks, as every arm's student answered them, and what training changed."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from arte.arms import in_order
from arte.recipe import Recipe
from arte.report.files import parsed
from arte.report.scores import LmScore
from arte.report.statistics import paired_bootstrap
from arte.stages.lm_tasks import Document, TaskScore

Key = tuple[str, str, str]
"""Task, metric, filter."""


def lm_scores(run: Path, recipe: Recipe) -> list[LmScore]:
    """Every score of every arm, task by task; with the change from the untrained student where a score is a mean over
    the documents, which both answered."""
    if not recipe.evaluate.tasks:
        return []
    arms = in_order(recipe.arms)
    scores = {arm: parsed(run / "evaluate-tasks" / arm / "tasks.jsonl", TaskScore) for arm in arms}
    values = {arm: _values(parsed(run / "evaluate-tasks" / arm / "documents.jsonl", Document)) for arm in arms}
    before = values.get("untrained", {})
    found = []
    for key in dict.fromkeys(_key(score) for those in scores.values() for score in those):
        for arm, those in scores.items():
            for score in those:
                if _key(score) == key:
                    change = None if arm == "untrained" else _change(score, values[arm], before, recipe.seed)
                    found.append(LmScore(arm=arm, **score.model_dump(), **(change or {})))
    return found


def _key(score: TaskScore) -> Key:
    return score.task, score.metric, score.filter


def _values(documents: Sequence[Document]) -> dict[Key, dict[int, float]]:
    found: dict[Key, dict[int, float]] = defaultdict(dict)
    for row in documents:
        for metric, value in row.scores.items():
            found[row.task, metric, row.filter][row.document] = value
    return found


def _change(
    score: TaskScore, after: dict[Key, dict[int, float]], before: dict[Key, dict[int, float]], seed: int
) -> dict[str, object] | None:
    mine, theirs = after.get(_key(score), {}), before.get(_key(score), {})
    if score.value is None or not mine or mine.keys() != theirs.keys():
        return None
    if abs(fmean(mine.values()) - score.value) > 1e-9:  # no mean over the documents
        return None
    order = sorted(mine)
    found = paired_bootstrap([mine[place] for place in order], [theirs[place] for place in order], seed=seed)
    return None if found is None else {"change": found.difference, "change_ci95": found.ci95}
