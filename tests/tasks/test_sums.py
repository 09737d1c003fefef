import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from arte import recipe, tasks
from arte.tasks.equations import equations_hold
from arte.tasks.sums import A_PAGE, MOST_PRODUCT, QUESTION, equation, pages


@given(st.lists(st.integers(0, 5000), max_size=5), st.integers(0, 10_000))
def test_an_equation_holds_and_stays_small(usual: list[int], seed: int) -> None:
    a, sign, b, _, c = equation(usual, random.Random(seed)).split()
    assert equations_hold(f"{a} {sign} {b} = {c}") is None
    assert min(int(a), int(b), int(c)) >= 1
    if sign in "*/":
        assert int(c if sign == "*" else a) <= MOST_PRODUCT


def test_pages_of_sums() -> None:
    found = pages(25, [7], random.Random(0))
    assert [row.id for row in found] == ["sums-0", "sums-1", "sums-2"]
    assert {row.question for row in found} == {QUESTION}
    lines = [line for row in found for line in row.rationale.split("\n")]
    assert len(lines) == 3 * A_PAGE
    assert [row.answer for row in found] == [row.rationale.split(" ")[-1] for row in found]
    assert equations_hold("\n".join(lines)) is None
    many = [line.split()[1] for row in pages(4000, [7], random.Random(1)) for line in row.rationale.split("\n")]
    assert Counter(many).keys() == set("+-*/")
    assert min(Counter(many).values()) > 300
    assert pages(25, [7], random.Random(0)) == found
    assert pages(0, [], random.Random(0)) == []


def test_exercises_of_a_task_have_numbers_like_its_seeds() -> None:
    task = tasks.load("starter")
    seeds = task.splits(recipe.Task(name="starter", seeds=36), seed=0).seeds
    found = task.exercises(2000, seeds, random.Random(0))
    assert len(found) == 200
    numbers = [int(word) for row in found for word in row.rationale.split() if word.isdecimal()]
    small = sum(number < 60 for number in numbers) / len(numbers)
    assert small > 0.5  # as of the seeds' numbers nine in ten are
    assert all(task.strict(task.completion(row.rationale, row.answer)) == row.answer for row in found)
