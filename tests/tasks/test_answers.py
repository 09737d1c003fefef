import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.tasks.answers import canonical, count_marks, flexible, normalise, strict, strip_marks

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18", "18"),
        ("1,200", "1200"),
        ("109,200,000", "109200000"),
        ("$18.00", "18"),
        ("€ 7", "7"),
        ("US$5", "5"),
        ("12.50", "12.5"),
        (".5", "0.5"),
        ("18.", "18"),
        ("18 apples.", "18"),
        ("18 apples in 3 days", "18"),
        ("5%", "5"),
        ("-5", "-5"),
        ("−5 degrees", "-5"),
        ("$-5", "-5"),
        ("-$1,000.0", "-1000"),
        ("-0", "0"),
        ("007", "7"),
        ("**18**", "18"),
        ("12km", "12"),
        ("", None),
        ("eighteen", None),
        ("apples: 18", None),
        ("5 * 3 = 15", None),
        ("3/4", None),
        ("10-12", None),
        ("H2O", None),
    ],
)
def test_normalise(text: str, expected: str | None) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 * 4 = 12\n#### 12", "12"),
        ("#### 1\n#### 2", "2"),
        ("so\n#### $1,200.\nAnd more: 5", "1200"),
        ("inline #### 7", "7"),
        ("####7", None),
        ("#### ", None),
        ("the answer is 7", None),
        ("", None),
    ],
)
def test_strict_reads_behind_the_last_mark(text: str, expected: str | None) -> None:
    assert strict(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs $1,200", "1200"),
        ("It costs $1,200.", "1200"),
        ("10-4", "4"),
        ("10 - 4", "4"),
        ("x is -4", "-4"),
        ("Answer: −4.", "-4"),
        ("a loss of -$4", "-4"),
        ("lists 1,2345", "2345"),
        ("5 m2 of CO2", "5"),
        ("12 apples<<3*4=13>> here", "12"),
        ("none", None),
    ],
)
def test_flexible_reads_the_last_number(text: str, expected: str | None) -> None:
    assert flexible(text) == expected


def test_marks_are_stripped_and_counted() -> None:
    text = "She has 3*4=<<3*4=12>>12 and 12-2=$<<12-2=10>>10."
    assert strip_marks(text) == "She has 3*4=12 and 12-2=$10."
    assert count_marks(text) == 2


numbers = st.tuples(st.booleans(), st.integers(0, 10**15), st.integers(0, 999_999), st.integers(0, 6))


@given(numbers, st.booleans(), st.sampled_from(["", "$", "€"]), st.sampled_from(["", ".", " apples", "%", " km/h."]))
def test_any_writing_of_a_number_is_that_number(
    number: tuple[bool, int, int, int], grouped: bool, currency: str, unit: str
) -> None:
    negative, whole, decimals, places = number
    digits = f"{whole:,}" if grouped else str(whole)
    if places:
        digits += "." + str(decimals).zfill(6)[:places]
    value = Fraction(digits.replace(",", "")) * (-1 if negative else 1)
    sign = "-" if negative else ""
    read = normalise(f"{sign}{currency}{digits}{unit}")
    assert read is not None
    assert Fraction(read) == value
    assert normalise(read) == read == canonical(digits, negative)
    assert strict(f"some work 1 + 1 = 2\n#### {sign}{currency}{digits}{unit}") == read
    assert flexible(f"some work 1 + 1 = 2\n so it is {sign}{currency}{digits}{unit}") == read


@given(st.text(max_size=200))
def test_no_text_breaks_the_readers(text: str) -> None:
    for read in (normalise(text), strict(text), flexible(text)):
        assert read is None or normalise(read) == read


def test_gsm8k_answers_are_read_from_every_gold_solution() -> None:
    if not GSM8K.is_dir():
        pytest.skip(f"GSM8K is not at {GSM8K}")
    seen = 0
    for split in ("train", "test"):
        for line in (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)["answer"]
            gold = answer.rsplit("#### ", 1)[1].replace(",", "")
            assert strict(answer) == flexible(answer) == str(int(gold))
            seen += 1
    assert seen == 7_473 + 1_319
