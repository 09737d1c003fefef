"""What a task is."""

import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from arte import recipe
from arte.generation import Message
from arte.rows import Example, Item, OfTask

__all__ = ["Draft", "Message", "Splits", "Task", "Taught"]


class Splits(NamedTuple):
    """The items of a task. No two of the lists share a problem."""

    seeds: list[Item]
    """Shown to the teacher."""
    probes: list[Item]
    """Held out from the teacher: the student's preference is measured on all of them, or on those chosen of them."""
    test: list[Item]
    unseen: list[Item]
    """Test items of templates that neither seeds, probes nor `test` use; empty where the task is not made of
    templates."""


class Draft(NamedTuple):
    """A question as a teacher writes it down, with what can be read beside it."""

    question: str
    solution: str | None
    target: str | None
    """The answer, normalised."""


class Taught(Protocol):
    """What a run teaches: a task, or several (arte.tasks.mixture). What is asked and read is the business of each."""

    name: str
    about: str
    """One sentence for `arte tasks`."""
    data_source: str
    licence: str
    open_ended: bool
    """Whether replies are free text, of which nothing can be said to be right or wrong: the teacher lists questions
    without answers, and students are evaluated by their loss on gold replies; `right` then says equal, no more. All
    tasks of a run are alike in it, as its students are judged by one measure."""
    identity: str
    """Of a task that is given in files: changes with anything that prompts or checks depend on. Empty where they come
    with ARTE."""

    def of(self, row: OfTask) -> "Task":
        """The task of an item, a question or an example."""
        ...

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """The items. Raises DataError where there is no data, or not enough of it."""
        ...

    def test_items(self) -> int:
        """About how many test items there are where `task.test` is null; asks no hub. Raises DataError."""
        ...

    def exercises(self, count: int, seeds: Sequence[Item], draw: random.Random) -> list[Example]:
        """Examples that practise the skill below the problems, `count` exercises in all: sums, with numbers like the
        seeds'."""
        ...


class Task(Taught, Protocol):
    """A kind of problem: where its items come from, how teacher and student are asked, how answers are read."""

    explains: bool
    """Whether a reply is a solution and then the answer; else it is the answer alone."""
    reply_schema: str | None
    """A JSON Schema of whole replies, which engines that can hold a teacher to; None where replies are more than
    JSON."""

    def strict(self, text: str) -> str | None:
        """The normalised answer where the task wants it to stand, or None (metric `strict-match`)."""
        ...

    def flexible(self, text: str) -> str | None:
        """The normalised last answer anywhere in the text, or None (metric `flexible-extract`)."""
        ...

    def right(self, found: str | None, gold: str) -> bool:
        """Whether an answer that was read is as good as the gold one; both normalised."""
        ...

    def options(self, question: str) -> list[str]:
        """The answers of which one is to be chosen, normalised; empty where they are not a few that are known."""
        ...

    def fault(self, solution: str, answer: str) -> str | None:
        """What is wrong with a solution of this normalised answer, in a few words; None where nothing can be said
        against it."""
        ...

    def varied(self, example: Example, seeds: Sequence[Item], draw: random.Random) -> Example:
        """The same problem with other numbers, like those of the seeds, and its solution computed anew; itself where
        that cannot be done."""
        ...

    def question_prompt(self, seeds: list[Item], count: int) -> list[Message]:
        """Asks the teacher for `count` new questions like the seeds, each with its solution and answer.

        The last message is the beginning of the teacher's reply, and holds the seeds.
        """
        ...

    def question_stop(self, seeds: int, count: int) -> str:
        """What comes after the last of `count` new questions, behind so many seeds: nothing from there on is read."""
        ...

    def question_reply(self, prompt: list[Message], questions: Sequence[Draft]) -> str:
        """The whole reply to a `question_prompt`, from its beginning, that holds these questions."""
        ...

    def parse_questions(self, text: str) -> list[Draft]:
        """The questions of a whole reply, the seeds' first."""
        ...

    def rationale_prompt(self, question: str, style: recipe.Style | None) -> list[Message]:
        """Asks the teacher for a solution in a style; None is the naive prompt, with the style erased."""
        ...

    def parse_rationale(self, text: str) -> tuple[str, str | None]:
        """The solution without its answer line, and the normalised answer: of that line, else the last number."""
        ...

    def student_prompt(self, question: str) -> list[Message]:
        """How the student is asked: in the in-context examples, in training and in evaluation alike."""
        ...

    def completion(self, rationale: str, answer: str) -> str:
        """What the student learns to reply."""
        ...
