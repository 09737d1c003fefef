"""Rows for the importance matrix of K- and I-quants: the user's own, or what a run's teacher wrote."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arte.errors import DataError
from arte.rows import Example, read_rows
from arte.stages.choosing import accepted_examples
from arte.tasks.task import Taught

if TYPE_CHECKING:
    from arte_export.student_files import Calibrating

EXPECTED = (
    'expected a JSON object with "messages", with "prompt" and "completion", with "question", "rationale" and '
    '"answer", or with "text"'
)


def of_run(drafted: Path, trained: Path, most: int, task: Taught, student: Path) -> "Calibrating | None":
    """At most so many accepted drafts of an elicit or tailor folder: first those that the training whose folder is
    `trained` did not use, then the others; None where none are asked for or there are none."""
    from arte_export.student_files import Calibrating
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student)
    accepted = accepted_examples(drafted)
    used = {example.id for example in read_rows(trained / "examples.jsonl", Example)}
    if not accepted or most == 0:
        return None
    held_out = [example for example in accepted if example.id not in used]
    chosen = [*held_out, *(example for example in accepted if example.id in used)][:most]
    fresh = min(len(held_out), len(chosen))
    rows = [_example(each, task, tokenizer) for each in chosen]
    return Calibrating(rows, f"{len(rows)} drafts of the teacher, {fresh} of them not trained on")


def of_file(path: Path, task: Taught, student: Path) -> "Calibrating":
    """Every row of a JSONL file, in one of TRL's formats or of a run's examples.jsonl.

    Raises DataError (file and line) where a row is of no known form, or there is none.
    """
    from arte_export.student_files import Calibrating
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected JSONL rows for --calibrate") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; expected a JSONL file for --calibrate") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 and try again") from None
    rows = [
        _row(f"{path}:{number}", line, task, tokenizer) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not rows:
        raise DataError(f"{path}: holds no rows; {EXPECTED}")
    return Calibrating(rows, path.name)


def _row(where: str, line: str, task: Taught, tokenizer: Any) -> list[int]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is not JSON ({error}); {EXPECTED}") from None
    match row:
        case {"messages": [{"role": str(), "content": str()}, *_] as messages} if all(map(_is_message, messages)):
            return _ids(tokenizer, messages)
        case {"prompt": str(prompt), "completion": str(completion)}:
            return _ids(tokenizer, [{"role": "user", "content": prompt}, _reply(completion)])
        case {"prompt": [*prompt], "completion": [*completion]} if all(map(_is_message, [*prompt, *completion])):
            return _ids(tokenizer, [*prompt, *completion])
        case {"question": str(question), "rationale": str(rationale), "answer": str(answer)}:
            of_task = row.get("task")
            example = Example(
                task=of_task if isinstance(of_task, str) else None, id=where, question=question, rationale=rationale,
                answer=answer,
            )  # fmt: skip
            try:
                return _example(example, task, tokenizer)
            except DataError as error:
                raise DataError(f"{where}: {error}") from None
        case {"text": str(text)}:
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids
    found = f"the keys {', '.join(map(str, row))}" if isinstance(row, dict) else type(row).__name__
    raise DataError(f"{where}: found {found}; {EXPECTED}")


def _example(example: Example, task: Taught, tokenizer: Any) -> list[int]:
    one = task.of(example)
    reply = _reply(one.completion(example.rationale, example.answer))
    return _ids(tokenizer, [*one.student_prompt(example.question), reply])


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    return ids
