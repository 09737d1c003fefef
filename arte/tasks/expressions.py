"""Reading arithmetic out of prose, and its exact value.

`evaluate` reads as much of a token list as is arithmetic: numbers with currency signs, percents and unit words behind
them, joined by + - * / and parentheses. It never evaluates text as code.
"""

import re
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from arte.tasks.answers import CURRENCY, MINUS_SIGNS, strip_marks

MOST_DIGITS = 24
MOST_NESTING = 12

TOKEN = re.compile(
    rf"""
    (?P<space> \s+ )
  | (?P<number> (?: [0-9]{{1,3}}(?:,[0-9]{{3}})+(?!,?[0-9]) | [0-9]+(?!,?[0-9]) ) (?:\.[0-9]+)? | \.[0-9]+ )
  | (?P<odd> [0-9][0-9,.]* )             # 16,0000 and the like
  | (?P<word> [^\W\d_]+ (?:['’-][^\W\d_]+)* )
  | (?P<equals> ==? (?![>=]) )
  | (?P<operator> [-+*/] )
  | (?P<open> [(\[] ) | (?P<close> [)\]] )
  | (?P<percent> % )
  | (?P<currency> [{CURRENCY}] )
  | (?P<stop> [.,;?!:"“”|]+ )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
LATEX = (
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\(?:text|mathrm|mathbf|boxed)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-z])"), "*"),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile(r"\\[()\[\],;! ]"), " "),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"(?<!\d)\*\*|\*\*(?!\d)"), " "),
    (re.compile(r"\((?:[^\W\d_]|\s)+\)"), " "),
)
SIGNS = str.maketrans({"×": "*", "✕": "*", "∗": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "＝": "="}) | MINUS_SIGNS


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class Value(NamedTuple):
    """What a stretch of tokens evaluates to under one reading, and where it ends."""

    number: Fraction
    next: int


class Reading(NamedTuple):
    percent: Fraction
    """What `%` multiplies by: 1 or 1/100."""
    tight_fractions: bool
    """Whether `1/2` without spaces is one number."""


READINGS = tuple(Reading(*choice) for choice in product((Fraction(1, 100), Fraction(1)), (False, True)))


class UnreadableError(Exception):
    """These tokens are no arithmetic."""


def plain(text: str) -> str:
    """The text with LaTeX, emphasis and typographic signs written as plain arithmetic."""
    text = strip_marks(text)
    for pattern, replacement in LATEX:
        text = pattern.sub(replacement, text)
    return text.translate(SIGNS)


def tokens_of(line: str) -> list[Token]:
    """Tokens without spaces. An `x` between quantities becomes `*`; operators that join words become words."""
    raw = [Token(match.lastgroup or "other", match[0], match.start(), match.end()) for match in TOKEN.finditer(line)]
    tokens: list[Token] = []
    for place, token in enumerate(raw):
        behind = next((other for other in raw[place + 1 : place + 3] if other.kind != "space"), None)
        quantity_behind = behind is not None and behind.kind in ("number", "open", "currency")
        kind, text = token.kind, token.text
        if kind == "space":
            continue
        if kind == "word" and text in "xX" and quantity_behind and tokens:
            kind, text = "operator", "*"
        elif kind == "operator" and text in "-/" and behind is not None and behind.kind == "word":
            attached = behind.start == token.end
            after_quantity = bool(tokens) and tokens[-1].kind in ("number", "word", "percent", "close")
            kind = "word" if attached and after_quantity else kind
        elif kind == "stop" and text == ":" and behind is not None and tokens:
            clock = tokens[-1].kind == behind.kind == "number" and tokens[-1].end + 1 == behind.start
            kind = "other" if clock else kind
        tokens.append(Token(kind, text, token.start, token.end))
    return tokens


def evaluate(tokens: list[Token], place: int, reading: Reading, nesting: int = 0) -> Value:
    """The value of the arithmetic that starts at `place`. Raises UnreadableError where none does.

    expression: term (("+" | "-") term)*
    """
    total = _term(tokens, place, reading, nesting)
    while operator_at(tokens, total.next) in ("+", "-"):
        try:
            term = _term(tokens, total.next + 1, reading, nesting)
        except UnreadableError:
            break
        sign = 1 if tokens[total.next].text == "+" else -1
        total = Value(total.number + sign * term.number, term.next)
    return total


def _term(tokens: list[Token], place: int, reading: Reading, nesting: int) -> Value:
    """term: factor (("*" | "/") factor | "(" … ")")*"""
    product_so_far = _factor(tokens, place, reading, nesting)
    while True:
        place = product_so_far.next
        operator = operator_at(tokens, place)
        if operator not in ("*", "/") and not _opens_at_once(tokens, place):
            return product_so_far
        try:
            factor = _factor(tokens, place + (operator != ""), reading, nesting)
        except UnreadableError:
            return product_so_far
        number = product_so_far.number / factor.number if operator == "/" else product_so_far.number * factor.number
        product_so_far = Value(number, factor.next)


def _factor(tokens: list[Token], place: int, reading: Reading, nesting: int) -> Value:
    """factor: ["-"] [currency] number ["%"] unit* | ["-"] "(" expression ")" unit*"""
    sign = 1
    if operator_at(tokens, place) == "-":
        sign, place = -1, place + 1
    while kind_at(tokens, place) == "currency":
        place += 1
    if kind_at(tokens, place) == "open":
        if nesting == MOST_NESTING:
            raise UnreadableError
        inner = evaluate(tokens, place + 1, reading, nesting + 1)
        if kind_at(tokens, inner.next) != "close":
            raise UnreadableError
        number, place = inner.number, inner.next + 1
    elif kind_at(tokens, place) == "number":
        if len(tokens[place].text) > MOST_DIGITS:
            raise UnreadableError
        number, place = Fraction(tokens[place].text.replace(",", "")), place + 1
        if reading.tight_fractions and _tight_fraction(tokens, place):
            number, place = number / Fraction(tokens[place + 1].text.replace(",", "")), place + 2
    else:
        raise UnreadableError
    if kind_at(tokens, place) == "percent":
        number, place = number * reading.percent, place + 1
    while kind_at(tokens, place) in ("word", "currency") and not _price_follows(tokens, place):
        place += 1
    return Value(sign * number, place)


def kind_at(tokens: list[Token], place: int) -> str:
    return tokens[place].kind if place < len(tokens) else ""


def operator_at(tokens: list[Token], place: int) -> str:
    return tokens[place].text if kind_at(tokens, place) == "operator" else ""


def _opens_at_once(tokens: list[Token], place: int) -> bool:
    """`3(4 + 1)` and `(2)(3)` multiply; `5 dozen (60)` does not."""
    return kind_at(tokens, place) == "open" and tokens[place - 1].kind in ("number", "close")


def _tight_fraction(tokens: list[Token], place: int) -> bool:
    return (
        operator_at(tokens, place) == "/"
        and kind_at(tokens, place + 1) == "number"
        and tokens[place - 1].end == tokens[place].start
        and tokens[place].end == tokens[place + 1].start
        and Fraction(tokens[place + 1].text.replace(",", "")) != 0
    )


def _price_follows(tokens: list[Token], place: int) -> bool:
    """`20$` is an amount; in `7 and $5` the sign belongs to the next number."""
    return tokens[place].kind == "currency" and kind_at(tokens, place + 1) == "number"
