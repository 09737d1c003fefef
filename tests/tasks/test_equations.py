import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.tasks.answers import strip_marks
from arte.tasks.equations import equations_hold, reaches

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"

HOLDING = [
    "3 * 4 = 12",
    "There are 3 apples * 4 = 12 apples.",
    "She pays $5 x 3 = $15, and 15 - 3 = 12 are left.",
    "1,200 / 4 = 300",
    "(2 + 3) × 4 = 5 × 4 = 20",
    "2 + 3 * 4 = 14",
    "10 / 3 = 3.33",
    "20 / 3 = 6.66",
    "10 / 3 = 3",
    "11 / 3 = 4",
    "15 / 60 = 25%",
    "100% - 40% = 60%",
    "20% * 50 = 10",
    "8 / 1/2 = 16",
    "3(4 + 1) = 15",
    "-5 + 8 = 3",
    "- 5 + 8 = 13",
    "50 people – 15 who got off at the first stop = 35 people",
    "3 * 4 = 12 * 2 = 24",
    r"\( 3 \times 4 = 12 \) and \frac{12}{4} = 3",
    "**3 * 4 = 12**",
    "7 ÷ 2 = 3.5",
    "20 * $.50 = $10",
    "12*3=<<12*3=36>>36",
]
FAILING = [
    ("3 * 4 = 13", "3 * 4 = 13"),
    ("Fine: 1 + 1 = 2. Then 12 - 5 = 8 are left.", "12 - 5 = 8"),
    ("She pays $5 x 3 = $16.", "$5 x 3 = $16"),
    ("1,200 / 4 = 200", "1,200 / 4 = 200"),
    ("(2 + 3) * 4 = 14", "(2 + 3) * 4 = 14"),
    ("5 = 6\n1 + 2 = 4", "1 + 2 = 4"),
    ("11 / 3 = 3", "11 / 3 = 3"),
    ("10 / 3 = 3.35", "10 / 3 = 3.35"),
    ("In 2 days 3 + 4 = 8 eggs", "3 + 4 = 8"),
    ("3 boxes * 4 pens = 14 pens", "3 boxes * 4 pens = 14"),
]
NOT_EQUATIONS = [
    "x = 5",
    "3U + 9 = 411",
    "U - 17 + 43 = 5",
    "2x + 4 = 10",
    "60% of 50 + 10 = 40",
    "half of 20 + 5 = 15",
    "2 hours + 30 minutes = 150 minutes",
    "2 dozen + 3 = 27",
    "2 1/2 * 4 = 10",
    "5^2 + 1 = 26",
    "10:30 + 2 = 12:30",
    "17 / 5 = 3 remainder 2",
    "two * 3 = 6",
    "5 * 20 cents = $1",
    "3 + = 4",
    "= 5",
    "a -> b => 3 + 3 => 7",
]


@pytest.mark.parametrize("text", HOLDING)
def test_true_equations_hold(text: str) -> None:
    assert equations_hold(text) is None


@pytest.mark.parametrize(("text", "found"), FAILING)
def test_the_first_false_equation_is_named(text: str, found: str) -> None:
    assert equations_hold(text) == found


@pytest.mark.parametrize("text", NOT_EQUATIONS)
def test_what_cannot_be_read_is_no_equation(text: str) -> None:
    assert equations_hold(text) is None


@pytest.mark.parametrize(
    ("text", "answer", "does"),
    [
        ("3 * 4 = 12", "12", True),
        ("Mei has\n3 + 4 = 7 cups.\nOf them 7 - 5 = 2 are red.", "7", True),
        ("She pays $1.50 * 4 = $6.00.", "6", True),
        ("So 3 * 4 = 12 * 2 = 24.", "12", True),
        ("That is 15 / 20 = 75%.", "75", True),
        ("That is 15 / 20 = 75%.", "0.75", True),
        ("10 - 12 = -2", "-2", True),
        ("3 * 4 = 12", "4", False),
        ("3 * 4 = 12, so Mei has 13 cups.", "13", False),
        ("Mei has 12 cups.", "12", False),
        ("12 =", "12", False),
        ("5 = x", "5", False),
        ("", "0", False),
    ],
)
def test_whether_an_answer_is_worked_out(text: str, answer: str, does: bool) -> None:
    assert reaches(text, answer) == does


def test_a_run_on_fails_at_its_second_equation() -> None:
    assert equations_hold("3 * 4 = 12 * 2 = 25") == "12 * 2 = 25"


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction, int]:
    """Text, value and binding strength (0: sum, 1: product, 2: number) of an expression."""
    if depth == 0 or draw(st.booleans()):
        number = draw(st.integers(1, 2000))
        return (f"{number:,}" if draw(st.booleans()) else str(number)), Fraction(number), 2
    (left, left_value, left_binds), (right, right_value, right_binds) = (
        draw(expressions(depth - 1)),
        draw(expressions(depth - 1)),
    )
    operator = draw(st.sampled_from("+-*/" if right_value else "+-*"))
    binds = 1 if operator in "*/" else 0
    left = f"({left})" if left_binds < binds else left
    right = f"({right})" if right_binds <= binds else right
    values = {"+": left_value + right_value, "-": left_value - right_value, "*": left_value * right_value}
    value = left_value / right_value if operator == "/" else values[operator]
    shown = draw(st.sampled_from({"*": ["*", "×", "x"], "/": [" / ", "÷"], "-": ["-", "−"]}.get(operator, [operator])))
    space = draw(st.sampled_from(["", " "]))
    return f"{left}{space}{shown}{space}{right}", value, binds


@given(expressions(), st.integers(1, 10**6))
def test_exact_results_hold_and_others_do_not(expression: tuple[str, Fraction, int], wrong_by: int) -> None:
    text, value, binds = expression
    if value.denominator != 1 or binds == 2:
        return
    assert equations_hold(f"So {text} = {value} cups.") is None
    false = f"{text} = {value + wrong_by}"
    found = equations_hold(f"So {false} cups.")
    assert found is not None
    assert found.endswith(f"= {value + wrong_by}")


@given(st.integers(1, 10_000), st.integers(1, 999), st.integers(1, 5))
def test_results_may_be_rounded_to_the_decimals_written(dividend: int, divisor: int, decimals: int) -> None:
    value = Fraction(dividend, divisor)
    rounded = f"{float(round(value, decimals)):.{decimals}f}"
    assert equations_hold(f"{dividend} / {divisor} = {rounded}") is None
    off = Fraction(rounded) + Fraction(2, 10**decimals)
    assert equations_hold(f"{dividend} / {divisor} = {float(off):.{decimals}f}") is not None


@given(st.text(alphabet="0123456789+-*/=x()[]%$., aU\n:\\{}^", max_size=120))
def test_no_text_breaks_the_reader(text: str) -> None:
    found = equations_hold(text)
    assert found is None or "=" in found


@pytest.mark.parametrize(
    "text", ["(" * 5_000 + "1 + 1 = 3", "1 + " * 5_000 + "1 = 3", "9" * 5_000 + " + 1 = 3", "1 =" * 5_000]
)
def test_text_that_runs_away_is_not_judged(text: str) -> None:
    assert equations_hold(text) is None


def test_few_gold_solutions_of_gsm8k_raise_an_alarm() -> None:
    if not GSM8K.is_dir():
        pytest.skip(f"GSM8K is not at {GSM8K}")
    train, test = ((GSM8K / f"{split}.jsonl").read_text("utf-8").splitlines() for split in ("train", "test"))
    lines = test + train[::5]  # every item was read once: 34 of 8,792 raise an alarm, half of them rightly
    alarms = [found for line in lines if (found := equations_hold(strip_marks(json.loads(line)["answer"])))]
    assert len(lines) == 1_319 + 1_495
    assert len(alarms) < 0.006 * len(lines), alarms
