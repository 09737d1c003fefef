from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte import recipe, tasks
from arte.recipe import Style
from arte.rows import Item
from arte.tasks import Draft
from arte.tasks.equations import equations_hold
from arte.tasks.styles import EXAMPLES, STYLES

TASK = tasks.load("starter")
SEEDS = [
    Item(id="a", question="Mei has 3 cups and buys 4. How many cups now?", rationale="3 + 4 = 7", answer="7"),
    Item(id="b", question="Noor has $9 and spends $4. How many dollars now?", rationale="9 - 4 = 5", answer="5"),
]


def test_the_question_prompt_is_a_list_that_begins_with_the_seeds() -> None:
    request, opening = TASK.question_prompt(SEEDS, 5)
    assert (request["role"], opening["role"]) == ("user", "assistant")
    assert "7 different" in request["content"]
    assert opening["content"] == (
        "Problem 1: Mei has 3 cups and buys 4. How many cups now?\nSolution: 3 + 4 = 7\nAnswer: 7\n\n"
        "Problem 2: Noor has $9 and spends $4. How many dollars now?\nSolution: 9 - 4 = 5\nAnswer: 5\n\n"
        "Problem 3:"
    )


def test_lines_of_a_seed_are_not_problems_of_their_own() -> None:
    listed = SEEDS[0].model_copy(update={"question": "Mei has:\n1. 3 cups\n2. 4 plates\nHow many things?"})
    prompt = TASK.question_prompt([listed], 1)
    who = Draft("Who?", "1. Mei has 3.\n2. That is all.", "3")
    assert TASK.parse_questions(TASK.question_reply(prompt, [who])) == [
        Draft("Mei has: 1. 3 cups 2. 4 plates How many things?", "3 + 4 = 7", "7"),
        who,
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Problem 1: Who?\nAnswer: 3\n\nProblem 2: Where?\nAnswer: $1,200.", [("Who?", "3"), ("Where?", "1200")]),
        ("1. Who?\nAnswer: 3 cups\n2. Where?", [("Who?", "3"), ("Where?", None)]),
        ("**Problem 4:** Who has\ntwo lines?\n**Answer:** 3 * 4 = 12", [("Who has two lines?", "12")]),
        ("Here they are:\n\nProblem 4: Who?\nAnswer: Mei has 7 cups.\n", [("Who?", "7")]),
        ("Problem 1:\n\nWho? Answer: $12\n\nProblem 2:\n\nWhere?\n\n**Answer**: 4", [("Who?", "12"), ("Where?", "4")]),
        ("Question 1) Who?\nAnswer: none", [("Who?", None)]),
        (
            "Problem 1: Mei walks\n12.5 km and 3 km. How far?\nAnswer: 15.5",
            [("Mei walks 12.5 km and 3 km. How far?", "15.5")],
        ),
        ("Problem 1:\nAnswer: 3", []),
        ("Example 1: Who?\nAnswer: 30 cookies", [("Who?", "30")]),
        ("I cannot do that.", []),
        ("", []),
    ],
)
def test_questions_are_read_from_a_reply(reply: str, expected: list[tuple[str, str | None]]) -> None:
    assert TASK.parse_questions(reply) == [Draft(question, None, target) for question, target in expected]


@pytest.mark.parametrize(
    ("reply", "solution", "target"),
    [
        ("Problem 1: Who?\nSolution: 3 * 4 = 12 cups.\nAnswer: 12", "3 * 4 = 12 cups.", "12"),
        (
            "Problem 1: Who?\nSolution:\n1. 3 * 4 = 12\n2. 12 + 1 = 13\n\nAnswer: 13",
            "1. 3 * 4 = 12\n2. 12 + 1 = 13",
            "13",
        ),
        ("**Problem 1:** Who?\n**Solution:** 3 * 4 = 12\n**Answer:** $12.", "3 * 4 = 12", "12"),
        ("Problem 1: Who? Solution: 3 * 4 = 12 Answer: 12", "3 * 4 = 12", "12"),
        ("Problem 1: Who?\nSolution: 3 * 4 = 12", None, "12"),  # only an answer, under another name
        ("Problem 1: Who?\nSolution: 3 * 4 = 12\n12 + 1 = 13", None, "13"),  # 12 is a step on the way
        ("Problem 1: Who?\nSolution:\nAnswer: 12", None, "12"),
        ("Problem 1: Who?\nSolution: 3 * 4 = 12\nAnswer: none", "3 * 4 = 12", None),
        ("Problem 1: Who?\nAnswer: 12\nSolution: 3 * 4 = 12", "3 * 4 = 12", "12"),
    ],
)
def test_solutions_are_read_beside_questions(reply: str, solution: str | None, target: str | None) -> None:
    assert TASK.parse_questions(reply) == [Draft("Who?", solution, target)]


words = st.lists(st.from_regex(r"[A-Za-z]{1,8}|[1-9][0-9]{0,3}", fullmatch=True), min_size=1, max_size=12)
questions = words.map(lambda parts: "Say " + " ".join(parts) + "?")


targets = st.integers(-999, 99_999).map(str)
solutions = st.lists(words.map(" ".join), min_size=1, max_size=3).map("\n".join)


@given(
    st.lists(
        st.builds(Draft, questions, st.none(), st.none() | targets) | st.builds(Draft, questions, solutions, targets),
        min_size=1,
        max_size=6,
    )
)
def test_written_questions_are_read_back(written: list[Draft]) -> None:
    prompt = TASK.question_prompt(SEEDS, len(written))
    reply = TASK.question_reply(prompt, written)
    assert reply.startswith(prompt[-1]["content"])
    assert (
        TASK.parse_questions(reply) == [Draft(seed.question, seed.rationale, seed.answer) for seed in SEEDS] + written
    )


@given(st.text(max_size=300))
def test_no_reply_breaks_the_parsers(reply: str) -> None:
    assert all(draft.question == draft.question.strip() != "" for draft in TASK.parse_questions(reply))
    rationale, _ = TASK.parse_rationale(reply)
    assert rationale == rationale.strip()


def test_each_style_asks_differently_and_shows_a_right_example() -> None:
    assert set(STYLES) == set(get_args(Style))
    prompts = []
    for style in STYLES:
        prompt = TASK.rationale_prompt("How many?", style)
        assert prompt[-1]["role"] == "user"
        assert prompt[-1]["content"].startswith("How many?\n")
        assert "####" in prompt[-1]["content"]
        shown = [message["content"] for message in prompt if message["role"] == "assistant"]
        assert [TASK.strict(text) for text in shown] == [example.answer for example in EXAMPLES] == ["72", "15", "6"]
        assert [text.count(" = ") for text in shown] == [1, 2, 3]
        assert all(equations_hold(text) is None for text in shown)
        prompts.append(str(prompt))
    assert len(set(prompts)) == 4


def test_the_naive_prompt_erases_the_style() -> None:
    prompt = TASK.rationale_prompt("How many?", None)
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert prompt[0]["content"] == "Solve the problem step by step."
    assert all(manner.instruction not in str(prompt) for manner in STYLES.values())
    shown = [message["content"] for message in prompt if message["role"] == "assistant"]
    assert [TASK.strict(text) for text in shown] == ["15", "6"]
    assert all(equations_hold(text) is None for text in shown)
    assert prompt[-1]["content"] == "How many?\nEnd with a line of #### and the answer."


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("3 + 4 = 7\n#### 7", ("3 + 4 = 7", "7")),
        ("3 + 4 = 7\n\n**#### $7.00**\nDone.", ("3 + 4 = 7", "7")),
        ("3 + 4 = 7 #### 7", ("3 + 4 = 7", "7")),
        ("3 + 4 = 7\n####7 cups", ("3 + 4 = 7", "7")),
        ("3 + 4 = 7\n#### Answer: 7", ("3 + 4 = 7", "7")),
        ("3 + 4 = 7\n#### N", ("3 + 4 = 7", None)),
        ("No number at all.", ("No number at all.", None)),
        (" 3 + 4 = 7 ", ("3 + 4 = 7", "7")),
    ],
)
def test_rationales_are_read_from_a_reply(reply: str, expected: tuple[str, str | None]) -> None:
    assert TASK.parse_rationale(reply) == expected


def test_a_completion_is_read_back() -> None:
    items = TASK.splits(recipe.Task(name="starter", test=30), 0)
    read = [TASK.parse_rationale(TASK.completion(item.rationale, item.answer)) for item in items.test]
    assert read == [(item.rationale, item.answer) for item in items.test]
    assert [TASK.strict(TASK.completion(item.rationale, item.answer)) for item in items.test] == [
        item.answer for item in items.test
    ]


def test_the_student_is_asked_the_question_in_one_message() -> None:
    (message,) = TASK.student_prompt("How many?")
    assert message["role"] == "user"
    assert message["content"].startswith("How many?")
