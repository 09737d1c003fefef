"""What is taught: where a task's items come from, how teacher and student are asked, how answers are read.

A task has a name that is known here, or is a folder with a task.yaml (arte.tasks.folder_task). A run teaches one, or
several: a group (`bbh`, `bbh/Logic`), or names with commas between them, as for lm-eval's --tasks.

task = tasks.load("starter")
seeds, probes, test, unseen = task.splits(recipe.Task(name="starter"), seed=0)
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from arte.errors import UnknownName
from arte.tasks.bbh import GROUPS, Bbh
from arte.tasks.bbh_prompts import TOLD
from arte.tasks.choices import SOURCES, Choices
from arte.tasks.definition import FILE
from arte.tasks.folder_task import FolderTask
from arte.tasks.gsm8k import Gsm8k, Gsm8kPlatinum, GsmPlus
from arte.tasks.mixture import Mixture
from arte.tasks.starter import Starter
from arte.tasks.task import Draft, Message, Splits, Task, Taught

__all__ = ["GROUPS", "NAMES", "Draft", "Message", "Splits", "Task", "Taught", "called", "load", "named", "taught"]

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
    """What a task, or several, are called in reports: by name, or by that of their folder."""
    if name in GROUPS:
        return name
    return ",".join(each if each in (*NAMES, *GROUPS) else Path(each).name for each in _parted(name))


def named(name: str) -> list[str]:
    """The tasks that a name stands for: itself, those of a group, or those with commas between them."""
    return [each for part in _parted(name) for each in GROUPS.get(part, (part,))]


def taught(name: str) -> Taught:
    """The task called `name`, or all that it stands for. Raises what `load` raises, DataError where one is there
    twice."""
    names = named(name)
    return load(name) if names == [name] else Mixture(called(name), [load(each) for each in names])


def load(name: str) -> Task:
    """The one task called `name`, or that of a folder. Raises UnknownName, and DataError where the folder's is
    broken."""
    if name in _TASKS:
        return _TASKS[name]()
    folder = Path(name).expanduser()
    if (folder / FILE).is_file():
        return FolderTask(folder)
    if folder.is_dir():
        raise UnknownName(f"task (the folder {folder} has no {FILE})", name, [*NAMES, *GROUPS])
    raise UnknownName("task", name, [*NAMES, *GROUPS])


def _parted(name: str) -> list[str]:
    """A folder may have a comma in its name."""
    return [name] if Path(name).expanduser().is_dir() else [part.strip() for part in name.split(",")]
