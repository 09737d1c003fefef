"""Several tasks in one run: their items side by side, each asked and read as its own task does it.

As in the paper, which elicits from, and aligns and trains on, 23 groups of BIG-Bench Hard at once (section 4.1). Counts
of the recipe (seeds, probes, test items, questions, pairs) are of each task; only what a student is trained on is
counted in all.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from arte import recipe
from arte.errors import DataError
from arte.rows import Example, Item, OfTask
from arte.tasks.task import Splits, Task

LISTED = 7
"""Tasks that are named one by one."""
Row = TypeVar("Row", bound=OfTask)
Any_ = TypeVar("Any_")


class Mixture:
    """Tasks of different names. Raises DataError where two are alike in it, or where answers of some are open."""

    def __init__(self, name: str, tasks: Sequence[Task]) -> None:
        self.name = name
        self.tasks = {task.name: task for task in tasks}
        if len(self.tasks) < len(tasks):
            name = Counter(task.name for task in tasks).most_common(1)[0][0]
            raise DataError(f"{self.name}: two tasks are called {name}; name each once, and folders differently")
        self.open_ended = all(task.open_ended for task in tasks)
        if any(task.open_ended for task in tasks) and not self.open_ended:
            raise DataError(
                f"{self.name}: answers of {_named_where(tasks, True)} are open, and those of "
                f"{_named_where(tasks, False)} right or wrong; a run judges students by one measure, so take them in "
                "two runs"
            )
        self.about = f"{len(tasks)} tasks in one run{': ' + ', '.join(self.tasks) if len(tasks) <= LISTED else ''}."
        self.data_source = _joined(task.data_source for task in tasks)
        self.licence = _joined(task.licence for task in tasks)
        self.identity = "+".join(task.identity for task in tasks if task.identity)

    def of(self, row: OfTask) -> Task:
        """Raises DataError where the row is of none of these tasks."""
        if row.task not in self.tasks:
            raise DataError(f"a row is of the task {row.task}, expected one of {', '.join(self.tasks)}")
        return self.tasks[row.task]

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """As many items of each task as the settings say, the tasks in turns, so that any first part has equal shares.

        `settings.data` is the folder of each task's data, or holds one of the task's name. Raises DataError, also where
        a test item of one task is a seed or a probe of another.
        """
        lists: list[list[Item]] = [[] for _ in Splits._fields]
        for name, task in self.tasks.items():
            here = Path(settings.data or "", name).expanduser()
            data = str(here) if settings.data is not None and here.is_dir() else settings.data
            splits = task.splits(settings.model_copy(update={"name": name, "data": data}), seed)
            for together, items in zip(lists, splits, strict=True):
                together += [_named(item, name) for item in items]
        found = Splits(*map(_turns, lists))
        shown = {item.question: item.id for item in (*found.seeds, *found.probes)}
        for item in (*found.test, *found.unseen):
            if item.question in shown:
                raise DataError(
                    f"{self.name}: the test item {item.id} is the seed or probe {shown[item.question]} too; tasks that "
                    "share problems cannot be in one run"
                )
        return found

    def test_items(self) -> int:
        return sum(task.test_items() for task in self.tasks.values())

    def exercises(self, count: int, seeds: Sequence[Item], draw: random.Random) -> list[Example]:
        """Raises DataError where there should be some."""
        if count:
            raise DataError(f"{self.name}: has no exercises; set distill.exercises and distill.rehearsed to 0")
        return []


def by_task(rows: Iterable[Row]) -> dict[str | None, list[Row]]:
    """The rows of each task, in the order in which tasks come first; of a run over one task all under None."""
    return grouped(rows, lambda row: row.task)


def grouped(rows: Iterable[Any_], task: Callable[[Any_], str | None]) -> dict[str | None, list[Any_]]:
    """As by_task, of what has its task elsewhere."""
    found: dict[str | None, list[Any_]] = {}
    for row in rows:
        found.setdefault(task(row), []).append(row)
    return found


def first_of_each(rows: Iterable[Row], count: int) -> list[Row]:
    """The first `count` rows of each task, in their order."""
    seen: Counter[str | None] = Counter()
    kept = []
    for row in rows:
        if seen[row.task] < count:
            kept.append(row)
        seen[row.task] += 1
    return kept


def _turns(items: list[Item]) -> list[Item]:
    turns = zip_longest(*by_task(items).values())
    return [item for turn in turns for item in turn if item is not None]


def _named(item: Item, task: str) -> Item:
    """With an id that no other task has."""
    own = item.id if item.id.startswith(task) else f"{task}:{item.id}"
    return item.model_copy(update={"task": task, "id": own})


def _named_where(tasks: Sequence[Task], open_ended: bool) -> str:
    return ", ".join(task.name for task in tasks if task.open_ended is open_ended)


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
