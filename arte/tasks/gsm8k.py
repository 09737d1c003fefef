"""GSM8K: 7,473 + 1,319 school problems with worked solutions (Cobbe et al. 2021, arXiv 2110.14168; MIT licence)."""

import json
import random
from pathlib import Path
from typing import Any

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import answers
from arte.tasks.arithmetic import Arithmetic
from arte.tasks.task import Splits

HUB_ID = "openai/gsm8k"
HUB_CONFIG = "main"
FORM = '{"question": "…", "answer": "…\\n#### 18"}'
"""A row, as the error messages show it."""


class Gsm8k(Arithmetic):
    """The gsm8k task."""

    name = "gsm8k"
    about = "GSM8K: school problems of 2 to 8 steps, from the hub or from task.data=FOLDER."
    data_source = f"https://huggingface.co/datasets/{HUB_ID} (or task.data)"
    licence = "MIT"

    def test_items(self) -> int:
        return 1319

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """The items. Seeds and probes are disjoint draws of the train split by `seed`; the test split keeps its order,
        and settings.test takes its first items. Train rows whose question is also in the test split are left out.

        `settings.data` is a folder with train.jsonl and test.jsonl. Raises DataError where the data is missing, broken
        or too small.
        """
        if settings.data is None:
            train_rows, test_rows, source = *_from_hub(), HUB_ID
        else:
            folder = Path(settings.data).expanduser()
            train_rows, test_rows, source = _from_file(folder, "train"), _from_file(folder, "test"), str(folder)
        every_test = [_item(row, "test", place) for place, row in enumerate(test_rows)]
        tested = {item.question for item in every_test}
        train = [_item(row, "train", place) for place, row in enumerate(train_rows)]
        free = list({item.question: item for item in train if item.question not in tested}.values())
        held_out = settings.held_out
        wanted = settings.seeds + held_out
        if wanted > len(free):
            name = "task.validation" if settings.validation else "task.probes"
            raise DataError(
                f"{source}: task.seeds={settings.seeds} and {name}={held_out} need {wanted} train items, "
                f"but there are {len(free)}; ask for fewer"
            )
        if settings.test is not None and settings.test > len(every_test):
            raise DataError(
                f"{source}: task.test={settings.test} is more than its {len(every_test)} test items; ask for fewer, or "
                "leave task.test out to use all"
            )
        drawn = random.Random(f"gsm8k-{seed}").sample(free, len(free))
        probes, seeds = drawn[:held_out], drawn[held_out:wanted]
        return Splits(seeds, probes, every_test[: settings.test], [])


class _Row:
    """A row of the data with the words that locate it in an error message."""

    def __init__(self, where: str, fields: Any) -> None:
        self.where = where
        if not isinstance(fields, dict):
            raise DataError(f"{where}: found {type(fields).__name__}, expected an object such as {FORM}")
        for field in ("question", "answer"):
            if not isinstance(fields.get(field), str):
                found = ", ".join(sorted(fields)) or "no fields"
                raise DataError(f"{where}: no text field {field!r} (found: {found}); expected {FORM}")
        self.question: str = fields["question"].strip()
        self.answer: str = fields["answer"]
        if not self.question:
            raise DataError(f"{where}: question is empty; expected {FORM}")


def _from_hub() -> tuple[list[_Row], list[_Row]]:
    import datasets

    try:
        data = datasets.load_dataset(HUB_ID, HUB_CONFIG)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DataError(
            f"{HUB_ID} (config {HUB_CONFIG}) could not be had from the hub: {reason}. Without the hub, put train.jsonl "
            f"and test.jsonl with rows {FORM} into a folder and add task.data=PATH"
        ) from error
    train, test = ([_Row(f"{HUB_ID} {split} row {n}", row) for n, row in enumerate(data[split])] for split in
                   ("train", "test"))  # fmt: skip
    return train, test


def _from_file(folder: Path, split: str) -> list[_Row]:
    if not folder.is_dir():
        raise DataError(
            f"task.data={folder}: no such folder; expected one with train.jsonl and test.jsonl (task.data=PATH)"
        )
    path = folder / f"{split}.jsonl"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; task.data=PATH expects a folder with train.jsonl and test.jsonl"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 and try again") from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: is not JSON ({error}); expected one object a line, as {FORM}") from None
        rows.append(_Row(f"{path}:{number}", fields))
    if not rows:
        raise DataError(f"{path}: holds no rows; expected one object a line, as {FORM}")
    return rows


def _item(row: _Row, split: str, place: int) -> Item:
    solution, mark, _ = row.answer.rpartition(answers.ANSWER_MARK)
    answer = answers.strict(row.answer)
    if not mark or answer is None:
        raise DataError(
            f"{row.where}: answer ends in {row.answer[-40:]!r}; its last line must be "
            f"{answers.ANSWER_MARK}and a number, as in {FORM}"
        )
    return Item(
        id=f"gsm8k-{split}-{place:04d}",
        question=row.question,
        rationale=answers.strip_marks(solution).strip(),
        answer=answer,
        steps=answers.count_marks(solution) or None,
    )
