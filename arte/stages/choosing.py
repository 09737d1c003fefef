"""The examples of each arm: equally many, chosen at random or by the table of drafts × probes."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np

from arte.arms import Choice
from arte.preference.selection import choose, in_turns
from arte.rows import Example, Item, Question, Rationale, Score, read_rows
from arte.stages.prefer import as_example
from arte.tasks.mixture import grouped

Name = TypeVar("Name", bound=str)
UNCHECKED = ("inconsistent",)
"""Reasons that a draft may have fallen for and still be an example of an arm without checks: an answer was read, and
what was wrong with it is not known without the check. A duplicate or contaminated draft is never one."""


class Candidate(NamedTuple):
    """A draft that an arm may be trained on, and its values on the probes, if it was scored."""

    example: Example
    style: str
    values: dict[str, float]

    @property
    def score(self) -> float:
        """Mean over the probes."""
        return fmean(self.values.values())


def candidates(drafted: Path, scored: Path | None, choice: Choice, *, checked: bool) -> list[Candidate]:
    """The drafts of an elicit or tailor folder that an arm may choose from.

    `scored` is the folder of scores.jsonl. A choice by scores is among scored drafts only, one of each question: its
    best, or that of the style whose drafts have the highest mean among those of its task.
    """
    questions = {row.id: row for row in read_rows(drafted / "questions.jsonl", Question)}
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for score in read_rows(scored / "scores.jsonl", Score) if scored is not None else []:
        values[score.rationale_id][score.probe_id] = score.value
    usable = [
        row
        for row in read_rows(drafted / "rationales.jsonl", Rationale)
        if row.check.accepted or (not checked and row.check.reason in UNCHECKED and row.answer is not None)
    ]
    found = [Candidate(as_example(questions[row.question_id], row), row.style, values[row.id]) for row in usable]
    if choice == "random":
        return found
    known = [each for each in found if each.values]
    if choice == "style":
        styles = {task: preferred_style(those) for task, those in _by_task(known).items()}
        return [each for each in found if each.style == styles.get(each.example.task)]
    best: dict[str, Candidate] = {}
    for each in known:
        before = best.get(each.example.question)
        if before is None or each.score > before.score:
            best[each.example.question] = each
    return list(best.values())


def accepted_examples(drafted: Path) -> list[Example]:
    """Every accepted draft of an elicit or tailor folder, as a training example."""
    return [each.example for each in candidates(drafted, None, "random", checked=True)]


def preferred_style(scored: Sequence[Candidate]) -> str | None:
    """The style whose drafts have the highest mean score; of two alike, the first by name."""
    by_style: dict[str, list[float]] = defaultdict(list)
    for each in scored:
        by_style[each.style].append(each.score)
    return max(sorted(by_style), key=lambda style: fmean(by_style[style]), default=None)


def equal_share(arms: dict[Name, tuple[Choice, list[Candidate]]], most: int, seed: int) -> dict[Name, list[Example]]:
    """The same number of examples of every task for every arm: `most` in all, or as many as the poorest arm has.

    Tasks have equal shares, but what one has too few of, the others make up for. They come in turns.
    """
    parts = {arm: _by_task(those) for arm, (_, those) in arms.items()}
    fewest = {task: min(len(part.get(task, [])) for part in parts.values()) for part in parts.values() for task in part}
    listed = [task for task, count in fewest.items() for _ in range(count)]
    shares = Counter(listed[place] for place in in_turns(range(len(listed)), listed)[:most])
    return {
        arm: [
            example
            for turn in zip_longest(*(_chosen(choice, parts[arm][task], shares[task], seed) for task in shares))
            for example in turn
            if example is not None
        ]
        for arm, (choice, _) in arms.items()
    }


def _by_task(those: Sequence[Candidate]) -> dict[str | None, list[Candidate]]:
    return grouped(those, lambda each: each.example.task)


def _chosen(choice: Choice, those: Sequence[Candidate], count: int, seed: int) -> list[Example]:
    """Of one task."""
    return [those[place].example for place in _places(choice, those, count, seed)]


def _places(choice: Choice, those: Sequence[Candidate], count: int, seed: int) -> list[int]:
    if choice == "random" or choice == "style":
        return _by_turns([each.example.question for each in those], count, seed)
    probes = sorted({probe for each in those for probe in each.values})
    table = np.array([[each.values[probe] for probe in probes] for each in those])
    return choose(table, count, choice, seed)


def _by_turns(questions: Sequence[str], count: int, seed: int) -> list[int]:
    """Drawn at random, question by question in turn, so that none is repeated before all have been used."""
    shuffled = list(range(len(questions)))
    random.Random(f"examples-{seed}").shuffle(shuffled)
    return in_turns(shuffled, questions)[:count]


def item_as_example(item: Item) -> Example:
    """A problem of the task with its own solution, as a training example."""
    return Example(task=item.task, id=item.id, question=item.question, rationale=item.rationale, answer=item.answer)
