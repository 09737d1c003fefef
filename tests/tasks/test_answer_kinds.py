import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.errors import DataError
from arte.tasks.answer_kinds import Choice, Exact, Json, Number, Pattern, Program

LIGHT = {
    "type": "object",
    "properties": {"device": {"enum": ["lamp", "fan"]}, "level": {"type": "integer"}},
    "required": ["device"],
    "additionalProperties": False,
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_exact_text_is_the_same_but_for_white_space() -> None:
    exact = Exact(ignore_case=False)
    assert exact.read("  Bern \n is  it ") == "Bern is it"
    assert exact.read("cafe\u0301") == exact.read("café")
    assert exact.read(" \n ") is None
    assert exact.find("I think:\nBern\n\n") == "Bern"
    assert Exact(ignore_case=True).read("BERN") == Exact(ignore_case=True).read("bern")


def test_numbers_are_read_as_in_gsm8k() -> None:
    assert [Number().read(text) for text in ("$1,200.00", "5 * 3 = 15", "none")] == ["1200", None, None]
    assert Number().find("it is 4, no, 5.") == "5"


TEAMS = Choice(["billing", "shipping", "not sure", "sure"])
LETTERS = Choice(["A", "B", "C"])


@pytest.mark.parametrize(
    ("choice", "text", "read", "found"),
    [
        (TEAMS, "Billing.", "billing", "billing"),
        (TEAMS, "**shipping**", "shipping", "shipping"),
        (TEAMS, "billing: the card was charged", "billing", "billing"),
        (TEAMS, "Not billing but shipping", None, "shipping"),
        (TEAMS, "I am not sure", None, "not sure"),
        (TEAMS, "billings", None, None),
        (TEAMS, "", None, None),
        (LETTERS, "(B)", "B", "B"),
        (LETTERS, "b", "B", "B"),
        (LETTERS, "B) Paris", "B", "B"),
        (LETTERS, "B. Paris", "B", "B"),
        (LETTERS, "B. Paris, (B)", "B", "B"),
        (LETTERS, "(A) or (B)", None, "B"),
        (TEAMS, "billing, shipping", None, "shipping"),
        (LETTERS, "A dog is an animal", None, None),
        (LETTERS, "The answer is (C), not (A) or B", None, "B"),
        (LETTERS, "So it is C", None, "C"),
        (LETTERS, "A cat, so: B.", None, "B"),
        (LETTERS, "ABC", None, None),
    ],
)
def test_choices(choice: Choice, text: str, read: str | None, found: str | None) -> None:
    assert (choice.read(text), choice.find(text)) == (read, found)


@given(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=5))
def test_the_last_marked_choice_counts(said: list[str]) -> None:
    assert LETTERS.find(" then ".join(f"({letter})" for letter in said) + " is it") == said[-1]


def test_the_first_group_of_a_pattern_or_all_of_it() -> None:
    assert Pattern(r"<ans>(.*?)</ans>").read("<ans>a</ans> no <ans> b  c </ans>") == "b c"
    assert Pattern(r"\d{3}").find("123 456") == "456"
    assert Pattern(r"(x)|y").read("y") is None
    assert Pattern(r"\d").read("none") is None


def test_json_has_one_normal_form() -> None:
    reader = Json(LIGHT, None)
    normal = '{"device": "lamp", "level": 3}'
    assert reader.read('{"level": 3.0, "device":"lamp"}') == normal
    assert reader.read('```json\n{"device": "lamp", "level": 3}\n```') == normal
    assert reader.read("null") is None
    assert reader.read('{"device": "oven"}') is None
    assert reader.read('{"device": "lamp"} and so on') is None
    assert Json(None, None).read("NaN") is None
    assert Json(None, None).read("[1e400]") is None


def test_json_is_found_in_a_text() -> None:
    reader = Json(LIGHT, None)
    text = 'First {"device": "fan"}, [1], then {"device": "lamp", "level": 1} {"device": "oven"} {broken'
    assert reader.find(text) == '{"device": "lamp", "level": 1}'
    assert reader.find("no braces") is None
    assert reader.find("[" * 100_000) is None
    assert Json(None, None).find('{"a": {"b": 1}}') == '{"a": {"b": 1}}'


def test_only_the_named_fields_are_compared() -> None:
    reader = Json(None, ["device"])
    assert reader.right('{"device": "lamp", "level": 1}', '{"device": "lamp", "level": 2}')
    assert not reader.right('{"device": "fan", "level": 2}', '{"device": "lamp", "level": 2}')
    assert not reader.right('{"level": 2}', '{"device": null, "level": 2}')
    assert not reader.right(None, '{"device": "lamp"}')
    assert not Json(None, None).right('{"a": 1, "b": 1}', '{"a": 1}')


@given(json_values)
def test_json_normal_forms_are_the_same_again(value: object) -> None:
    reader = Json(None, None)
    normal = reader.read(json.dumps(value))
    assert normal is not None
    assert json.loads(normal) == value
    assert reader.read(normal) == normal


@given(st.text(max_size=200))
def test_no_text_breaks_a_reader(text: str) -> None:
    for reader in (Exact(True), Number(), TEAMS, LETTERS, Pattern(r"a(b)?"), Json(LIGHT, None)):
        for found in (reader.read(text), reader.find(text)):
            assert found is None or reader.right(reader.read(found) or found, found)


def test_a_program_of_the_tasks_own(tmp_path: Path) -> None:
    path = tmp_path / "answers.py"
    path.write_text(
        "def read(text):\n    return text.upper() or None\ndef right(found, gold):\n    return found[0] == gold[0]\n"
    )
    program = Program(path)
    assert program.read("ab") == program.find("ab") == "AB"
    assert program.read("") is None
    assert program.right("AB", "AX")
    assert not program.right("B", "A")
    assert not program.right(None, "A")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def read(text):\n    return text[99]\n", r"answers.py:2: read\('ab'\) raises IndexError"),
        ("def read(text):\n    return 3\n", r"answers.py: read\('ab'\) gave 3, expected text or None"),
        ("def find(text): return text\n", r"answers.py: has no function read\(text\)"),
        ("x = 1 / 0\n", r"answers.py:1: fails when it is read: ZeroDivisionError"),
        ("def read(text:\n", r"answers.py: fails when it is read: SyntaxError"),
        (
            "def read(text): return text\ndef right(found, gold): return 1\n",
            r"right\('ab', 'ab'\) gave 1, expected True",
        ),
    ],
)
def test_a_program_that_fails_is_named_with_its_line(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "answers.py"
    path.write_text(source)

    def use() -> None:
        program = Program(path)
        program.right(program.read("ab"), "ab")

    with pytest.raises(DataError, match=message):
        use()
