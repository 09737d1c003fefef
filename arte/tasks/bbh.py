"""BIG-Bench Hard: 27 subtasks of 146 to 250 questions with no worked solutions (Suzgun et al., arXiv 2210.09261; MIT).

A subtask is a task of its own, `bbh/NAME`. Its answer stands in `<ans>` tags, as in the ARTE paper (section 3.2). Seeds
and probes are drawn from the subtask itself, as BIG-Bench's own items are no longer to be had, and what is left is
the test: figures over all 250 questions are others.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import located
from arte.tasks.answer_kinds import LONGEST, Choice, Equal, Exact, Number, Reader, lettered
from arte.tasks.bbh_prompts import TOLD
from arte.tasks.defined import DefinedTask
from arte.tasks.definition import Asking
from arte.tasks.shares import seeds_and_probes, tested
from arte.tasks.task import Splits

HUB_ID = "SaylorTwift/bbh"
Family = Literal["Logic", "CommonSense", "Math", "Knowledge"]
FORM = '{"input": "…", "target": "…"}'
ANSWERS: dict[str, Reader] = {
    **dict.fromkeys(("causal_judgement", "navigate", "web_of_lies"), Choice(("Yes", "No"))),
    "boolean_expressions": Choice(("True", "False")),
    "formal_fallacies": Choice(("valid", "invalid")),
    "sports_understanding": Choice(("yes", "no")),
    **dict.fromkeys(("multistep_arithmetic_two", "object_counting"), Number()),
    "word_sorting": Exact(ignore_case=True),
}
"""How answers are read where they are no lettered options and no brackets."""
FAMILIES: dict[Family, tuple[str, ...]] = {
    "Logic": (
        "dyck_languages", "formal_fallacies", "logical_deduction", "navigate", "object_counting", "penguins_in_a_table",
        "temporal_sequences", "tracking_shuffled_objects", "web_of_lies", "word_sorting",
    ),
    "CommonSense": (
        "causal_judgement", "date_understanding", "disambiguation_qa", "hyperbaton", "reasoning_about_colored_objects",
        "ruin_names", "snarks",
    ),
    "Math": ("boolean_expressions", "geometric_shapes", "multistep_arithmetic_two"),
    "Knowledge": ("movie_recommendation", "salient_translation_error_detection", "sports_understanding"),
}  # fmt: skip
"""The paper's 23 groups by family (appendix D): subtasks that differ in the number of objects are one."""


def group_of(subtask: str) -> str:
    """The group of FAMILIES that a subtask is averaged in."""
    return re.sub(r"_(three|five|seven)_objects$", "", subtask)


GROUPS: dict[str, tuple[str, ...]] = {
    "bbh": tuple(f"bbh/{subtask}" for subtask in TOLD),
    **{
        f"bbh/{family}": tuple(f"bbh/{subtask}" for subtask in TOLD if group_of(subtask) in groups)
        for family, groups in FAMILIES.items()
    },
}
"""Names of several tasks for one run: all, and each family."""


class Lettered(Equal):
    """An option by its letter, `(B)`; some gold answers of BBH name an option in words, and are read as they stand."""

    expected = "an option such as (A)"
    letters = Choice([chr(ord("A") + place) for place in range(18)])
    words = Exact(ignore_case=True)

    def read(self, text: str) -> str | None:
        letter = self.letters.read(text) if re.match(r"\W*[A-Ra-r]\W|\W*[A-Ra-r]$", text.strip()) else None
        return f"({letter})" if letter else self.words.read(text)

    def find(self, text: str) -> str | None:
        letter = self.letters.find(text)
        return f"({letter})" if letter else self.words.find(text)


class Brackets(Equal):
    """Closing brackets, with or without spaces between them."""

    expected = "closing brackets such as ] )"

    def read(self, text: str) -> str | None:
        brackets = "".join(text.split())
        return " ".join(brackets) if re.fullmatch(r"[)\]}>]+", brackets) else None

    def find(self, text: str) -> str | None:
        found = re.findall(r"(?:[)\]}>][ \t]*)+(?=\s|$)", text[-LONGEST:])
        return self.read(found[-1]) if found else None


class Bbh(DefinedTask):
    """One subtask."""

    def __init__(self, subtask: str) -> None:
        told = TOLD[subtask]
        asking = Asking(
            about=f"BIG-Bench Hard, {subtask.replace('_', ' ')}: {told.instruction}",
            licence="MIT",
            things=told.things,
            instruction=told.instruction,
            mark="<ans>",
            end="</ans>",
            styles={"steps": told.steps, "brief": told.brief, "equations": told.equations},
        )
        super().__init__(f"bbh/{subtask}", asking, reader_of(subtask))
        self.subtask = subtask
        self.data_source = f"https://huggingface.co/datasets/{HUB_ID} (or task.data)"

    def test_items(self) -> int:
        return 200

    def options(self, question: str) -> list[str]:
        """Of lettered options those that this question has."""
        if isinstance(self.reader, Lettered):
            return [f"({letter})" for letter in lettered(question)]
        return super().options(question)

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """Seeds and probes are draws by `seed`; the others, in their order, are the test. A question that stands twice
        counts once.

        `settings.data` is a folder with SUBTASK.json, as the authors publish them. Raises DataError where the data is
        missing, broken or too small.
        """
        first: dict[str, Item] = {}
        for item in self.items(settings.data):
            first.setdefault(item.question, item)
        items = list(first.values())
        if settings.seeds + settings.held_out == len(items):
            raise DataError(
                f"{self.name}: task.seeds={settings.seeds} and {settings.held_out} probes or validation items leave no "
                f"test item of {len(items)}; ask for fewer"
            )
        seeds, probes = seeds_and_probes(self.name, items, settings, f"{self.name}-{seed}")
        drawn = {item.id for item in (*seeds, *probes)}
        test = [item for item in items if item.id not in drawn]
        return Splits(seeds, probes, tested(self.name, test, settings), [])

    def items(self, data: str | None) -> list[Item]:
        """All questions. Raises DataError with the place of one that cannot be read."""
        if data is None:
            rows = located.hub_rows(HUB_ID, self.subtask, "test")
        else:
            rows = _published(Path(data).expanduser() / f"{self.subtask}.json")
        return [self._item(row, place) for place, row in enumerate(rows)]

    def _item(self, row: located.Located, place: int) -> Item:
        question, target = row.fields.get("input"), row.fields.get("target")
        if not isinstance(question, str) or not isinstance(target, str) or not question.strip():
            raise DataError(f"{row.where}: expected a row such as {FORM}")
        answer = self.reader.read(target)
        if answer is None:
            raise DataError(f"{row.where}: target is {target[:80]!r}, expected {self.reader.expected}")
        return Item(id=f"{self.name}-{place:04d}", question=question.strip(), rationale="", answer=answer)


def reader_of(subtask: str) -> Reader:
    """What reads a subtask's answers."""
    if subtask == "dyck_languages":
        return Brackets()
    return ANSWERS.get(subtask) or Lettered()


def family_weights(subtasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each family and, as `BBH`, for all: what each subtask weighs in its mean. Means are over groups, and of a
    group over its subtasks; only of the subtasks that are given.

    The paper does not say how it averages; so weighted, its families (table 2) give its overall figures to within half
    a point.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for subtask in subtasks:
        groups[group_of(subtask)].append(subtask)
    families: dict[str, list[str]] = {
        family: [group for group in those if group in groups] for family, those in FAMILIES.items()
    }
    families["BBH"] = list(groups)
    return {
        family: {subtask: 1 / len(those) / len(groups[group]) for group in those for subtask in groups[group]}
        for family, those in families.items()
        if those
    }


def _published(path: Path) -> list[located.Located]:
    """The rows of a subtask's file as its authors publish it: `{"canary": …, "examples": [row, …]}`."""
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        rows = document["examples"]
        found = [located.Located(f"{path} example {number}", dict(row)) for number, row in enumerate(rows)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; task.data expects a folder with SUBTASK.json of BBH") from None
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is not a file of BBH ({error!r}); expected examples of {FORM}") from None
    if not found:
        raise DataError(f"{path}: holds no examples; expected some of {FORM}")
    located.note_file(path)
    return found
