"""Reading numeric answers out of text, in GSM8K's convention: the last line of a solution is `#### N`.

A normalised number is canonical: two of them are the same string exactly when they are the same number.
"""

import re

NUMBER = re.compile(
    r"""
    (?<![A-Za-z0-9_])                        # H2O, m2 and the tail of a number hold no number
    (?P<digits> [0-9]{1,3} (?:,[0-9]{3})+ (?![0-9]) (?:\.[0-9]+)?
              | [0-9]+ (?:\.[0-9]+)?
              | (?<![0-9.]) \.[0-9]+ )
    """,
    re.VERBOSE,
)
MINUS_SIGNS = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "－": "-"})
CURRENCY = "$€£¥₹₦₱₩₺₽"
CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")
ANSWER_MARK = "#### "

_SIGN = re.compile(rf"(?:^|[^A-Za-z0-9_)%\]\s]|(?:^|[^0-9)%\]\s])\s+)-[{CURRENCY}]?\s?$|^\s*-\s*[{CURRENCY}]?\s?$")
_BEFORE_ANSWER = re.compile(rf"[\s*_(\\\[{CURRENCY}-]*(?:US\$|Rs\.?\s?)?")
_GOES_ON = re.compile(rf"\s*[-+*/x×÷:^]\s*[({CURRENCY}]?\s*[0-9]")


def strip_marks(text: str) -> str:
    """The text without GSM8K's calculator marks: `3*4=<<3*4=12>>12` becomes `3*4=12`."""
    return CALCULATOR_MARK.sub("", text)


def count_marks(text: str) -> int:
    """How many calculator marks there are: GSM8K's number of steps."""
    return len(CALCULATOR_MARK.findall(text))


def canonical(digits: str, negative: bool = False) -> str:
    """`1,200.50` as `1200.5`; no leading or trailing zeros, no sign on zero."""
    whole, _, decimals = digits.replace(",", "").partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return f"-{value}" if negative and value != "0" else value


def normalise(answer: str) -> str | None:
    """The number that `answer` starts with, canonical: `$1,200.00 dollars` is `1200`, `−5%.` is `-5`.

    None where it starts with no number (after a currency sign or emphasis), or goes on calculating: `5 * 3 = 15`,
    `3/4` and `10-12` are not one number.
    """
    answer = answer.translate(MINUS_SIGNS)
    number = NUMBER.search(answer)
    if number is None:
        return None
    before, behind = answer[: number.start()], answer[number.end() :]
    if not _BEFORE_ANSWER.fullmatch(before) or "=" in behind or _GOES_ON.match(behind):
        return None
    return canonical(number["digits"], negative="-" in before)


def strict(text: str) -> str | None:
    """The normalised answer behind the last `#### `, or None."""
    _, mark, answer = text.rpartition(ANSWER_MARK)
    if not mark:
        return None
    return normalise(answer.split("\n", 1)[0])


def flexible(text: str) -> str | None:
    """The normalised last number of the text, or None. In `10-4` and `10 - 4` the last number is 4."""
    text = strip_marks(text).translate(MINUS_SIGNS)
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        return None
    last = numbers[-1]
    before = text[max(0, last.start() - 12) : last.start()].split("\n")[-1]
    return canonical(last["digits"], negative=_SIGN.search(before) is not None)
