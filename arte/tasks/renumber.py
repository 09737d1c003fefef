"""The same problem with other numbers: a worked solution is a small program of the numbers in its question.

Drafts of small teachers repeat few and round numbers, and a student that has seen a sum three times knows that sum.
A solution whose equations use only numbers of the question, results of its own and constants that a word names (a week,
a dozen, twice) can be computed anew from others; one that brings in a number from nowhere cannot, and stays as it is.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from arte.tasks.equations import sides_of, start_of
from arte.tasks.expressions import READINGS, Token, UnreadableError, evaluate, plain, tokens_of

MOST = 9999
"""A problem with larger numbers stays as it is."""
ATTEMPTS = 300
"""Draws of numbers before a problem stays as it is: divisions must come out even."""
FACTORS: Mapping[str, tuple[int, ...]] = {
    "half": (2,), "halve": (2,), "twice": (2,), "double": (2,), "both": (2,), "pair": (2,), "thrice": (3,),
    "triple": (3,), "third": (3,), "quarter": (4,),
    "one": (1,), "two": (2,), "three": (3,), "four": (4,), "five": (5,), "six": (6,), "seven": (7,), "eight": (8,),
    "nine": (9,), "ten": (10,), "eleven": (11,), "twelve": (12,), "twenty": (20,), "fifty": (50,), "hundred": (100,),
}  # fmt: skip
"""Numbers that a word of the question says."""
UNITS: Mapping[str, tuple[int, ...]] = {
    "week": (7,), "weekly": (7,), "day": (24,), "hour": (60,), "minute": (60,), "year": (12, 52, 365),
    "month": (4, 30), "dozen": (12,), "dollar": (100,), "meter": (100,), "metre": (100,),
}  # fmt: skip
"""Numbers that a word of the question may bring with it."""


class Worked(NamedTuple):
    """A problem with its solution and answer."""

    question: str
    solution: str
    answer: str


class Computed(NamedTuple):
    """What a solution becomes with other numbers: its results by what they were, and, line by line, the numbers of
    its equations by where they start."""

    results: dict[int, int]
    places: list[dict[int, int]]


def renumbered(problem: Worked, usual: Sequence[int], draw: random.Random) -> Worked | None:
    """The problem with other numbers, or None where that cannot be done.

    New numbers are near to one of `usual` (three quarters to four thirds), whatever they were before: those of the
    task's own problems, since small teachers take hundreds where these take dozens. All results stay whole and
    positive; a number that stands twice in the question stays the same number twice. A solution with an equation that
    does not hold, or that does not compute the answer, cannot be done.
    """
    asked, said = _numbers(problem.question), _named(problem.question, FACTORS)
    if not asked or asked & said or not problem.answer.isdecimal():
        return None
    constants = said | (_named(problem.question, UNITS) - asked)
    lines = plain(problem.solution).split("\n")
    now = _computed(lines, {value: value for value in asked}, constants)
    if now is None or any(old != new for old, new in now.results.items()) or int(problem.answer) not in now.results:
        return None
    for _ in range(ATTEMPTS):
        drawn = {value: _near(draw.choice(usual), draw) for value in sorted(asked)}
        new = _computed(lines, drawn, constants)
        if new is not None and len(set(drawn.values())) == len(drawn):
            told = [
                _replaced(line, new.results | drawn, places) for line, places in zip(lines, new.places, strict=True)
            ]
            answer = new.results[int(problem.answer)]
            return Worked(_replaced(problem.question, drawn, {}), "\n".join(told), str(answer))
    return None


def _near(value: int, draw: random.Random) -> int:
    return draw.randint(max(2, value * 3 // 4), max(2, value * 4 // 3))


def numbers_of(questions: Iterable[str]) -> list[int]:
    """The whole numbers of all questions in which nothing else stands, each as often as it is there."""
    return [value for question in questions for value in sorted(_numbers(question) or ())]


def _numbers(text: str) -> set[int] | None:
    """Of a question; None where one is no whole number or is a percentage."""
    tokens = tokens_of(text)
    found = set()
    for token, behind in zip(tokens, [*tokens, None][1:], strict=True):
        if token.kind in ("odd", "percent", "other") or (token.kind == "number" and "." in token.text):
            return None
        if token.kind == "number":
            if behind is not None and behind.kind == "operator":
                return None  # an equation in the question gives its result away
            found.add(int(token.text.replace(",", "")))
    return found if max(found, default=0) <= MOST else None


def _named(text: str, numbers: Mapping[str, tuple[int, ...]]) -> set[int]:
    words = {token.text.lower() for token in tokens_of(text) if token.kind == "word"}
    return {value for word in words for name in (word, word.removesuffix("s")) for value in numbers.get(name, ())}


def _computed(lines: list[str], numbers: dict[int, int], constants: set[int]) -> Computed | None:
    """The solution with the numbers of its question (keys) become others (values).

    None where a number comes from nowhere, a result is not whole and positive, or one that is taken further is the same
    as another number: which of them is meant cannot be told.
    """
    found = Computed({}, [{} for _ in lines])
    taken = False
    for line, places in zip(lines, found.places, strict=True):
        for left, right in sides_of(line):
            try:
                known = found.results | numbers
                new = [_with(token, known, constants) for token in left[start_of(left) :]]
                value = evaluate(new, 0, READINGS[0])
                evaluate(right, 0, READINGS[0])
            except (UnreadableError, ZeroDivisionError, KeyError):
                return None
            result = next(token for token in right if token.kind == "number")
            old = Fraction(result.text.replace(",", ""))
            if taken or value.next != len(new) or value.number.denominator != 1 or not 0 < value.number <= MOST:
                return None
            if old.denominator != 1:
                return None
            earlier = found.results.get(int(old), value.number)
            taken = int(old) in numbers or int(old) in constants or earlier != value.number  # only of the last equation
            found.results[int(old)] = places[result.start] = int(value.number)
            places.update({token.start: int(token.text) for token in new if token.kind == "number"})
    return found


def _with(token: Token, known: Mapping[int, int], constants: set[int]) -> Token:
    """Raises KeyError for a number from nowhere, and for percents."""
    if token.kind in ("percent", "odd", "other"):
        raise KeyError(token.text)
    if token.kind != "number":
        return token
    value = Fraction(token.text.replace(",", ""))
    if value.denominator != 1:
        raise KeyError(token.text)
    if int(value) in known:
        return token._replace(text=str(known[int(value)]))
    if int(value) not in constants:
        raise KeyError(token.text)
    return token._replace(text=str(int(value)))


def _replaced(text: str, known: Mapping[int, int], places: Mapping[int, int]) -> str:
    """`known`: by value; `places`: by where a number starts, which goes first."""
    parts, end = [], 0
    for token in _plain_numbers(text):
        new = places.get(token.start, known.get(int(token.text.replace(",", ""))))
        if new is not None:
            parts += [text[end : token.start], str(new)]
            end = token.end
    return "".join([*parts, text[end:]])


def _plain_numbers(text: str) -> Iterator[Token]:
    """Whole numbers, but for the one that counts a line."""
    tokens = tokens_of(text)
    for place, token in enumerate(tokens):
        counts = place == 0 and len(tokens) > 1 and tokens[1].kind in ("stop", "close") and tokens[1].start == token.end
        if token.kind == "number" and "." not in token.text and not counts:
            yield token
