"""The typed rows that pass between stages, one JSON object a line (JSONL, UTF-8).

A row is written whole or not at all: files are appended a batch at a time, and `read` of a file whose last line was
cut by a kill is the business of `arte.workspace`, not of the readers here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arte.errors import DataError

Reason = Literal["unparsed", "inconsistent", "duplicate", "contaminated", "too_long"]
REASONS: tuple[Reason, ...] = ("unparsed", "inconsistent", "duplicate", "contaminated", "too_long")


class Row(BaseModel):
    """A frozen row; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OfTask(Row):
    """A row that says which task it is of, in a run over several; null in a run over one."""

    task: str | None = Field(None, exclude_if=lambda task: task is None)


class Item(OfTask):
    """A problem of a task with its gold rationale and answer. `answer` is normalised (see the task)."""

    id: str
    question: str
    rationale: str
    """The worked solution, without the final `#### N` line."""
    answer: str
    steps: int | None = None
    """How many operations it takes, where the task knows."""
    template: str | None = None
    """The template that made it, for made tasks."""


class Check(Row):
    """What the checks said of a draft. `reason` is null exactly when it was accepted."""

    reason: Reason | None = None
    detail: str = ""
    """What was found, in a few words: the equation that fails, the id of the near-duplicate, the overlapping words."""

    @property
    def accepted(self) -> bool:
        return self.reason is None


class Question(OfTask):
    """A drafted question, with the solution and the normalised answer that the teacher wrote beside it, if any."""

    id: str
    text: str
    solution: str | None = None
    target: str | None
    prompt: str
    """The prompt it was drawn under (chat messages as JSON); the last message is what the teacher went on from."""
    check: Check


class Rationale(Row):
    """One worked solution of a drafted question."""

    id: str
    question_id: str
    style: str
    """A style of recipe.Style, `naive`, or `drafted`: what the question was drafted with."""
    text: str
    """The solution without its final answer line."""
    answer: str | None
    check: Check


class Score(Row):
    """What one draft as the single in-context example did for one probe item."""

    rationale_id: str
    question_id: str
    probe_id: str
    value: float
    """More is better. icl_logprob: mean log-probability a token (nats) of the gold solution, minus the same with no
    example. icl_accuracy: 1.0 where the student's greedy answer is the gold one, else 0.0. influence: loss on the gold
    solution (nats a token) before a step of training on the draft, minus after. likelihood, rank_surprisal: of the
    draft itself, under the one probe id `draft`."""
    asked: bool = True
    """False where the value is what is expected of it, given the probes that were asked (prefer.evaluations)."""


class Pair(Row):
    """A preference of the student: under `prompt`, `chosen` taught it more than `rejected`."""

    level: Literal["question", "rationale"]
    prompt: str
    """Chat messages as JSON, as given to the teacher in generation (rationales: style prompt erased). Where generation
    went on from the beginning of a reply, both sides hold it, and it cancels out."""
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    margin: float
    """Score of chosen minus score of rejected, in the unit of the score."""
    interval: tuple[float, float] | None = None
    """Of the margin, over the probes, at prefer.confidence; None where a draft has one value."""


class Example(OfTask):
    """A training example of the student: a question and the completion to learn (solution and answer line)."""

    id: str
    question: str
    rationale: str
    answer: str


RowType = TypeVar("RowType", bound=Row)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes all rows to `path`, whole or not at all, replacing what was there."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json() + "\n")
    part.replace(path)


def read_rows(path: Path, row_type: type[RowType]) -> list[RowType]:
    """All rows of a JSONL file.

    Raises DataError with file and line where the file is missing, empty, not UTF-8, not JSONL or lacks fields.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected JSONL rows of {row_type.__name__}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; expected a JSONL file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 and try again") from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(row_type.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the line"
            raise DataError(f"{path}:{number}: {field}: {first['msg']}; expected {row_type.__name__}") from None
    if not rows:
        raise DataError(f"{path}: holds no rows; expected JSONL rows of {row_type.__name__}")
    return rows
