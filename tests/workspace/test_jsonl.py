"""Batches of rows are whole or absent, wherever the file was cut."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arte.errors import DataError
from arte.jsonl import RowLog
from arte.rows import Row, read_rows


class Word(Row):
    text: str


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None, max_examples=40)  # each batch waits for the disk twice
@given(st.lists(st.lists(texts, max_size=4), max_size=5))
def test_reopened_it_holds_what_was_appended(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "words.jsonl"
    for count, batch in enumerate(batches):
        log = RowLog(path, Word)
        assert log.batches_done == count
        log.append_batch([Word(text=text) for text in batch])
    log = RowLog(path, Word)
    expected = [text for batch in batches for text in batch]
    assert (log.batches_done, [row.text for row in log.rows]) == (len(batches), expected)
    if expected:
        assert read_rows(path, Word) == log.rows  # rows only, no markers


def test_cut_at_every_byte_the_batch_in_flight_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    committed = tmp_path / "words.jsonl.committed"
    log = RowLog(path, Word)
    log.append_batch([Word(text="é"), Word(text="b\nc")])
    before, sidecar = path.read_bytes(), committed.read_bytes()
    assert before == '{"text":"é"}\n{"text":"b\\nc"}\n'.encode()
    assert json.loads(sidecar) == {"bytes": 30, "batches": 1}
    log.append_batch([Word(text="d"), Word(text="ü")])
    after = path.read_bytes()

    cuts = 0
    for cut in range(len(before), len(after) + 1):  # the bytes that a kill between write and commit can leave
        path.write_bytes(after[:cut])
        committed.write_bytes(sidecar)
        log = RowLog(path, Word)
        assert (log.batches_done, [row.text for row in log.rows]) == (1, ["é", "b\nc"])
        assert path.read_bytes() == before
        log.append_batch([Word(text="d"), Word(text="ü")])
        assert path.read_bytes() == after
        cuts += 1
    assert cuts == 28


def test_a_torn_tail_left_by_a_failed_append_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    log = RowLog(path, Word)
    log.append_batch([Word(text="a")])
    with path.open("ab") as file:
        file.write(b'{"text":"a long one that was never committed')
    log.append_batch([Word(text="b")])
    assert path.read_bytes() == b'{"text":"a"}\n{"text":"b"}\n'


def test_without_its_sidecar_nothing_counts(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_bytes(b'{"text":"a"}\n{"te')
    log = RowLog(path, Word)
    assert (log.batches_done, log.rows, path.read_bytes()) == (0, [], b"")


@pytest.mark.parametrize(
    ("content", "sidecar", "message"),
    [
        (b'{"text":"a"}\n', b'{"bytes": 99, "batches": 2}', r"words.jsonl: 13 bytes where 99 were written"),
        (b'{"text":"a"}\n', b"[]", r"words.jsonl.committed: was changed by another program"),
        (b'{"text":"a"}\n', b"\xff", r"words.jsonl.committed: was changed by another program"),
        (b'{"text":"a"}\n{"txet":"b"}\n', b'{"bytes": 26, "batches": 2}', r"words.jsonl:2: is not a row"),
        (b'{"text":"a"}\n{"text":"b"}\n', b'{"bytes": 20, "batches": 2}', r"words.jsonl:2: is not a row"),
    ],
)
def test_what_was_committed_and_then_spoilt(tmp_path: Path, content: bytes, sidecar: bytes, message: str) -> None:
    (tmp_path / "words.jsonl").write_bytes(content)
    (tmp_path / "words.jsonl.committed").write_bytes(sidecar)
    with pytest.raises(DataError, match=message) as caught:
        RowLog(tmp_path / "words.jsonl", Word)
    assert f"delete the folder {tmp_path} to start this stage afresh" in str(caught.value)
