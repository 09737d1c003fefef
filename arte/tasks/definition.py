"""task.yaml: what a task of the user's own is, in settings."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from arte import problems, yaml12
from arte.errors import DataError
from arte.recipe import Style
from arte.recipe_base import Settings
from arte.tasks.answer_kinds import Choice, Exact, Json, Number, Open, Pattern, Program, Reader

FILE = "task.yaml"
Text = Annotated[str, Field(min_length=1)]


class Data(Settings):
    hub: Text | None = Field(None, description="A hub data set; the three below are then its splits, not files.")
    config: Text | None = Field(None, description="The hub data set's configuration.")
    seeds: Text = Field(
        "seeds.jsonl", description="Items that the teacher is shown: .jsonl, .json, .csv, .tsv or .parquet."
    )
    validation: Text = Field("validation.jsonl", description="Items that the student's preference is measured on.")
    test: Text = Field("test.jsonl", description="Items that students are judged by.")


class Fields(Settings):
    id: Text | None = Field(None, description="The column of an item's id; null: its file and line.")
    input: Text = Field("input", description="The column of what the student is given.")
    context: Text | None = Field(
        None, description="The column of what an input is about, put below it where it is not empty (Alpaca's input)."
    )
    rationale: Text | None = Field(
        None, description="The column of worked solutions; null: the student replies with the answer alone."
    )
    answer: Text = Field("answer", description="The column of the answer.")


class ExactAnswer(Settings):
    kind: Literal["exact"]
    ignore_case: bool = False


class NumberAnswer(Settings):
    kind: Literal["number"]


class ChoiceAnswer(Settings):
    kind: Literal["choice"]
    choices: Annotated[tuple[Text, ...], Field(min_length=2)]


class PatternAnswer(Settings):
    kind: Literal["regex"]
    pattern: Text


class JsonAnswer(Settings):
    kind: Literal["json"]
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="A JSON Schema (draft 2020-12).")
    fields: tuple[Text, ...] | None = Field(None, description="The fields that are compared; null for all.")


class PythonAnswer(Settings):
    kind: Literal["python"]
    file: Text = Field(description="A file of the task's folder with read(text), and right(found, gold) if need be.")


class OpenAnswer(Settings):
    kind: Literal["open"]


Answer = Annotated[
    ExactAnswer | NumberAnswer | ChoiceAnswer | PatternAnswer | JsonAnswer | PythonAnswer | OpenAnswer,
    Field(discriminator="kind"),
]


class Asking(Settings):
    """How teacher and student are asked, and where an answer stands in a reply."""

    about: Text = Field(description="One sentence, for `arte tasks` and the model card.")
    licence: Text = Field("unknown", description="Of the data, for the model card.")
    things: Text = Field(description="What items are, in the plural: the teacher is asked for new ones.")
    instruction: str = Field("", description="What is to be done with an item, told to teacher and student.")
    mark: Text = Field("#### ", description="Stands before the answer, where a solution comes first.")
    end: str = Field("", description="Stands behind the answer then, as </ans> behind <ans>; empty: the line's end.")
    styles: dict[Style, Text] = Field(default_factory=dict, description="How solutions are asked for, by style.")


class Definition(Asking):
    """A task.yaml. The folder's name is the task's."""

    data: Data = Data()
    fields: Fields = Fields()
    answer: Answer


def load(folder: Path) -> Definition:
    """The definition of a task's folder. Raises DataError with every problem and its line."""
    path = folder / FILE
    try:
        document = yaml12.parse(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; `arte task new NAME` makes a task's folder") from None
    if document.problems:
        raise DataError("\n".join([f"{path}:", *(f"  {problem}" for problem in document.problems)]))
    try:
        return Definition.model_validate(document.values)
    except pydantic.ValidationError as error:
        origins = {key: f"line {line}" for key, line in document.lines.items()}
        raise DataError("\n".join([f"{path}:", *(f"  {line}" for line in _told(error, origins))])) from None


def reader(definition: Definition, folder: Path) -> Reader:
    """What reads this task's answers. Raises DataError where the pattern, the schema or the program is none."""
    answer, path = definition.answer, folder / FILE
    match answer:
        case ExactAnswer():
            return Exact(answer.ignore_case)
        case NumberAnswer():
            return Number()
        case ChoiceAnswer():
            if len({choice.casefold() for choice in answer.choices}) < len(answer.choices):
                raise DataError(f"{path}: answer.choices: two differ in nothing but their case")
            return Choice(answer.choices)
        case PatternAnswer():
            try:
                return Pattern(answer.pattern)
            except re.error as error:
                raise DataError(f"{path}: answer.pattern: {answer.pattern!r} is no pattern ({error})") from None
        case JsonAnswer():
            import jsonschema

            try:
                jsonschema.Draft202012Validator.check_schema(answer.schema_ or {})
            except jsonschema.SchemaError as error:
                raise DataError(f"{path}: answer.schema: is no JSON Schema: {error.message}") from None
            return Json(answer.schema_, answer.fields)
        case PythonAnswer():
            return Program(folder / answer.file)
        case OpenAnswer():
            if definition.fields.rationale is not None:
                raise DataError(f"{path}: fields.rationale: an open answer has no solution beside it; leave it out")
            return Open()


def _told(error: pydantic.ValidationError, origins: problems.Origins) -> list[str]:
    """A line a problem. The kind of answer, which pydantic puts into the place, is not in the file."""
    found = []
    kinds = ("exact", "number", "choice", "regex", "json", "python", "open")
    for details in error.errors(include_url=False, include_context=False):
        place = details["loc"]
        if len(place) > 1 and place[0] == "answer" and place[1] in kinds:
            place = (place[0], *place[2:])
        name = problems.dotted(place)
        if details["type"] == "missing":
            what = "missing"
        elif details["type"] == "extra_forbidden":
            what = "no such setting"
        else:
            what = f"found {problems.shown(details['input'])}: {details['msg']}"
        found.append(f"{name}: {what}{problems.origin(place, origins)}")
    return found
