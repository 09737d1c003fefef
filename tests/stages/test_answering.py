from pathlib import Path

import pytest

from arte.stages.answering import Answering
from tests.stages.scripted import ScriptedEngine, Stopped

TEXTS = ["ccc c", "a", "bb", "dddd d d", "ee", "f f f"]
BY_LENGTH = ["a", "bb", "ee", "ccc c", "f f f", "dddd d d"]
"""Shortest first; of two alike, the earlier."""


def shout(prompt: str, seed: int) -> str:
    return f"{prompt.upper()} {seed}!"


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    engine = ScriptedEngine(shout)
    answering = Answering(engine, tmp_path / "replies.jsonl", 4, 9)
    assert answering(TEXTS) == ["CCC C 0!", "A 0!", "BB 0!", "DDDD D D 0!", "EE 0!", "F F F 0!"]
    assert [[prompt.text for prompt in call] for call in engine.calls] == [BY_LENGTH[:4], BY_LENGTH[4:]]
    assert answering.tokens_in == 2 + 1 + 1 + 3 + 1 + 3
    assert answering.tokens_out == answering.tokens_in + 6


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_taken_up_after_any_batch(tmp_path: Path, calls: int) -> None:
    whole = Answering(ScriptedEngine(shout), tmp_path / "whole.jsonl", 2, 9)
    expected = whole(TEXTS)
    with pytest.raises(Stopped):
        Answering(ScriptedEngine(shout, fail_after=calls), tmp_path / "replies.jsonl", 2, 9)(TEXTS)
    engine = ScriptedEngine(shout)
    answering = Answering(engine, tmp_path / "replies.jsonl", 2, 9)
    assert answering(TEXTS) == expected
    assert len(engine.calls) == 3 - calls
    assert (answering.tokens_in, answering.tokens_out) == (whole.tokens_in, whole.tokens_out)


def test_all_answered_asks_nothing(tmp_path: Path) -> None:
    expected = Answering(ScriptedEngine(shout), tmp_path / "replies.jsonl", 4, 9)(TEXTS)
    assert Answering(ScriptedEngine(shout, fail_after=0), tmp_path / "replies.jsonl", 4, 9)(TEXTS) == expected


def test_no_questions_no_answers(tmp_path: Path) -> None:
    assert Answering(ScriptedEngine(shout), tmp_path / "replies.jsonl", 4, 9)([]) == []
