"""Questions with lettered options: PIQA, CommonsenseQA, ARC-Easy, ARC-Challenge.

The options stand behind the question, as `(A) …`; the reply ends in the letter. The data sets have no worked solutions,
so a gold reply is the letter alone, and drafted ones are the teacher's. Where a test split has no published answers
(PIQA, CommonsenseQA) the validation split is the test, and seeds and probes are drawn from the train split.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import located
from arte.tasks.answer_kinds import Choice, lettered
from arte.tasks.defined import DefinedTask
from arte.tasks.definition import Asking
from arte.tasks.shares import seeds_and_probes, tested
from arte.tasks.task import Splits

LETTERS = ("A", "B", "C", "D", "E")
INSTRUCTION = "Choose the option that answers the question best."


class Asked(NamedTuple):
    """A question of a data set; `answer` is the place of the right option."""

    question: str
    options: list[str]
    answer: int


class Source(NamedTuple):
    """Where a task's rows are, and what a row asks."""

    hub: str
    config: str | None
    test_split: str
    test_count: int
    licence: str
    things: str
    about: str
    form: str
    """A row, as error messages show it."""
    asked: Callable[[dict[str, Any]], Asked]


def _piqa(row: dict[str, Any]) -> Asked:
    return Asked(row["goal"], [row["sol1"], row["sol2"]], int(row["label"]))


def _labelled(row: dict[str, Any]) -> Asked:
    """CommonsenseQA and ARC; of ARC some rows have the labels 1 to 4."""
    return Asked(row["question"], list(row["choices"]["text"]), list(row["choices"]["label"]).index(row["answerKey"]))


_FORM = '{"question": "…", "choices": {"text": ["…", "…"], "label": ["A", "B"]}, "answerKey": "A"}'
SOURCES: dict[str, Source] = {
    "piqa": Source(
        "baber/piqa", None, "validation", 1838, "AFL-3.0",
        "questions how to do something in the house, with two lettered options",
        "PIQA: which of two ways reaches a goal in the house (Bisk et al., arXiv 1911.11641).",
        '{"goal": "…", "sol1": "…", "sol2": "…", "label": 0}', _piqa,
    ),
    "commonsense-qa": Source(
        "tau/commonsense_qa", None, "validation", 1221, "MIT",
        "questions about everyday things, with five lettered options",
        "CommonsenseQA: everyday knowledge, five options (Talmor et al., arXiv 1811.00937).",
        _FORM, _labelled,
    ),
    "arc-easy": Source(
        "allenai/ai2_arc", "ARC-Easy", "test", 2376, "CC-BY-SA-4.0",
        "school questions in science, with four lettered options",
        "ARC-Easy: school science, four options (Clark et al., arXiv 1803.05457).",
        _FORM, _labelled,
    ),
    "arc-challenge": Source(
        "allenai/ai2_arc", "ARC-Challenge", "test", 1172, "CC-BY-SA-4.0",
        "hard school questions in science, with four lettered options",
        "ARC-Challenge: school science that look-up does not solve (Clark et al., arXiv 1803.05457).",
        _FORM, _labelled,
    ),
}  # fmt: skip


class Choices(DefinedTask):
    """One of SOURCES."""

    def __init__(self, name: str) -> None:
        self.source = SOURCES[name]
        asking = Asking(
            about=self.source.about,
            licence=self.source.licence,
            things=self.source.things,
            instruction=INSTRUCTION,
        )
        super().__init__(name, asking, Choice(LETTERS))
        self.data_source = f"https://huggingface.co/datasets/{self.source.hub} (or task.data)"

    def test_items(self) -> int:
        return self.source.test_count

    def options(self, question: str) -> list[str]:
        """The letters that this question has."""
        return lettered(question)

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """Seeds and probes are disjoint draws of the train split by `seed`, without questions that the test has too;
        the test keeps its order.

        `settings.data` is a folder with train.jsonl and test.jsonl, rows as on the hub. Raises DataError where the data
        is missing, broken or too small.
        """
        test = self._items(settings.data, "test")
        asked = {item.question for item in test}
        free = {item.question: item for item in self._items(settings.data, "train") if item.question not in asked}
        seeds, probes = seeds_and_probes(self.name, list(free.values()), settings, f"{self.name}-{seed}")
        return Splits(seeds, probes, tested(self.name, test, settings), [])

    def _items(self, data: str | None, split: str) -> list[Item]:
        if data is None:
            named = self.source.test_split if split == "test" else split
            rows = located.hub_rows(self.source.hub, self.source.config, named)
        else:
            rows = located.rows(Path(data).expanduser() / f"{split}.jsonl", self.source.form)
        return [self._item(row, f"{self.name}-{split}-{place:05d}") for place, row in enumerate(rows)]

    def _item(self, row: located.Located, name: str) -> Item:
        try:
            asked = self.source.asked(row.fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{row.where}: cannot be read ({error!r}); expected {self.source.form}") from None
        if not 2 <= len(asked.options) <= len(LETTERS) or not 0 <= asked.answer < len(asked.options):
            raise DataError(
                f"{row.where}: {len(asked.options)} options, of which number {asked.answer} is right; expected 2 to "
                f"{len(LETTERS)}, and one of them, as in {self.source.form}"
            )
        options = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, asked.options, strict=False))
        question = f"{asked.question.strip()}\n{options}"
        return Item(id=name, question=question, rationale="", answer=LETTERS[asked.answer])
