"""`arte task check FOLDER`: what teacher and student will read, and what is to be mended before a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rapidfuzz import fuzz, process, utils

from arte import config, preflight
from arte.errors import ArteError, DataError, RecipeError
from arte.generation import Message
from arte.recipe import Recipe
from arte.rows import Item
from arte.tasks.folder_task import SPLITS, FolderTask, Found, SplitName

ALIKE = 0.95
"""Similarity of words from which a test item is near to one that is trained on."""
FEWEST = {"seeds": 8, "validation": 16, "test": 100}
"""Items that a split should have; with fewer, what is measured says little."""
WHY = {
    "seeds": "the teacher's new items vary with what it is shown",
    "validation": "the student's preference among drafts is measured on them",
    "test": "accuracy over {count} items has a standard error of up to {error:.1f} points",
}


class Checked(NamedTuple):
    """What was found. `problems` stop a run, `warnings` do not; `prompts` are titles and chats."""

    counts: dict[SplitName, int]
    problems: list[str]
    warnings: list[str]
    prompts: list[tuple[str, list[Message]]]


def check(folder: Path) -> Checked:
    """Looks at every item of a task's folder. Raises DataError where task.yaml or a whole file cannot be read."""
    task = FolderTask(folder)
    found = {split: task.found(split) for split in SPLITS}
    problems = task.problems_of(found)
    for each in found.values():
        problems += _unread(task, each)
    problems += _unlisted(task, found["seeds"])
    problems += [] if problems else _recipe_problems(task)
    prompts = _prompts(task, found["seeds"].items) if found["seeds"].items else []
    counts = {split: len(each.items) for split, each in found.items()}
    return Checked(counts, problems, _warnings(task, found), prompts)


def lines(checked: Checked) -> list[str]:
    """For the terminal."""
    out = []
    for title, chat in checked.prompts:
        out.append(f"--- {title}")
        for message in chat:
            out += [f"[{message['role']}]", message["content"]]
        out.append("")
    out.append(", ".join(f"{count} {split}" for split, count in checked.counts.items()))
    out += [f"note: {warning}" for warning in checked.warnings]
    out += [f"to mend: {problem}" for problem in checked.problems]
    if not checked.problems:
        out.append("every gold answer is read as it should be")
    return out


def _unread(task: FolderTask, found: Found) -> list[str]:
    """Gold replies that would not be scored right."""
    problems = []
    for item, where in zip(found.items, found.where, strict=True):
        reply = task.completion(item.rationale, item.answer)
        for metric, read in (("strict-match", task.strict), ("flexible-extract", task.flexible)):
            if not task.right(answer := read(reply), item.answer):
                problems.append(f"{where}: {metric} reads {answer!r} in its own gold reply, expected {item.answer!r}")
    return problems


def _unlisted(task: FolderTask, seeds: Found) -> list[str]:
    """Seeds that are not read back from the teacher's list as they are."""
    problems = []
    for item, where in zip(seeds.items, seeds.where, strict=True):
        drafts = task.parse_questions(task.question_prompt([item], 1)[-1]["content"])
        target = None if task.open_ended else item.answer
        if [(draft.question, draft.target) for draft in drafts] != [(item.question, target)]:
            words = "`Example N:`" if task.open_ended else "`Example N:`, `Solution:` or `Answer:`"
            problems.append(
                f"{where}: cannot stand in the teacher's list, as a line of it begins with {words}; word it otherwise"
            )
    return problems


def _recipe_problems(task: FolderTask) -> list[str]:
    """What does not fit between the folder's recipe, if it has one, and its items, which are sound."""
    path = task.folder / "recipe.yaml"
    if not path.is_file():
        return []
    problems: list[str] = []
    try:
        scales = config.scales_of(path)
        recipes: list[Recipe] = [config.load_recipe(path, scale) for scale in scales]
    except ArteError as error:
        return [str(error)]
    for recipe in recipes:
        if Path(recipe.task.name) != task.folder:
            continue
        try:
            task.splits(recipe.task, recipe.seed)
            preflight.check_task(recipe, task)
        except (DataError, RecipeError) as error:
            problems.append(f"{path}, scale {recipe.scale}: {error}")
    return problems


def _warnings(task: FolderTask, found: dict[SplitName, Found]) -> list[str]:
    warnings = []
    for split, each in found.items():
        count = len(each.items)
        if 0 < count < FEWEST[split]:
            why = WHY[split].format(count=count, error=50 / count**0.5)
            if task.open_ended and split == "test":
                why = "a difference of losses is a mean over them"
            warnings.append(f"{split} has {count} items, {FEWEST[split]} or more would be better: {why}")
    known = [*found["seeds"].items, *found["validation"].items]
    texts = [utils.default_process(item.question) for item in known]
    for item, where in zip(found["test"].items, found["test"].where, strict=True):
        near = process.extractOne(
            utils.default_process(item.question), texts, scorer=fuzz.token_sort_ratio, score_cutoff=100 * ALIKE
        )
        if near is not None:
            warnings.append(f"{where}: nearly the same as {known[near[2]].id} ({near[1]:.0f} % of its words)")
    if task.licence == "unknown":
        warnings.append("task.yaml: the licence of the data is not said; the model card will say so too")
    return warnings


def _prompts(task: FolderTask, seeds: Sequence[Item]) -> list[tuple[str, list[Message]]]:
    first = seeds[0]
    last = seeds[-1]
    reply: Message = {"role": "assistant", "content": task.completion(first.rationale, first.answer)}
    what = "a reply" if task.open_ended else "a solution" if task.explains else "an answer"
    return [
        ("the teacher is asked for new items", task.question_prompt(list(seeds[:3]), 3)),
        (f"the teacher is asked for {what}", task.rationale_prompt(last.question, None)),
        ("the student is asked, and learns to reply", [*task.student_prompt(first.question), reply]),
    ]
