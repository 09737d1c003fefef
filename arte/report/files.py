"""Reading the JSON and JSONL files of a run folder.

A file that is not there is null or no rows; a broken one is an error.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from arte.errors import DataError
from arte.rows import Row, read_rows

PartType = TypeVar("PartType", bound=BaseModel)
RowType = TypeVar("RowType", bound=Row)


def document(path: Path) -> Any:
    """The content of a JSON file, or null where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); delete its stage's folder and run the same command") from None


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, or none where there is no file."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise DataError(f"{path}:{number}: is not JSON ({error}); delete the stage's folder and rerun") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: found {type(row).__name__}; expected a JSON object")
        rows.append(row)
    return rows


def parsed(path: Path, kind: type[PartType]) -> list[PartType]:
    """The parts in a JSONL file, or in a JSON file that holds a list."""
    content = lines(path) if path.suffix == ".jsonl" else document(path) or []
    if not isinstance(content, list):
        raise DataError(f"{path}: found {type(content).__name__}; expected a JSON list of {kind.__name__}")
    parts = []
    for number, entry in enumerate(content, start=1):
        try:
            parts.append(kind.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the entry"
            raise DataError(f"{path}: entry {number}: {where}: {first['msg']}; expected {kind.__name__}") from None
    return parts


def rows_of(path: Path, kind: type[RowType]) -> list[RowType]:
    """The rows of a stage's JSONL file; none where the file is absent or empty."""
    return read_rows(path, kind) if path.is_file() and path.stat().st_size else []
