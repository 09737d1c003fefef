"""YAML 1.2 values, the lines of keys, and text that comes back as it was written."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arte import yaml12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E6", 1e6),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("010", 10),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        ("[a, 1, 1e-7]", ["a", 1, 1e-7]),
        ("'1e-5'", "1e-5"),
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    read = yaml12.value(text)
    assert (read, type(read)) == (value, type(value))


def test_lines_of_keys() -> None:
    document = yaml12.parse("# comment\na: 1\nb:\n  c: [x]\n\n  d: {e: 2}\n")
    assert document.values == {"a": 1, "b": {"c": ["x"], "d": {"e": 2}}}
    assert document.lines == {("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "d"): 6, ("b", "d", "e"): 6}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 2, c: 3}\na: 4\n", "b.c: given twice (lines 2 and 2)"),
        ("a: 1\na: 2\n", "a: given twice (lines 1 and 2)"),
        ("a: 1\n b: 2\n", "line 2: not YAML: mapping values are not allowed here"),
        ("- 1\n", "line 1: found [1], expected `key: value` lines"),
        ("a: !!python/object:os.system x\n", "line 1: not YAML: could not determine a constructor"),
        ("a: !mine {b: 1}\n", "line 1: not YAML: unknown tag !mine"),
        ("a: &a [*a]\n", "line 1: not YAML: an alias that holds itself"),
        ("? [1]\n: 2\n", "line 1: a key is a list or a section, expected text"),
        ('a: "\\ud800"\n', "line 1: not YAML: half a surrogate pair"),
        ("a: \x07\n", "not YAML: unacceptable character #x0007"),
        ("a: 1\n---\nb: 2\n", "line 2: not YAML: but found another document"),
        ("a: " + "[" * 1500, "not YAML that can be read: nested too deeply"),
    ],
)
def test_what_is_wrong(text: str, problem: str) -> None:
    problems = yaml12.parse(text).problems
    assert [found[: len(problem)] for found in problems][:1] == [problem]


def test_every_duplicate_is_told() -> None:
    problems = yaml12.parse("a: 1\nb: {c: 2, c: 3}\na: 4\nb: 5\n").problems
    assert problems == [
        "b.c: given twice (lines 2 and 2)",
        "a: given twice (lines 1 and 3)",
        "b: given twice (lines 2 and 4)",
    ]


def test_an_empty_file_is_an_empty_section() -> None:
    assert yaml12.parse("# nothing\n") == yaml12.Document()


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_told(text: str) -> None:
    document = yaml12.parse(text)
    assert isinstance(document.values, dict)
    assert all(isinstance(problem, str) and problem for problem in document.problems)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(
        ["1e-5", "on", "010", "08", "0x1F", "1:30", "null", "~", "", " ", "1_0", ".inf", "<<", "=", "\x85"]
    )
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(st.dictionaries(keys, scalars | st.lists(scalars) | st.dictionaries(keys, scalars)))
def test_dump_and_parse_are_inverse(values: dict[str, Any]) -> None:
    document = yaml12.parse(yaml12.dump(values))
    assert document.problems == []
    assert document.values == values
    assert repr(document.values) == repr(values)  # 1 is not 1.0, and -0.0 is not 0.0


def test_floats_come_back_to_the_last_bit() -> None:
    numbers = [math.pi, 1e-7, 5e-5, 0.1 + 0.2, 1e300, 5e-324]
    assert yaml12.parse(yaml12.dump({"numbers": numbers})).values["numbers"] == numbers
