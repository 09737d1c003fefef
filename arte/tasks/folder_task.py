"""A task of the user's own: a folder with task.yaml and the files that it names."""

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks import located
from arte.tasks.answer_kinds import Reader
from arte.tasks.defined import SHOWN, DefinedTask
from arte.tasks.definition import FILE, Definition, PythonAnswer, load, reader
from arte.tasks.task import Splits

SplitName = Literal["seeds", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("seeds", "validation", "test")
LONGEST_TEXT = 20_000
"""Characters of an input, a solution or an answer: a longer one is a mistake, or no student reads it."""
SHOWN_PROBLEMS = 12
USUAL_TEST = 1000
"""Test items that a plan reckons with where a hub would have to be asked."""


class Found(NamedTuple):
    """A split's items, where each stands, and what is wrong with the rows that gave none."""

    items: list[Item]
    where: list[str]
    problems: list[str]


class FolderTask(DefinedTask):
    """The task of a folder. Raises DataError where its definition is broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        definition = load(self.folder)
        parts = [(self.folder / FILE).read_bytes()]
        if isinstance(definition.answer, PythonAnswer):
            program = self.folder / definition.answer.file
            parts.append(program.read_bytes() if program.is_file() else b"")
        self.definition = definition
        super().__init__(
            self.folder.name,
            definition,
            reader(definition, self.folder),
            explains=definition.fields.rationale is not None,
            identity=hashlib.sha256(b"\0".join(parts)).hexdigest()[:16],
            examples=self._examples,
        )
        data = definition.data
        self.data_source = f"https://huggingface.co/datasets/{data.hub}" if data.hub else f"the files of {self.name}"

    def _examples(self) -> list[Item]:
        """The first seeds of the file: every run may show them to the teacher."""
        return self.found("seeds").items[:SHOWN]

    def test_items(self) -> int:
        return USUAL_TEST if self.definition.data.hub else len(self.found("test").items)

    def found(self, split: SplitName) -> Found:
        """A split as its file holds it. Raises DataError where the file as a whole cannot be read."""
        data = self.definition.data
        source = getattr(data, split)
        form = _form(self.definition)
        rows = located.hub_rows(data.hub, data.config, source) if data.hub else located.rows(self.folder / source, form)
        return _items_of(rows, split, self.definition, self.reader)

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """The items: seeds and validation items drawn by `seed`, the test items in their order.

        Where seeds and validation name the same source it is shared out between them. Raises DataError with the first
        problems of the files, and where a split is smaller than the recipe asks for.
        """
        if settings.data is not None:
            raise DataError(f"task.data={settings.data}: the files of {self.name} are named in {self.folder / FILE}")
        found = {split: self.found(split) for split in SPLITS}
        if problems := self.problems_of(found):
            more = len(problems) - SHOWN_PROBLEMS
            listed = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
            tail = [f"  and {more} more: arte task check {self.folder}"] if more > 0 else []
            raise DataError("\n".join([f"{self.folder}: its items cannot be used:", *listed, *tail]))
        seeds, held_out = (self._drawn(found[split].items, split, seed) for split in ("seeds", "validation"))
        if self._is_shared:
            held_out, seeds = seeds[: settings.held_out], seeds[settings.held_out :]
        return Splits(
            self._so_many(seeds, settings.seeds, "seeds", "task.seeds"),
            self._so_many(
                held_out, settings.held_out, "validation", "task.validation" if settings.validation else "task.probes"
            ),
            self._so_many(found["test"].items, settings.test, "test", "task.test"),
            [],
        )

    def problems_of(self, found: dict[SplitName, Found]) -> list[str]:
        """Rows that are no items, and items of one split that are in another too, each with its place."""
        problems = [problem for each in found.values() for problem in each.problems]
        pairs: list[tuple[SplitName, SplitName]] = [("seeds", "test"), ("validation", "test")]
        for one, other in pairs if self._is_shared else [("seeds", "validation"), *pairs]:
            problems += _overlaps(one, found[one], other, found[other])
        return problems

    @property
    def _is_shared(self) -> bool:
        """Whether seeds and validation are of one source."""
        return self.definition.data.seeds == self.definition.data.validation

    def _drawn(self, items: list[Item], split: str, seed: int) -> list[Item]:
        return random.Random(f"{self.name}-{split}-{seed}").sample(items, len(items))

    def _so_many(self, items: list[Item], count: int | None, split: SplitName, setting: str) -> list[Item]:
        if count is not None and count > len(items):
            raise DataError(
                f"{self.folder}: {setting}={count} is more than the {len(items)} items of {split} "
                f"({getattr(self.definition.data, split)}); ask for fewer, or add items"
            )
        return items[:count]


def _items_of(rows: Sequence[located.Located], split: SplitName, definition: Definition, answers: Reader) -> Found:
    """The items of a file's rows; what is wrong with a row is a problem with its place, and no item."""
    items: list[Item] = []
    where: list[str] = []
    problems: list[str] = []
    ids: dict[str, str] = {}
    questions: dict[str, str] = {}
    for number, row in enumerate(rows):
        try:
            item = _item(row, f"{split}-{number:05d}", definition, answers)
        except DataError as error:
            problems.append(str(error))
            continue
        if (first := ids.setdefault(item.id, row.where)) != row.where:
            problems.append(f"{row.where}: the id {item.id!r} is that of {first}")
        elif (first := questions.setdefault(_folded(item.question), row.where)) != row.where:
            problems.append(f"{row.where}: the same {definition.fields.input} as {first}; leave one of them out")
        else:
            items.append(item)
            where.append(row.where)
    return Found(items, where, problems)


def _overlaps(one: SplitName, these: Found, other: SplitName, those: Found) -> list[str]:
    known = {_folded(item.question): place for item, place in zip(these.items, these.where, strict=True)}
    return [
        f"{place}: also in {one} ({known[folded]}); {other} must hold others"
        for item, place in zip(those.items, those.where, strict=True)
        if (folded := _folded(item.question)) in known
    ]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _form(definition: Definition) -> str:
    fields = definition.fields
    names = [name for name in (fields.id, fields.input, fields.context, fields.rationale, fields.answer) if name]
    return json.dumps(dict.fromkeys(names, "…"), ensure_ascii=False)


def _item(row: located.Located, number: str, definition: Definition, answers: Reader) -> Item:
    fields = definition.fields
    form = _form(definition)
    question = _text(row, fields.input, form)
    if fields.context and str(row.fields.get(fields.context) or "").strip():
        question += f"\n\n{_text(row, fields.context, form)}"
    rationale = _text(row, fields.rationale, form) if fields.rationale else ""
    written = row.fields.get(fields.answer)
    if isinstance(written, dict | list | bool) or (written is None and fields.answer in row.fields):
        said = json.dumps(written, ensure_ascii=False)  # an answer of the kind json may stand in the row as it is
    else:
        said = _text(row, fields.answer, form)
    answer = answers.read(said)
    if answer is None:
        raise DataError(f"{row.where}: {fields.answer} is {said[:80]!r}, expected {answers.expected}")
    return Item(
        id=_text(row, fields.id, form) if fields.id else number, question=question, rationale=rationale, answer=answer
    )


def _text(row: located.Located, name: str, form: str) -> str:
    value = row.fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        found = ", ".join(map(str, row.fields)) or "no fields"
        what = f"no field {name!r}" if value is None else f"{name!r} is {type(value).__name__}, not text"
        raise DataError(f"{row.where}: {what} (found: {found}); expected {form}")
    if not value.strip():
        raise DataError(f"{row.where}: {name} is empty; expected {form}")
    if len(value) > LONGEST_TEXT:
        raise DataError(f"{row.where}: {name} has {len(value):,} characters; expected at most {LONGEST_TEXT:,}")
    return value.strip()
