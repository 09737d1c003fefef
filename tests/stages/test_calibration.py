"""Rows for the importance matrix, from a file of the user's or from a run."""

import json
from pathlib import Path

import pytest

from arte.errors import DataError
from arte.models.folder import ModelFolder
from arte.rows import Check, Example, Question, Rationale, write_rows
from arte.stages import calibration
from arte.tasks import load

TASK = load("starter")


def ids(student: ModelFolder, *messages: tuple[str, str]) -> list[int]:
    from transformers import AutoTokenizer

    chat = [{"role": role, "content": content} for role, content in messages]
    found: list[int] = AutoTokenizer.from_pretrained(student.path).apply_chat_template(chat, return_dict=True)[
        "input_ids"
    ]
    return found


def test_every_known_form_becomes_the_ids_of_its_chat(tiny_student: ModelFolder, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]
    rows = [
        {"messages": chat},
        {"prompt": "2 + 3?", "completion": "5"},
        {"prompt": chat[:1], "completion": chat[1:], "extra": 1},
        {"question": "2 + 3?", "rationale": "2 + 3 = 5", "answer": "5"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = calibration.of_file(file, TASK, tiny_student.path)
    expected = ids(tiny_student, ("user", "2 + 3?"), ("assistant", "5"))
    assert len(expected) > 6
    assert list(found.rows[:3]) == [expected] * 3
    (asked,) = TASK.student_prompt("2 + 3?")
    completion = TASK.completion("2 + 3 = 5", "5")
    assert found.rows[3] == ids(tiny_student, ("user", asked["content"]), ("assistant", completion))
    assert (len(found.rows), found.dataset) == (4, "rows.jsonl")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"rows\.jsonl:2: is not JSON"),
        ("[1]", r"rows\.jsonl:2: found list; expected a JSON object with"),
        ('{"prompt": "a"}', r"rows\.jsonl:2: found the keys prompt; expected"),
        ('{"messages": ["a"]}', r"rows\.jsonl:2: found the keys messages; expected"),
        ('{"messages": [{"role": "user", "content": "a"}, 7]}', r"rows\.jsonl:2: found the keys messages; expected"),
    ],
)
def test_a_row_of_no_known_form_is_named(line: str, words: str, tiny_student: ModelFolder, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n' + line)
    with pytest.raises(DataError, match=words):
        calibration.of_file(file, TASK, tiny_student.path)


def test_no_file_no_rows_no_text(tiny_student: ModelFolder, tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "binary.jsonl"
    empty.write_text("\n\n")
    binary.write_bytes(b'{"text": "\xff"}')
    with pytest.raises(DataError, match="no such file; expected JSONL rows for --calibrate"):
        calibration.of_file(tmp_path / "none.jsonl", TASK, tiny_student.path)
    with pytest.raises(DataError, match="is a folder; expected a JSONL file"):
        calibration.of_file(tmp_path, TASK, tiny_student.path)
    with pytest.raises(DataError, match="holds no rows"):
        calibration.of_file(empty, TASK, tiny_student.path)
    with pytest.raises(DataError, match="byte 10 is not UTF-8"):
        calibration.of_file(binary, TASK, tiny_student.path)


def test_of_a_run_drafts_that_no_training_used_come_first(tiny_student: ModelFolder, tmp_path: Path) -> None:
    accepted = Check()
    questions = [Question(id=f"q{i}", text=f"{i} + 1?", target=str(i + 1), prompt="", check=accepted) for i in range(4)]
    rationales = [
        Rationale(
            id=f"r{i}", question_id=f"q{i}", style="steps", text=f"{i} + 1 = {i + 1}", answer=str(i + 1),
            check=accepted if i != 3 else Check(reason="inconsistent"),
        )
        for i in range(4)
    ]  # fmt: skip
    drafted, trained = tmp_path / "tailor", tmp_path / "arte"
    drafted.mkdir()
    trained.mkdir()
    write_rows(drafted / "questions.jsonl", questions)
    write_rows(drafted / "rationales.jsonl", rationales)
    used = Example(id="r0", question="0 + 1?", rationale="0 + 1 = 1", answer="1")
    write_rows(trained / "examples.jsonl", [used])
    found = calibration.of_run(drafted, trained, 2, TASK, tiny_student.path)
    every = calibration.of_run(drafted, trained, 10, TASK, tiny_student.path)
    assert found is not None
    assert every is not None
    assert found.dataset == "2 drafts of the teacher, 2 of them not trained on"
    assert every.dataset == "3 drafts of the teacher, 2 of them not trained on"
    assert every.rows[:2] == found.rows
    assert calibration.of_run(drafted, trained, 0, TASK, tiny_student.path) is None
