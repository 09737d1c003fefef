from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.errors import DataError
from arte.rows import Example, read_rows, write_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
EXAMPLES = st.lists(st.builds(Example, id=TEXT, question=TEXT, rationale=TEXT, answer=TEXT), min_size=1, max_size=4)


@given(EXAMPLES)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> None:
    file = tmp_path_factory.mktemp("rows") / "examples.jsonl"
    write_rows(file, examples)
    assert read_rows(file, Example) == examples
    assert file.read_bytes().count(b"\n") == len(examples)
    assert [path.name for path in file.parent.iterdir()] == ["examples.jsonl"]


def test_a_line_is_spelled_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [Example(id="a", question="é\n?", rationale="1 + 1 = 2", answer="2")])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == (
        '{"id":"a","question":"é\\n?","rationale":"1 + 1 = 2","answer":"2"}\n'
    )


GOOD = b'{"id":"a","question":"q","rationale":"r","answer":"1"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b'{"id":"b","question":"q","rationale":"r"}\n', r"rows.jsonl:2: answer: Field required"),
        (GOOD + b"\n" + GOOD[:-1] + b"}", r"rows.jsonl:3: the line: Invalid JSON"),
        (GOOD.replace(b'"1"', b"1"), r"rows.jsonl:1: answer: Input should be a valid string"),
        (GOOD.replace(b'"id"', b'"extra":0,"id"'), r"rows.jsonl:1: extra: Extra inputs are not permitted"),
        (b"[]\n", r"rows.jsonl:1: the line: Input should be an object"),
        (b"", r"rows.jsonl: holds no rows"),
        (b"\n\n", r"rows.jsonl: holds no rows"),
        (GOOD + b"\xff", r"rows.jsonl: byte 55 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "rows.jsonl", Example)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; expected JSONL rows of Example"):
        read_rows(tmp_path / "none.jsonl", Example)
    with pytest.raises(DataError, match="is a folder; expected a JSONL file"):
        read_rows(tmp_path, Example)
