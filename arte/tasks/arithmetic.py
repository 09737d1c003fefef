"""What the tasks in GSM8K's format share: prompts of teacher and student, and the reading of their replies.

Prompts are short because every token of them is computed for every draft.
"""

import random
import re
from collections.abc import Sequence
from typing import Self

from arte.generation import Message
from arte.recipe import Style
from arte.rows import Example, Item, OfTask
from arte.tasks import answers
from arte.tasks.equations import equations_hold, reaches
from arte.tasks.renumber import Worked, numbers_of, renumbered
from arte.tasks.styles import EXAMPLES, NAIVE, STYLES
from arte.tasks.sums import pages
from arte.tasks.task import Draft

LAST_LINE = "End with a line of #### and the answer."

_HEADING = re.compile(r"^[ \t*#]*((?:Problem|Question|Example)[ \t]*#?)?\d+[ \t]*[.:)](?!\d)\**[ \t]*", re.I | re.M)
_LABEL = re.compile(r"(?:^[ \t*#-]*|[ \t]\**)(Answer|Solution)\**[ \t]*:\**[ \t]*", re.I | re.M)
_ANSWER_LINE = re.compile(r"[*]*####[ \t*]*(?:(?:the )?answer(?: is)?:?[ \t]*)?(.*)", re.I)


class Arithmetic:
    """Problems whose answer is one number and whose solutions end in `#### N` (Cobbe et al., arXiv 2110.14168)."""

    strict = staticmethod(answers.strict)
    flexible = staticmethod(answers.flexible)
    explains = True
    open_ended = False
    reply_schema: str | None = None
    identity = ""

    def of(self, row: OfTask) -> Self:
        return self

    def right(self, found: str | None, gold: str) -> bool:
        return found == gold

    def options(self, question: str) -> list[str]:
        """None: an answer may be any number."""
        return []

    def fault(self, solution: str, answer: str) -> str | None:
        """An equation that does not hold, or that none has the answer as its result: it is only said."""
        false = equations_hold(solution)
        if false is not None:
            return f"does not hold: {false}"
        return None if reaches(solution, answer) else f"no equation gives {answer}: it is only said"

    def varied(self, example: Example, seeds: Sequence[Item], draw: random.Random) -> Example:
        usual = numbers_of(seed.question for seed in seeds)
        problem = Worked(example.question, example.rationale, example.answer)
        other = renumbered(problem, usual, draw) if usual else None
        if other is None:
            return example
        return example.model_copy(
            update={"question": other.question, "rationale": other.solution, "answer": other.answer}
        )

    def exercises(self, count: int, seeds: Sequence[Item], draw: random.Random) -> list[Example]:
        return pages(count, numbers_of(seed.question for seed in seeds), draw)

    def question_prompt(self, seeds: list[Item], count: int) -> list[Message]:
        """A list of problems, each with its solution and answer (the paper's <target>), that begins with the seeds.

        The teacher goes on with the list. Given the seeds in the request instead, a small teacher copies half of them;
        with no reply to go on with, it opens with remarks of its own; with no solution, its answers are guesses.
        """
        request = (
            f"Write {len(seeds) + count} different school problems in arithmetic, each about other people and things "
            "and with its solution and answer."
        )
        opening = [*_listed([Draft(seed.question, seed.rationale, seed.answer) for seed in seeds], 1), ""]
        return [
            {"role": "user", "content": request},
            {"role": "assistant", "content": "\n\n".join(opening) + _heading(len(seeds) + 1)},
        ]

    def question_stop(self, seeds: int, count: int) -> str:
        return f"\n{_heading(seeds + count + 1)}"

    def question_reply(self, prompt: list[Message], questions: Sequence[Draft]) -> str:
        opening = prompt[-1]["content"]
        first = len(_headings(opening))
        return opening.removesuffix(_heading(first)) + "\n\n".join(_listed(questions, first))

    def parse_questions(self, text: str) -> list[Draft]:
        headings = _headings(text)
        ends = [*(heading.start() for heading in headings), len(text)][1:]
        drafts = [_read(text[heading.end() : end]) for heading, end in zip(headings, ends, strict=True)]
        return [draft for draft in drafts if draft.question]

    def rationale_prompt(self, question: str, style: Style | None) -> list[Message]:
        manner = NAIVE if style is None else STYLES[style]
        messages = [{"role": "system", "content": manner.instruction}]
        for example, solution in zip(EXAMPLES[-len(manner.solutions) :], manner.solutions, strict=True):
            messages += [
                {"role": "user", "content": f"{example.question}\n{LAST_LINE}"},
                {"role": "assistant", "content": self.completion(solution, example.answer)},
            ]
        return [*messages, {"role": "user", "content": f"{question}\n{LAST_LINE}"}]

    def parse_rationale(self, text: str) -> tuple[str, str | None]:
        lines = list(_ANSWER_LINE.finditer(text))
        if not lines:  # half of a small teacher's replies end in the last result without the mark
            return text.strip(), answers.flexible(text)
        return text[: lines[-1].start()].strip(), answers.normalise(lines[-1][1])

    def student_prompt(self, question: str) -> list[Message]:
        return [{"role": "user", "content": question}]

    def completion(self, rationale: str, answer: str) -> str:
        return f"{rationale}\n{answers.ANSWER_MARK}{answer}"


def _heading(number: int) -> str:
    return f"Problem {number}:"


def _headings(text: str) -> list[re.Match[str]]:
    """Where problems begin. Bare numbers count where no heading has a word: else they are steps of a solution."""
    found = list(_HEADING.finditer(text))
    return [heading for heading in found if heading[1]] or found


def _listed(drafts: Sequence[Draft], first: int) -> list[str]:
    return [
        "\n".join(
            [
                f"{_heading(number)} {' '.join(draft.question.split())}",
                *([f"Solution: {draft.solution}"] if draft.solution else []),
                *([f"Answer: {draft.target}"] if draft.target is not None else []),
            ]
        )
        for number, draft in enumerate(drafts, start=first)
    ]


def _read(block: str) -> Draft:
    """A problem's text, from behind its heading to the next."""
    labels = list(_LABEL.finditer(block))
    ends = [*(label.start() for label in labels), len(block)]
    question = " ".join(block[: ends[0]].split()).strip("* ")
    parts: dict[str, str] = {}
    for label, end in zip(labels, ends[1:], strict=True):
        parts.setdefault(label[1].lower(), block[label.end() : end].strip("* \t\n"))
    solution = parts.get("solution") or None
    if "answer" in parts:
        return Draft(question, solution, _target(parts["answer"].split("\n")[0]))
    # Only an answer under another name; of several lines the last is it, the others are steps.
    return Draft(question, None, _target(solution.split("\n")[-1]) if solution else None)


def _target(line: str) -> str | None:
    """The answer of a drafted question: `12`, `12 apples`, `3 * 4 = 12` and `Bela has 12 cups left.` are 12."""
    return answers.normalise(line) or answers.flexible(line)
