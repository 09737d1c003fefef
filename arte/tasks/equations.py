"""Whether the equations of a worked solution hold.

Solutions are prose with arithmetic in it: `3 apples * 4 = 12 apples`, `So $1.50 + $4.35 = $5.85`. What can be read
beyond doubt as `a op b … = d` is evaluated exactly; what cannot (variables, mixed numbers, changed units, `60% of 50 +
10`) is not taken for an equation, since a good draft thrown away costs more than a bad one kept: later checks see it
again. Where two readings are possible (a percent as a number or a hundredth, `8 / 1/2`), one that holds is enough.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from arte.tasks.expressions import READINGS, Reading, Token, UnreadableError, evaluate, plain, tokens_of

MOST_TOKENS = 200
"""A side of an equation longer than this is text that ran away."""
CHANGES_VALUE = frozenset({
    "hundred", "thousand", "million", "billion", "dozen", "dozens", "k", "m", "pair", "pairs", "half", "halves",
    "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths",
    "eighth", "eighths", "tenth", "tenths", "twice", "thrice", "double", "triple", "doubled", "tripled",
    "halved", "squared", "cubed", "percent", "cent", "cents", "remainder", "remaining", "rem", "r", "score",
})  # fmt: skip
"""Words beside a number that may change what it stands for."""
CONTINUES_EXPRESSION = frozenset({
    "of", "times", "than", "by", "plus", "minus", "from", "half", "twice", "thrice", "double", "triple",
    "percent", "less", "more", "fewer", "subtract", "add", "multiply", "divide", "divided", "multiplied",
    "over", "into", "per", "to", "and",
})  # fmt: skip
"""Words before a number that may tie it to what stands before them."""
UNITS = frozenset({
    "second", "minute", "hour", "day", "week", "month", "year", "decade", "foot", "inch", "yard", "mile",
    "meter", "metre", "centimeter", "centimetre", "cm", "mm", "km", "kilometer", "kilometre", "gram",
    "kilogram", "kg", "ounce", "oz", "pound", "lb", "ton", "liter", "litre", "ml", "gallon", "quart", "pint",
    "cup", "tablespoon", "teaspoon", "cent", "dollar", "penny", "pennie", "nickel", "dime", "quarter", "hr",
    "min", "sec", "feet", "inche", "century",
})  # fmt: skip
"""Units with others of their kind: `2 hours + 30 minutes = 150 minutes` is not judged by its numbers."""


def equations_hold(text: str) -> str | None:
    """None where every equation of the text holds, else the first that fails, as it stands in the text.

    Results may be rounded or cut to the decimals that are written: `10 / 3 = 3.33` and `20 / 3 = 6.66` hold.
    """
    for line in plain(text).split("\n"):
        if "=" not in line:
            continue
        for left, right in sides_of(line):
            if not _holds(left, right):
                return " ".join(line[left[start_of(left)].start : _end(right)].split())
    return None


def reaches(text: str, answer: str) -> bool:
    """Whether an equation of the text has `answer` (a normalised number) as its result.

    What only says its answer shows nobody how it comes about. Of GSM8K's own training solutions 98.6 % pass; the
    others round, change the unit or solve for an unknown in their last step.
    """
    wanted = Fraction(answer)
    for line in plain(text).split("\n"):
        for _, right in sides_of(line):
            for reading in READINGS:
                try:
                    if any(number == wanted for number, _ in _prefixes(right, reading)):
                        return True
                except (UnreadableError, ZeroDivisionError):
                    continue
    return False


def sides_of(line: str) -> Iterator[tuple[list[Token], list[Token]]]:
    """What stands left and right of each equals sign, up to the next one or the end of the clause."""
    for clause in _clauses(tokens_of(line)):
        sides: list[list[Token]] = [[]]
        for token in clause:
            if token.kind == "equals":
                sides.append([])
            else:
                sides[-1].append(token)
        for left, right in pairwise(sides):
            if len(left) <= MOST_TOKENS and len(right) <= MOST_TOKENS:
                yield left, right


def _clauses(tokens: list[Token]) -> Iterator[list[Token]]:
    clause: list[Token] = []
    for token in tokens:
        if token.kind == "stop":
            yield clause
            clause = []
        else:
            clause.append(token)
    yield clause


def start_of(side: list[Token]) -> int:
    """Where the longest expression starts that reaches to the end of a left side. Raises UnreadableError."""
    for start, token in enumerate(side):
        if token.kind in ("number", "open", "currency", "operator"):
            try:
                if evaluate(side, start, READINGS[0]).next == len(side):
                    return start
            except (UnreadableError, ZeroDivisionError):
                continue
    raise UnreadableError


def _end(side: list[Token]) -> int:
    """The character where the number ends of the expression that a right side starts with."""
    return max(token.end for token in side[: evaluate(side, 0, READINGS[0]).next] if token.kind != "word")


def _holds(left: list[Token], right: list[Token]) -> bool:
    """Whether both sides agree, under any reading, or cannot be judged."""
    try:
        start = start_of(left)
        end = evaluate(right, 0, READINGS[0]).next
    except (UnreadableError, ZeroDivisionError):
        return True
    written = left[start:]
    if not any(token.kind == "operator" for token in written[1:]):
        return True
    dash = written[0].text == "-"
    for reading in READINGS:
        try:
            # A dash in front may be a sign or a bullet.
            values = [evaluate(written, first, reading).number for first in ((0, 1) if dash else (0,))]
            results = list(_prefixes(right, reading))
        except (UnreadableError, ZeroDivisionError):
            return True
        if any(_agree(value, result, decimals) for value in values for result, decimals in results):
            return True
    if dash and start > 0:
        return True
    return _doubtful(left, start, right, end)


def _prefixes(side: list[Token], reading: Reading) -> Iterator[tuple[Fraction, int]]:
    """The values of all expressions that a side starts with, shortest first, with their decimals.

    People write `3 * 4 = 12 * 2 = 24` and mean two equations: the first number of a side is then the result.
    """
    whole = evaluate(side, 0, reading)
    cuts = [place for place in range(1, whole.next) if side[place].kind in ("operator", "open")]
    for cut in [*cuts, whole.next]:
        try:
            value = evaluate(side[:cut], 0, reading)
        except (UnreadableError, ZeroDivisionError):
            continue
        if value.next == cut:
            numbers = [token.text for token in side[:cut] if token.kind == "number"]
            percent = 2 if any(token.kind == "percent" for token in side[:cut]) and reading.percent != 1 else 0
            yield value.number, max(len(number.partition(".")[2]) for number in numbers) + percent


def _agree(value: Fraction, result: Fraction, decimals: int) -> bool:
    """Equal, or as near as rounding (and behind the point, cutting) to the written decimals leaves it."""
    error = abs(value - result)
    return error < Fraction(1, 10**decimals) if decimals else error <= Fraction(1, 2)


def _doubtful(left: list[Token], start: int, right: list[Token], end: int) -> bool:
    """Whether an equation whose numbers do not agree may still be right, read as a person reads it."""
    written, result = left[start:], right[:end]
    before = left[:start]
    words = [token.text.lower() for token in written + _near(right[: end + 2]) if token.kind == "word"]
    if any(word in CHANGES_VALUE or (len(word) == 1 and word.isalpha() and word != "a") for word in words):
        return True
    if any(_variable(*pair) for pair in pairwise(written + result)):
        return True
    if len({word.rstrip("s") for word in words} & UNITS) > 1:
        return True
    percents = sum(token.kind == "percent" for token in written)
    if percents and any(token.text in ("+", "-") for token in written if token.kind == "operator"):
        return True
    if end < len(right) and right[end].kind in ("other", "odd", "percent", "number"):
        return True
    return bool(before) and _tied(before)


def _near(result: list[Token]) -> list[Token]:
    """A result without the words of the sentence that goes on behind it: `36 hours` of `36 hours in a week`."""
    last = max((place for place, token in enumerate(result) if token.kind == "number"), default=0)
    return result[: last + 3]


def _tied(before: list[Token]) -> bool:
    """Whether the words before an expression make it a part of a longer one."""
    words: list[str] = []
    for token in reversed(before):
        if token.kind != "word":
            break
        words.append(token.text.lower())
    quantity = before[-1 - len(words)].kind if len(words) < len(before) else "open"
    if quantity in ("open", "currency"):
        return any(word in CHANGES_VALUE or word == "than" for word in words[:2])
    return not words or quantity == "operator" or (len(words) <= 4 and not CONTINUES_EXPRESSION.isdisjoint(words))


def _variable(number: Token, letter: Token) -> bool:
    """`2a`, `3A`: a number with an unknown, not a number with a unit."""
    return number.kind == "number" and letter.text.isalpha() and len(letter.text) == 1 and number.end == letter.start
