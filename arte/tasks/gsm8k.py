"""GSM8K: 7,473 + 1,319 school problems with worked solutions (Cobbe et al. 2021, arXiv 2110.14168; MIT licence).

Two others judge the same skill by tests of their own: GSM8K-Platinum (the test without its 110 doubtful items, Vendrow
et al. 2025, arXiv 2502.03461) and GSM-Plus (eight changes of each test item, Li et al. 2024, arXiv 2402.19255). Seeds
and probes are of GSM8K in all three.
"""

from pathlib import Path
from typing import Literal

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import answers, located
from arte.tasks.arithmetic import Arithmetic
from arte.tasks.shares import seeds_and_probes, tested
from arte.tasks.task import Splits

HUB_ID = "openai/gsm8k"
FORM = '{"question": "…", "answer": "…\\n#### 18"}'
"""A row, as the error messages show it."""
SplitName = Literal["train", "test"]


class Gsm8k(Arithmetic):
    """The gsm8k task."""

    name = "gsm8k"
    about = "GSM8K: school problems of 2 to 8 steps, from the hub or from task.data=FOLDER."
    data_source = f"https://huggingface.co/datasets/{HUB_ID} (or task.data)"
    licence = "MIT"
    test_set: tuple[str, str | None] = (HUB_ID, "main")
    """Hub data set and configuration that the test items are of."""
    test_count = 1319

    def test_items(self) -> int:
        return self.test_count

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """The items. Seeds and probes are disjoint draws of the train split by `seed`; the test split keeps its order,
        and settings.test takes its first items. Train rows whose question is also in the test split are left out.

        `settings.data` is a folder with train.jsonl and test.jsonl. Raises DataError where the data is missing, broken
        or too small.
        """
        source = settings.data or HUB_ID
        train_rows, test_rows = (self._rows(settings.data, split) for split in ("train", "test"))
        every_test = self._tested(test_rows)
        asked = {item.question for item in every_test}
        train = [_item(row, "gsm8k-train", place) for place, row in enumerate(train_rows)]
        free = list({item.question: item for item in train if item.question not in asked}.values())
        seeds, probes = seeds_and_probes(source, free, settings, f"gsm8k-{seed}")
        return Splits(seeds, probes, tested(source, every_test, settings), [])

    def _tested(self, rows: list[located.Located]) -> list[Item]:
        return [_item(row, f"{self.name}-test", place) for place, row in enumerate(rows)]

    def _rows(self, data: str | None, split: SplitName) -> list[located.Located]:
        if data is None:
            name, config = (HUB_ID, "main") if split == "train" else self.test_set
            try:
                return located.hub_rows(name, config, split)
            except DataError as error:
                raise DataError(
                    f"{error}. Without the hub, put train.jsonl and test.jsonl with rows {FORM} into a folder and add "
                    "task.data=PATH"
                ) from error
        folder = Path(data).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"task.data={folder}: no such folder; expected one with train.jsonl and test.jsonl (task.data=PATH)"
            )
        path = folder / f"{split}.jsonl"
        if not path.is_file():
            raise DataError(
                f"{path}: No such file or directory; task.data=PATH expects a folder with train.jsonl and test.jsonl"
            )
        return located.rows(path, FORM)


class Gsm8kPlatinum(Gsm8k):
    """GSM8K judged by its revised test."""

    name = "gsm8k-platinum"
    about = "GSM8K, judged by the revised test GSM8K-Platinum."
    data_source = f"https://huggingface.co/datasets/{HUB_ID} and madrylab/gsm8k-platinum (or task.data)"
    test_set = ("madrylab/gsm8k-platinum", "main")
    test_count = 1209


class GsmPlus(Gsm8k):
    """GSM8K judged by changed test items."""

    name = "gsm-plus"
    about = "GSM8K, judged by the changed problems of GSM-Plus that have an answer."
    data_source = f"https://huggingface.co/datasets/{HUB_ID} and qintongli/GSM-Plus (or task.data)"
    licence = "MIT (seeds), CC-BY-SA-4.0 (test)"
    test_set = ("qintongli/GSM-Plus", None)
    test_count = 9233

    def _tested(self, rows: list[located.Located]) -> list[Item]:
        """Rows hold `question`, `solution` and `answer` apart. An eighth of them cannot be answered, on purpose, and
        say None: what a student that always gives a number should say there is another question."""
        items = []
        for place, row in enumerate(rows):
            answer = answers.normalise(str(row.fields.get("answer")))
            if answer is None and str(row.fields.get("answer")).strip().lower() == "none":
                continue
            question, solution = (_text(row, field) for field in ("question", "solution"))
            if answer is None:
                raise DataError(f"{row.where}: answer is {row.fields.get('answer')!r}, expected a number or None")
            items.append(Item(id=f"gsm-plus-test-{place:05d}", question=question, rationale=solution, answer=answer))
        return items


def _text(row: located.Located, field: str) -> str:
    value = row.fields.get(field)
    if not isinstance(value, str):
        found = ", ".join(sorted(map(str, row.fields))) or "no fields"
        raise DataError(f"{row.where}: no text field {field!r} (found: {found}); expected {FORM}")
    if not value.strip():
        raise DataError(f"{row.where}: {field} is empty; expected {FORM}")
    return value.strip()


def _item(row: located.Located, split: str, place: int) -> Item:
    question, written = _text(row, "question"), _text(row, "answer")
    solution, mark, _ = written.rpartition(answers.ANSWER_MARK)
    answer = answers.strict(written)
    if not mark or answer is None:
        raise DataError(
            f"{row.where}: answer ends in {written[-40:]!r}; its last line must be "
            f"{answers.ANSWER_MARK}and a number, as in {FORM}"
        )
    return Item(
        id=f"{split}-{place:04d}",
        question=question,
        rationale=answers.strip_marks(solution).strip(),
        answer=answer,
        steps=answers.count_marks(solution) or None,
    )
