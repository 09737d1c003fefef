"""Tasks that are given by a definition: how teacher and student are asked, how replies are read.

The teacher is shown a list of items that begins with seeds, and goes on with it, as in arte.tasks.arithmetic; here
items may have several lines. An item is `Example N:` and its text, `Solution:` where there is one, and `Answer:`; of a
task with open answers its text alone, as replies are asked for in a prompt of their own.
"""

import functools
import random
import re
from collections.abc import Callable, Sequence
from typing import Self

from arte.errors import DataError
from arte.generation import Message
from arte.recipe import Style
from arte.rows import Example, Item, OfTask
from arte.tasks.answer_kinds import Choice, Json, Number, Open, Reader
from arte.tasks.definition import Asking
from arte.tasks.equations import equations_hold
from arte.tasks.task import Draft

SHOWN = 3
"""Gold items in front of a question whose solution or answer is asked for."""
STYLES: dict[Style, str] = {
    "steps": "Work it out in numbered steps, each with its reason.",
    "brief": "Explain it in one short sentence.",
    "equations": "Explain it in short notes and symbols only, without sentences.",
    "child": "Explain it in a friendly way, as to a small child.",
}
NAIVE = "Work it out step by step."

_HEADING = re.compile(r"^Example \d+:[ \t]*\n?", re.M)
_LABEL = re.compile(r"^(Solution|Answer):[ \t]*", re.M)


class DefinedTask:
    """What tasks of a definition share; where their items come from is their own."""

    def __init__(
        self,
        name: str,
        asking: Asking,
        reader: Reader,
        *,
        explains: bool = True,
        identity: str = "",
        examples: Callable[[], list[Item]] = list,
    ) -> None:
        """`reader`: of the answers. `explains` and `identity` are Task's. `examples` gives gold items that the teacher
        may be shown with any question; it is asked once.
        """
        self.name = name
        self.asking = asking
        self.about = asking.about
        self.licence = asking.licence
        self.explains = explains
        self.open_ended = isinstance(reader, Open)
        self.identity = identity
        self.examples = functools.cache(examples)
        self.reader = reader
        self.reply_schema = reader.schema if isinstance(reader, Json) and not explains else None

    def of(self, row: OfTask) -> Self:
        return self

    def strict(self, text: str) -> str | None:
        """The answer behind the last mark, on its line; without solutions the whole text is the answer."""
        answer = self._parted(text)[1] if self.explains else text
        return None if answer is None else self.reader.read(answer)

    def flexible(self, text: str) -> str | None:
        return self.reader.find(text)

    def right(self, found: str | None, gold: str) -> bool:
        return self.reader.right(found, gold)

    def options(self, question: str) -> list[str]:
        """Where an answer is one of a few labels, all of them."""
        return list(self.reader.named.values()) if isinstance(self.reader, Choice) else []

    def fault(self, solution: str, answer: str) -> str | None:
        """Where answers are numbers, an equation that does not hold; else None."""
        false = equations_hold(solution) if isinstance(self.reader, Number) else None
        return None if false is None else f"does not hold: {false}"

    def varied(self, example: Example, seeds: Sequence[Item], draw: random.Random) -> Example:
        """The example itself: nothing is known of its numbers."""
        return example

    def exercises(self, count: int, seeds: Sequence[Item], draw: random.Random) -> list[Example]:
        """Raises DataError where there should be some."""
        if count:
            raise DataError(f"task {self.name}: has no exercises; set distill.exercises and distill.rehearsed to 0")
        return []

    def question_prompt(self, seeds: list[Item], count: int) -> list[Message]:
        solved = any(seed.rationale for seed in seeds)
        parts = ", each with its solution and answer" if solved else ", each with its answer"
        request = f"Write {len(seeds) + count} different {self.asking.things}{'' if self.open_ended else parts}."
        if self.asking.instruction:
            request += f"\nWhat is asked of each: {self.asking.instruction}"
        shown = [Draft(seed.question, seed.rationale or None, seed.answer) for seed in seeds]
        if self.open_ended:
            shown = [Draft(seed.question, None, None) for seed in seeds]
        listed = _listed(shown, 1)
        return [
            {"role": "user", "content": request},
            {"role": "assistant", "content": "\n\n".join([*listed, _heading(len(seeds) + 1)])},
        ]

    def question_stop(self, seeds: int, count: int) -> str:
        return f"\n{_heading(seeds + count + 1)}"

    def question_reply(self, prompt: list[Message], questions: Sequence[Draft]) -> str:
        opening = prompt[-1]["content"]
        first = len(_HEADING.findall(opening))
        return opening.removesuffix(_heading(first)) + "\n\n".join(_listed(questions, first))

    def parse_questions(self, text: str) -> list[Draft]:
        headings = list(_HEADING.finditer(text))
        ends = [*(heading.start() for heading in headings), len(text)][1:]
        drafts = [self._read(text[heading.end() : end]) for heading, end in zip(headings, ends, strict=True)]
        return [draft for draft in drafts if draft.question]

    def rationale_prompt(self, question: str, style: Style | None) -> list[Message]:
        system = [self.asking.instruction] if self.asking.instruction else []
        if self.explains:
            manner = NAIVE if style is None else self.asking.styles.get(style, STYLES[style])
            mark, end = self.asking.mark, self.asking.end
            form = f"{mark}ANSWER{end}" if end else f"{mark.strip()} and the answer"
            system += [manner, f"End with a line of {form}."]
        messages: list[Message] = [{"role": "system", "content": " ".join(system)}] if system else []
        for example in self.examples()[:SHOWN]:  # without a solution it would show that none is needed
            if self.explains and not example.rationale:
                continue
            messages += [
                {"role": "user", "content": example.question},
                {"role": "assistant", "content": self.completion(example.rationale, example.answer)},
            ]
        return [*messages, {"role": "user", "content": question}]

    def parse_rationale(self, text: str) -> tuple[str, str | None]:
        if not self.explains:
            return "", self.strict(text) or self.flexible(text)
        solution, answer = self._parted(text)
        return solution.strip(), self.flexible(text) if answer is None else self.reader.read(answer)

    def student_prompt(self, question: str) -> list[Message]:
        asked = f"{self.asking.instruction}\n\n{question}" if self.asking.instruction else question
        return [{"role": "user", "content": asked}]

    def completion(self, rationale: str, answer: str) -> str:
        """A gold item without a solution is its marked answer alone."""
        if not self.explains:
            return answer
        marked = f"{self.asking.mark}{answer}{self.asking.end}"
        return f"{rationale}\n{marked}" if rationale else marked

    def _parted(self, text: str) -> tuple[str, str | None]:
        """What stands before the last mark, and behind it up to its end; all of the text and None without a mark."""
        solution, mark, behind = text.rpartition(self.asking.mark)
        if not mark:
            return text, None
        return solution, behind.split(self.asking.end or "\n", 1)[0]

    def _read(self, block: str) -> Draft:
        """An item's text, from behind its heading to the next."""
        if self.open_ended:
            return Draft(block.strip(), None, None)
        labels = list(_LABEL.finditer(block))
        ends = [*(label.start() for label in labels), len(block)]
        parts: dict[str, str] = {}
        for label, end in zip(labels, ends[1:], strict=True):
            parts.setdefault(label[1], block[label.end() : end].strip())
        answer = parts.get("Answer")
        target = None if answer is None else self.reader.read(answer)
        return Draft(block[: ends[0]].strip(), parts.get("Solution") or None, target)


def _heading(number: int) -> str:
    return f"Example {number}:"


def _listed(drafts: Sequence[Draft], first: int) -> list[str]:
    return [
        "\n".join(
            [
                f"{_heading(number)} {draft.question}",
                *([f"Solution: {draft.solution}"] if draft.solution else []),
                *([f"Answer: {draft.target}"] if draft.target is not None else []),
            ]
        )
        for number, draft in enumerate(drafts, start=first)
    ]
