"""Examples against test items, counted by hand."""

import pytest

from arte.rows import Example, Item
from arte.stages.overlap import Overlap, Passage, items_of, measure, problem


def item(name: str, question: str) -> Item:
    return Item(id=name, question=question, rationale="", answer="1")


def example(name: str, question: str, rationale: str = "", answer: str = "1") -> Example:
    return Example(id=name, question=question, rationale=rationale, answer=answer)


SEEDS = [item("s0", "How many red apples are in the box now? There were 3.")]
TEST = items_of(
    [
        item("t0", "How many red apples are in the box, if Ada ate five of them at noon?"),
        item("t1", "cat"),
        item("t2", "not ( True ) and ( True ) is so and stays so"),
    ]
)
EXAMPLES = [
    example("wording", "How many red apples are in the box and who is Bela?"),  # 8 words that the seed has too
    example("copied", "Say why.", "For in the box, if Ada ate five of THEM, none is left."),  # in the reply, 9 words
    example("free", "How many green pears are in the box?"),  # 7 in a row at most
    example("marks", "( not True and ) ( True is so and stays so"),  # the same words, other marks
]


def test_shared_words_are_counted_with_and_without_the_tasks_wording() -> None:
    [found] = measure({"arte": EXAMPLES}, {"test": TEST}, SEEDS, 8)
    assert found == Overlap(
        arm="arte", test="test", examples=4, items=3, words=8, shared=3, beyond_seeds=2, contained=[]
    )
    assert problem([found]) is None
    [nine] = measure({"arte": EXAMPLES}, {"test": TEST}, SEEDS, 9)
    assert (nine.shared, nine.beyond_seeds) == (2, 2)


@pytest.mark.parametrize(
    ("question", "rationale", "contained"),
    [
        ("HOW many red apples are in the  box, if Ada ate five of them at noon?", "", "t0"),
        ("Think.", "First: how many red apples are in the box, if Ada ate five of them at noon? So.", "t0"),
        ("How many red apples are in the box, if Ada ate five of them at noon or later?", "", None),
        ("Cat", "", "t1"),
        ("cat", "It is a cat.", "t1"),
        ("What is a cat?", "", None),  # a short item stands in many a text
        ("What does it eat?", "cat", None),
        ("Is not ( True ) and ( True ) is so and stays so a formula?", "", "t2"),
    ],
)
def test_an_example_that_holds_a_whole_item(question: str, rationale: str, contained: str | None) -> None:
    [found] = measure({"arte": [example("e", question, rationale)]}, {"test": TEST}, SEEDS, 8)
    texts = {passage.id: passage.text for passage in TEST}
    assert found.contained == ([] if contained is None else [f"e holds {contained}: {texts[contained][:60]!r}"])
    told = problem([found])
    assert (told is None) == (contained is None)
    assert contained is None or f"arte, test: e holds {contained}" in str(told)


def test_every_arm_and_test_has_its_row_and_long_lists_are_cut() -> None:
    many = [example(f"e{number}", "cat") for number in range(5)]
    found = measure({"arte": many, "exercises": EXAMPLES[:1]}, {"test": TEST, "other": [Passage("d0", "x y")]}, [], 8)
    assert [(row.test, row.arm, row.shared, len(row.contained)) for row in found] == [
        ("test", "arte", 5, 5), ("test", "exercises", 1, 0), ("other", "arte", 0, 0), ("other", "exercises", 0, 0),
    ]  # fmt: skip
    assert found[1].beyond_seeds == 1  # without seeds all of it counts
    told = problem(found)
    assert told is not None
    assert told.count(" holds t1") == 3
    assert "and 2 more (overlap.json)" in told
