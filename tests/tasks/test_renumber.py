import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte import recipe, tasks
from arte.rows import Example
from arte.tasks.equations import equations_hold, reaches
from arte.tasks.renumber import Worked, numbers_of, renumbered

TOM = Worked(
    "Tom has 36 marbles. He gives 12 to a friend and half of the rest to Ann. How many has Ann?",
    "1. Tom keeps 36 - 12 = 24 of his 36 marbles.\n2. Ann gets 24 / 2 = $12.",
    "12",
)


USUAL = [7, 48]


class Draws(random.Random):
    """Gives the numbers of a list in turn."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__(0)
        self.numbers = iter(numbers)
        self.asked: list[tuple[int, int]] = []

    def choice(self, seq: Any) -> Any:
        assert seq == USUAL
        return seq[-1]

    def randint(self, a: int, b: int) -> int:
        self.asked.append((a, b))
        return next(self.numbers)


def test_a_problem_by_hand() -> None:
    """12 becomes 15 and 36 becomes 45: 30 are left, half of them 15. The last result had been 12 as a number of the
    question is, and is told from it by its place; steps keep their numbers, as does what `half` brings in."""
    draw = Draws([15, 45])
    assert renumbered(TOM, USUAL, draw) == Worked(
        "Tom has 45 marbles. He gives 15 to a friend and half of the rest to Ann. How many has Ann?",
        "1. Tom keeps 45 - 15 = 30 of his 45 marbles.\n2. Ann gets 30 / 2 = $15.",
        "15",
    )
    assert draw.asked == [(36, 64)] * 2  # three quarters to four thirds of 48


def test_numbers_of_questions() -> None:
    asked = ["Ann has 3 pens, 3 cups and 1,200 pins.", "A pen costs $1.50 or 2 cups.", "20% of 5", "None.", "4 + 5 = 9"]
    assert numbers_of(asked) == [3, 1200]


def test_what_does_not_come_out_whole_and_positive_is_drawn_again() -> None:
    draw = Draws([20, 19, 15, 46, 15, 45])  # -1 left; 31 / 2; then as above
    found = renumbered(TOM, USUAL, draw)
    assert found is not None
    assert found.answer == "15"
    assert len(draw.asked) == 6


@pytest.mark.parametrize(
    ("question", "solution", "answer", "why"),
    [
        ("Ann buys 3 pens at 4 dollars.", "3 * 5 = 15", "15", "5 comes from nowhere"),
        ("Ann buys 3 pens at 4 dollars.", "3 * 4 = 13", "13", "does not hold"),
        ("Ann buys 3 pens at 4 dollars.", "She pays 12.", "12", "nothing is computed"),
        ("Ann buys 3 pens at 4 dollars.", "3 * 4 = 12", "7", "another answer"),
        ("Ann has 2 pens, Bo twice as many.", "2 * 2 = 4", "4", "which 2 is meant?"),
        ("Ann has 6 pens and 12 more, Bo half.", "6 + 12 = 18\n18 - 6 = 12\n12 / 2 = 6", "6", "which 12 is meant?"),
        ("Ann buys 3 pens at 1.50 dollars.", "3 * 1.50 = 4.50", "4.5", "not whole"),
        ("20% of 50 pens are red.", "50 * 20% = 10", "10", "a percentage"),
        ("Ann has 5 + 3 = 8 pens, and 2 more.", "8 + 2 = 10", "10", "an equation in the question"),
        ("Ann buys some pens.", "3 * 4 = 12", "12", "no number"),
        ("Ann has 3 pens and 5 go.", "3 - 5 = -2", "-2", "not positive"),
    ],
)  # fmt: skip
def test_what_stays_as_it_is(question: str, solution: str, answer: str, why: str) -> None:
    assert renumbered(Worked(question, solution, answer), USUAL, random.Random(0)) is None, why
    task = tasks.load("starter")
    example = Example(id="e", question=question, rationale=solution, answer=answer)
    assert task.varied(example, [], random.Random(0)) is example


def test_the_starter_task_with_other_numbers() -> None:
    """Its solutions are computations by construction: nearly all can be done, and none comes out wrong."""
    task = tasks.load("starter")
    items = task.splits(recipe.Task(name="starter", seeds=108), seed=1).seeds
    done, changed = 0, 0
    for number, item in enumerate(items):
        worked = Worked(item.question, item.rationale, item.answer)
        other = renumbered(worked, numbers_of(item.question for item in items), random.Random(number))
        if other is None:
            continue
        done += 1
        changed += other.question != item.question
        assert equations_hold(other.solution) is None
        assert reaches(other.solution, other.answer)
        assert re.sub(r"[\d,]+", "0", other.question) == re.sub(r"[\d,]+", "0", item.question)
        assert len(other.solution.split("\n")) == len(item.rationale.split("\n"))
    assert done >= 0.6 * len(items)
    assert changed >= 0.98 * done


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 99).map(str))
def test_any_text_at_all(question: str, solution: str, answer: str) -> None:
    renumbered(Worked(question, solution, answer), USUAL, random.Random(0))


@given(
    st.lists(st.integers(2, 300), min_size=2, max_size=4, unique=True),
    st.lists(st.sampled_from("+-*"), min_size=3, max_size=3),
    st.integers(0, 9),
)
def test_solutions_of_any_numbers_stay_true(numbers: list[int], signs: list[str], seed: int) -> None:
    total, lines = numbers[0], []
    for number, sign in zip(numbers[1:], signs, strict=False):
        result = {"+": total + number, "-": total - number, "*": total * number}[sign]
        lines.append(f"That is {total} {sign} {number} = {result} now.")
        total = result
    question = "Someone counts " + ", then ".join(f"{number} things" for number in numbers) + "."
    found = renumbered(Worked(question, "\n".join(lines), str(total)), [5, 40, 300], random.Random(seed))
    if found is not None:
        assert equations_hold(found.solution) is None
        assert reaches(found.solution, found.answer)
