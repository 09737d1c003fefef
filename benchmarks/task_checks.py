"""What a task's own checks cost, without a model: python -m benchmarks.task_checks [BBH_FOLDER]

For each task, milliseconds an item for reading a reply strictly and flexibly, judging it, finding its fault, and
parsing a teacher's list; median of five rounds over the same replies. The aim is 1 ms.
"""

import sys
import time
from pathlib import Path
from statistics import median

from arte import recipe, tasks
from arte.rows import Item
from arte.tasks import Draft, Task
from arte.tasks.bbh import Bbh
from arte.tasks.bbh_prompts import TOLD

ROUNDS = 5
ITEMS = 200
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "smart-home"


def main() -> None:
    """Prints a line a task, slowest last."""
    asked: list[tuple[Task, list[Item]]] = []
    for name, settings in (
        ("starter", recipe.Task(name="starter", seeds=8, probes=8, test=ITEMS)),
        (str(EXAMPLE), recipe.Task(name=str(EXAMPLE), seeds=8, probes=8, test=ITEMS)),
    ):
        task = tasks.load(name)
        asked.append((task, task.splits(settings, 0).test))
    for subtask in TOLD if len(sys.argv) > 1 else ():
        one = Bbh(subtask)
        asked.append((one, one.items(sys.argv[1])[:ITEMS]))
    found = sorted((milliseconds(task, items), task.name, len(items)) for task, items in asked)
    for spent, name, count in found:
        print(f"{name:48s} {count} items  {spent:.3f} ms an item")  # noqa: T201


def milliseconds(task: Task, items: list[Item]) -> float:
    """Of all checks of an item, once each."""
    replies = [task.completion(item.rationale or "Because of that.", item.answer) for item in items]
    drafts = [Draft(item.question, item.rationale or None, item.answer) for item in items]
    prompt = task.question_prompt(items[:3], 1)
    lists = [task.question_reply(prompt, [draft]) for draft in drafts]
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for item, reply, listed in zip(items, replies, lists, strict=True):
            assert task.right(task.strict(reply), item.answer)
            task.flexible(reply)
            task.fault(reply, item.answer)
            task.parse_questions(listed)
        spent.append((time.perf_counter() - began) / len(items))
    return 1000 * median(spent)


if __name__ == "__main__":
    main()
