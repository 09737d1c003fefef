import json
from pathlib import Path
from typing import Any

import pytest

from arte import recipe, tasks
from arte.errors import DataError

PIQA = {"goal": "How do you cool soup?", "sol1": "Blow on it.", "sol2": "Shout at it.", "label": 0}
ARC = {"question": "Which is a star?", "choices": {"text": ["Moon", "Sun"], "label": ["1", "2"]}, "answerKey": "2"}
CSQA = ARC | {"choices": {"text": list("vwxyz"), "label": list("ABCDE")}, "answerKey": "E"}
NAMES = ("piqa", "commonsense-qa", "arc-easy", "arc-challenge")


def write(folder: Path, row: dict[str, Any], question: str, train: int = 6, test: int = 3) -> Path:
    for split, first, count in (("train", 0, train), ("test", train - 1, test)):  # the last of train is in test too
        rows = [{**row, question: f"{row[question]} {number}"} for number in range(first, first + count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def settings(name: str, data: Path, **more: int) -> recipe.Task:
    return recipe.Task.model_validate({"name": name, "data": str(data), "seeds": 3, "probes": 2, **more})


@pytest.mark.parametrize(
    ("name", "row", "question", "options", "answer"),
    [
        ("piqa", PIQA, "goal", "(A) Blow on it.\n(B) Shout at it.", "A"),
        ("commonsense-qa", CSQA, "question", "(A) v\n(B) w\n(C) x\n(D) y\n(E) z", "E"),
        ("arc-easy", ARC, "question", "(A) Moon\n(B) Sun", "B"),
        ("arc-challenge", ARC, "question", "(A) Moon\n(B) Sun", "B"),
    ],
)
def test_rows_of_each_data_set(
    tmp_path: Path, name: str, row: dict[str, Any], question: str, options: str, answer: str
) -> None:
    task = tasks.load(name)
    splits = task.splits(settings(name, write(tmp_path, row, question)), 0)
    assert [len(each) for each in splits] == [3, 2, 3, 0]
    assert [item.question for item in splits.test] == [f"{row[question]} {number}\n{options}" for number in (5, 6, 7)]
    assert {item.answer for item in splits.test} == {answer}
    shown = [item.question for item in (*splits.seeds, *splits.probes)]
    assert len(set(shown)) == 5
    assert splits.test[0].question not in shown
    gold = task.completion("", answer)
    assert gold == f"#### {answer}"
    assert task.strict(gold) == task.flexible(gold) == answer
    assert task.strict(f"It is a star.\n#### ({answer})") == answer
    assert task.flexible(f"A star, so ({answer})") == answer
    listed = task.question_prompt(splits.seeds, 1)[-1]["content"]
    assert [draft.question for draft in task.parse_questions(listed)] == [item.question for item in splits.seeds]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("piqa", PIQA | {"label": "x"}, r"test.jsonl:1: cannot be read \(ValueError"),
        ("piqa", PIQA | {"label": -1}, r"test.jsonl:1: 2 options, of which number -1 is right"),
        ("piqa", {"goal": "x"}, r"test.jsonl:1: cannot be read \(KeyError\('sol1'\)"),
        ("arc-easy", ARC | {"answerKey": "C"}, r"test.jsonl:1: cannot be read \(ValueError"),
        ("arc-easy", ARC | {"choices": {"text": ["a"], "label": ["2"]}}, r"test.jsonl:1: 1 options"),
        ("commonsense-qa", ARC | {"answerKey": ""}, r"test.jsonl:1: cannot be read"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, name: str, row: dict[str, Any], message: str) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        tasks.load(name).splits(settings(name, tmp_path), 0)


def test_fewer_items_than_are_asked_for(tmp_path: Path) -> None:
    data = write(tmp_path, PIQA, "goal")
    with pytest.raises(DataError, match=r"need 6 train items, but there are 5"):
        tasks.load("piqa").splits(settings("piqa", data, seeds=4), 0)
    with pytest.raises(DataError, match=r"task.test=4 is more than its 3"):
        tasks.load("piqa").splits(settings("piqa", data, test=4), 0)


def test_gsm8ks_other_tests(tmp_path: Path) -> None:
    train = [{"question": f"Question {n}?", "answer": f"1 + {n} = {1 + n}\n#### {1 + n}"} for n in range(8)]
    plus = [
        {"question": "Changed?", "solution": "2 + 2 = 4", "answer": "4.0"},
        {"question": "Too little is known?", "solution": "Nobody knows.", "answer": "None"},
        {"question": "Changed again?", "solution": "2 + 3 = 5", "answer": "5"},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plus))
    splits = tasks.load("gsm-plus").splits(settings("gsm-plus", tmp_path), 0)
    assert [(item.id, item.answer) for item in splits.test] == [
        ("gsm-plus-test-00000", "4"),
        ("gsm-plus-test-00002", "5"),
    ]
    (tmp_path / "test.jsonl").write_text(json.dumps({**plus[0], "answer": "four"}) + "\n")
    with pytest.raises(DataError, match=r"test.jsonl:1: answer is 'four', expected a number or None"):
        tasks.load("gsm-plus").splits(settings("gsm-plus", tmp_path), 0)
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "New?", "answer": "So\n#### 3"}) + "\n")
    splits = tasks.load("gsm8k-platinum").splits(settings("gsm8k-platinum", tmp_path), 0)
    assert [(item.id, item.answer) for item in splits.test] == [("gsm8k-platinum-test-0000", "3")]
