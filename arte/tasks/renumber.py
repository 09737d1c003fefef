"""The same problem with other numbers: a worked solution is a small program of the numbers in its question.

Drafts of small teachers repeat few and round numbers, and a student that has seen a sum three times knows that sum.
A solution whose equations use only numbers of the question, results of its own and constants that a word names (a week,
a dozen, twice) can be computed anew from others; one that brings in a number from nowhere cannot, and stays as it is.
"""

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from arte.tasks.equations import sides_of, start_of
from arte.tasks.expressions import READINGS, Token, UnreadableError, evaluate, plain, tokens_of

MOST = 9999
"""A problem with larger numbers stays as it is."""
ATTEMPTS = 300
"""Draws of numbers before a problem stays as it is: divisions must come out even."""
NAMED: Mapping[str, tuple[int, ...]] = {
    "week": (7,), "weekly": (7,), "day": (24,), "hour": (60,), "minute": (60,), "year": (12, 52, 365), "month": (4, 30),
    "dozen": (12,), "half": (2,), "halve": (2,), "twice": (2,), "double": (2,), "both": (2,), "pair": (2,),
    "thrice": (3,), "triple": (3,), "third": (3,), "quarter": (4,), "dollar": (100,), "meter": (100,), "metre": (100,),
    "one": (1,), "two": (2,), "three": (3,), "four": (4,), "five": (5,), "six": (6,), "seven": (7,), "eight": (8,),
    "nine": (9,), "ten": (10,), "eleven": (11,), "twelve": (12,), "twenty": (20,), "fifty": (50,), "hundred": (100,),
}  # fmt: skip
"""Constants that a word of the question brings with it."""


class Worked(NamedTuple):
    """A problem with its solution and answer."""

    question: str
    solution: str
    answer: str


def renumbered(problem: Worked, draw: random.Random) -> Worked | None:
    """The problem with other numbers of about the same size (half to twice), or None where that cannot be done.

    All results stay whole and positive; a number that stands twice in the question stays the same number twice.
    """
    asked = _numbers(problem.question)
    constants = _constants(problem.question)
    if asked is None or not asked or asked & constants:
        return None
    lines = plain(problem.solution).split("\n")
    if _results(lines, {value: value for value in asked}, constants) is None:
        return None
    for _ in range(ATTEMPTS):
        drawn = {value: _near(value, draw) for value in sorted(asked)}
        results = _results(lines, drawn, constants)
        if results is None or int(problem.answer) not in results or len(set(drawn.values())) < len(drawn):
            continue
        return Worked(
            _replaced(problem.question, drawn),
            "\n".join(_replaced(line, drawn | results) for line in lines),
            str(results[int(problem.answer)]),
        )
    return None


def _near(value: int, draw: random.Random) -> int:
    return value if value < 2 else draw.randint(max(2, (value + 1) // 2), value * 2)


def _numbers(text: str) -> set[int] | None:
    """Of a question; None where one is no whole number or is a percentage."""
    tokens = tokens_of(text)
    found = set()
    for token, behind in zip(tokens, [*tokens[1:], None], strict=True):
        if token.kind in ("odd", "percent", "other") or (token.kind == "number" and "." in token.text):
            return None
        if token.kind == "number":
            if behind is not None and behind.kind == "operator":
                return None  # an equation in the question gives its result away
            found.add(int(token.text.replace(",", "")))
    return found if max(found, default=0) <= MOST else None


def _constants(text: str) -> set[int]:
    words = {token.text.lower() for token in tokens_of(text) if token.kind == "word"}
    return {value for word in words for value in (*NAMED.get(word, ()), *NAMED.get(word.removesuffix("s"), ()))}


def _results(lines: list[str], numbers: Mapping[int, int], constants: set[int]) -> dict[int, int] | None:
    """What each result of the solution becomes when its question's numbers become others.

    None where a number comes from nowhere, a result is taken for another number, or is not whole and positive.
    """
    results: dict[int, int] = {}
    for line in lines:
        for left, right in sides_of(line):
            try:
                start = start_of(left)
                known = numbers | results if isinstance(numbers, dict) else {**numbers, **results}
                new = [_with(token, known, constants) for token in left[start:]]
                value = evaluate(new, 0, READINGS[0])
                evaluate(right, 0, READINGS[0])
            except (UnreadableError, ZeroDivisionError, KeyError):
                return None
            result = next(token for token in right if token.kind == "number")
            old = Fraction(result.text.replace(",", ""))
            if value.next != len(new) or value.number.denominator != 1 or not 0 < value.number <= MOST:
                return None
            if old.denominator != 1 or old in constants or int(old) in numbers:
                return None
            if results.setdefault(int(old), int(value.number)) != value.number:
                return None
    return results


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
    return token


def _replaced(text: str, known: Mapping[int, int]) -> str:
    parts, end = [], 0
    for token in _plain_numbers(text):
        value = int(token.text.replace(",", ""))
        if value in known:
            parts += [text[end : token.start], str(known[value])]
            end = token.end
    return "".join([*parts, text[end:]])


def _plain_numbers(text: str) -> Iterator[Token]:
    """Whole numbers, but for the one that counts a line."""
    tokens = tokens_of(text)
    for place, token in enumerate(tokens):
        counts = place == 0 and len(tokens) > 1 and tokens[1].kind in ("stop", "close") and tokens[1].start == token.end
        if token.kind == "number" and "." not in token.text and not counts:
            yield token
