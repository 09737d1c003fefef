"""BIG-Bench Hard: 27 subtasks of 146 to 250 questions with no worked solutions (Suzgun et al., arXiv 2210.09261; MIT).

A subtask is a task of its own, `bbh/NAME`. Its answer stands in `<ans>` tags, as in the ARTE paper (section 3.2). Seeds
and probes are drawn from the subtask itself, as BIG-Bench's own items are no longer to be had, and what is left is
the test: figures over all 250 questions are others.
"""

import json
import random
import re
from pathlib import Path
from typing import Literal

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import located
from arte.tasks.answer_kinds import LONGEST, Choice, Equal, Exact, Number, Reader
from arte.tasks.bbh_prompts import TOLD
from arte.tasks.defined import DefinedTask
from arte.tasks.definition import Definition, ExactAnswer, Fields
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
FAMILIES: dict[str, tuple[Family, str]] = {
    "boolean_expressions": ("Math", "boolean_expressions"),
    "causal_judgement": ("CommonSense", "causal_judgement"),
    "date_understanding": ("CommonSense", "date_understanding"),
    "disambiguation_qa": ("CommonSense", "disambiguation_qa"),
    "dyck_languages": ("Logic", "dyck_languages"),
    "formal_fallacies": ("Logic", "formal_fallacies"),
    "geometric_shapes": ("Math", "geometric_shapes"),
    "hyperbaton": ("CommonSense", "hyperbaton"),
    "logical_deduction_five_objects": ("Logic", "logical_deduction"),
    "logical_deduction_seven_objects": ("Logic", "logical_deduction"),
    "logical_deduction_three_objects": ("Logic", "logical_deduction"),
    "movie_recommendation": ("Knowledge", "movie_recommendation"),
    "multistep_arithmetic_two": ("Math", "multistep_arithmetic_two"),
    "navigate": ("Logic", "navigate"),
    "object_counting": ("Logic", "object_counting"),
    "penguins_in_a_table": ("Logic", "penguins_in_a_table"),
    "reasoning_about_colored_objects": ("CommonSense", "reasoning_about_colored_objects"),
    "ruin_names": ("CommonSense", "ruin_names"),
    "salient_translation_error_detection": ("Knowledge", "salient_translation_error_detection"),
    "snarks": ("CommonSense", "snarks"),
    "sports_understanding": ("Knowledge", "sports_understanding"),
    "temporal_sequences": ("Logic", "temporal_sequences"),
    "tracking_shuffled_objects_five_objects": ("Logic", "tracking_shuffled_objects"),
    "tracking_shuffled_objects_seven_objects": ("Logic", "tracking_shuffled_objects"),
    "tracking_shuffled_objects_three_objects": ("Logic", "tracking_shuffled_objects"),
    "web_of_lies": ("Logic", "web_of_lies"),
    "word_sorting": ("Logic", "word_sorting"),
}
"""Of each subtask, the family, and the one of the paper's 23 groups in which it is averaged (appendix D)."""


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
        definition = Definition(
            about=f"BIG-Bench Hard, {subtask.replace('_', ' ')}: {told.instruction}",
            licence="MIT",
            things=told.things,
            instruction=told.instruction,
            fields=Fields(input="input", rationale="solution", answer="target"),
            answer=ExactAnswer(kind="exact"),  # read by ANSWERS
            mark="<ans>",
            end="</ans>",
            styles={"steps": told.steps, "brief": told.brief, "equations": told.equations},
        )
        super().__init__(f"bbh/{subtask}", definition, reader_of(subtask), "", list)
        self.subtask = subtask
        self.data_source = f"https://huggingface.co/datasets/{HUB_ID} (or task.data)"

    def test_items(self) -> int:
        return 200

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
        wanted = settings.seeds + settings.held_out
        if wanted >= len(items):
            raise DataError(
                f"{self.name}: task.seeds={settings.seeds} and {settings.held_out} probes or validation items leave no "
                f"test item of {len(items)}; ask for fewer"
            )
        drawn = random.Random(f"{self.name}-{seed}").sample(range(len(items)), wanted)
        seeds, held_out = drawn[: settings.seeds], drawn[settings.seeds :]
        test = [item for place, item in enumerate(items) if place not in set(drawn)]
        if settings.test is not None and settings.test > len(test):
            raise DataError(f"{self.name}: task.test={settings.test} is more than the {len(test)} items left for it")
        return Splits([items[n] for n in seeds], [items[n] for n in held_out], test[: settings.test], [])

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


def family_means(accuracies: dict[str, float]) -> dict[str, float]:
    """Accuracy of each family and, as `BBH`, of all: means over groups, and of a group over its subtasks.

    Only of the subtasks that are given. The paper does not say how it averages; so weighted, its families (table 2)
    give its overall figures to within half a point.
    """
    groups: dict[tuple[Family, str], list[float]] = {}
    for subtask, accuracy in accuracies.items():
        groups.setdefault(FAMILIES[subtask], []).append(accuracy)
    means = {key: sum(values) / len(values) for key, values in groups.items()}
    families: dict[str, list[float]] = {}
    for (family, _), mean in means.items():
        families.setdefault(family, []).append(mean)
    found = {family: sum(values) / len(values) for family, values in families.items()}
    return found | {"BBH": sum(means.values()) / len(means)}


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
    return found
