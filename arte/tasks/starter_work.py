"""What the templates of the starter task are written with: draws of names and numbers, and solutions that are right
because each of their equations is computed while it is written."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

NAMES = (
    "Aiko", "Amara", "Amir", "Ana", "Anders", "Aroha", "Ayesha", "Bilal", "Bram", "Chen", "Chidi", "Dina", "Diego",
    "Elif", "Emre", "Esi", "Fatima", "Femi", "Freya", "Giulia", "Hana", "Hassan", "Ines", "Ivan", "Jamal", "Joao",
    "Kaito", "Kavya", "Kofi", "Lars", "Leila", "Linh", "Lucia", "Malik", "Marek", "Mei", "Mila", "Nadia", "Niko",
    "Noor", "Olga", "Omar", "Pedro", "Priya", "Ravi", "Rosa", "Sanna", "Sione", "Tane", "Tariq", "Thabo", "Uma",
    "Wanjiru", "Yara", "Yusuf", "Zanele", "Zofia",
)  # fmt: skip

T = TypeVar("T")


class Problem(NamedTuple):
    """A made problem: `rationale` holds one sentence with one equation for each step; the last gives `answer`."""

    question: str
    rationale: str
    answer: int
    steps: int


class Work:
    """A solution, written line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._last: int | None = None

    def line(self, sentence: str, left: int, operation: str, right: int) -> int:
        """Adds `sentence` with `{}` replaced by the equation, and gives its result.

        Results are whole and not negative: a template that draws other numbers is a bug and raises ValueError.
        """
        if operation == "/" and (right == 0 or left % right):
            raise ValueError(f"{left} / {right} is not whole")
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // (right or 1)}[operation]
        if result < 0:
            raise ValueError(f"{left} {operation} {right} is negative")
        if sentence.count("{}") != 1:
            raise ValueError(f"a line holds one equation: {sentence!r}")
        self._lines.append(sentence.replace("{}", f"{left} {operation} {right} = {result}"))
        self._last = result
        return result

    def problem(self, question: str) -> Problem:
        """The finished problem; its answer is the result of the last line."""
        if self._last is None:
            raise ValueError("a problem has at least one step")
        return Problem(question, "\n".join(self._lines), self._last, len(self._lines))


class Draws:
    """Names, things and numbers from one stream of random numbers."""

    def __init__(self, random_numbers: random.Random) -> None:
        self._random = random_numbers

    def name(self) -> str:
        return self._random.choice(NAMES)

    def two_names(self) -> tuple[str, str]:
        first, second = self._random.sample(NAMES, 2)
        return first, second

    def one_of(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def number(self, low: int, high: int, step: int = 1) -> int:
        """A whole number from `low` to `high`, both possible, in steps of `step`."""
        return self._random.randrange(low, high + 1, step)


Template = Callable[[Draws], Problem]
