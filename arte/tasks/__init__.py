"""What is taught: where a task's items come from, how teacher and student are asked, how answers are read.

A task has a name that is known here, or is a folder with a task.yaml (arte.tasks.folder_task).

task = tasks.load("starter")
seeds, probes, test, unseen = task.splits(recipe.Task(name="starter"), seed=0)
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from arte.errors import UnknownName
from arte.tasks.bbh import Bbh
from arte.tasks.bbh_prompts import TOLD
from arte.tasks.choices import SOURCES, Choices
from arte.tasks.definition import FILE
from arte.tasks.folder_task import FolderTask
from arte.tasks.gsm8k import Gsm8k, Gsm8kPlatinum, GsmPlus
from arte.tasks.starter import Starter
from arte.tasks.task import Draft, Message, Splits, Task

__all__ = ["NAMES", "Draft", "Message", "Splits", "Task", "called", "load"]

_TASKS: dict[str, Callable[[], Task]] = {
    "gsm8k": Gsm8k,
    "starter": Starter,
    "gsm8k-platinum": Gsm8kPlatinum,
    "gsm-plus": GsmPlus,
    **{name: partial(Choices, name) for name in SOURCES},
    **{f"bbh/{subtask}": partial(Bbh, subtask) for subtask in TOLD},
}
NAMES = tuple(_TASKS)


def called(name: str) -> str:
    """What a task is called in reports: its name, or that of its folder."""
    return name if name in _TASKS else Path(name).name


def load(name: str) -> Task:
    """The task called `name`, or that of a folder. Raises UnknownName, and DataError where the folder's is broken."""
    if name in _TASKS:
        return _TASKS[name]()
    folder = Path(name).expanduser()
    if (folder / FILE).is_file():
        return FolderTask(folder)
    if folder.is_dir():
        raise UnknownName(f"task (the folder {folder} has no {FILE})", name, NAMES)
    raise UnknownName("task", name, NAMES)
