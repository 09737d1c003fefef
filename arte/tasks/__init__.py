"""What is taught: where a task's items come from, how teacher and student are asked, how answers are read.

task = tasks.load("starter")
seeds, probes, test, unseen = task.splits(recipe.Task(name="starter"), seed=0)
"""

from arte.errors import UnknownName
from arte.tasks.gsm8k import Gsm8k
from arte.tasks.starter import Starter
from arte.tasks.task import Draft, Message, Splits, Task

__all__ = ["NAMES", "Draft", "Message", "Splits", "Task", "load"]

_TASKS: dict[str, type[Gsm8k] | type[Starter]] = {"gsm8k": Gsm8k, "starter": Starter}
NAMES = tuple(_TASKS)


def load(name: str) -> Task:
    """The task called `name`. Raises UnknownName."""
    if name not in _TASKS:
        raise UnknownName("task", name, NAMES)
    return _TASKS[name]()
