"""Rows of a data file, each with the words that locate it in a message: `seeds.jsonl:12`.

All data of tasks comes through here, so that a run can say what it read: `noted`.
"""

import contextlib
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from arte.errors import DataError
from arte.rows import Row

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

_BEGIN = re.compile(r"\s*\[\s*")
_BETWEEN = re.compile(r"\s*([,\]])\s*")
"""What stands behind an element of a JSON array."""


class Read(Row):
    """Data that was read: a file, or a split of a hub data set."""

    name: str
    """The file's, without its folder, or the data set's id with its configuration and split."""
    sha256: str | None = None
    """Of a file."""
    revision: str | None = None
    """The hub's commit; null where the cache does not say."""


_noted: ContextVar[list[Read] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noted() -> Iterator[list[Read]]:
    """A list of what is read meanwhile."""
    read: list[Read] = []
    token = _noted.set(read)
    try:
        yield read
    finally:
        _noted.reset(token)


def note(read: Read) -> None:
    """Adds data to the list that is kept, if one is."""
    kept = _noted.get()
    if kept is not None and read not in kept:
        kept.append(read)


def note_file(path: Path) -> None:
    """A file that was read, by its digest."""
    if _noted.get() is not None:
        with path.open("rb") as file:
            note(Read(name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest()))


def revision(data: Any) -> str | None:
    """The commit of a hub data set, by the addresses that it was fetched from."""
    for address in data.info.download_checksums or {}:
        if found := re.search(r"@([0-9a-f]{40})/", address):
            return found[1]
    return None


class Located(NamedTuple):
    """A row and where it stands."""

    where: str
    fields: dict[str, Any]


def rows(path: Path, form: str) -> list[Located]:
    """The rows of a JSONL, JSON, CSV, TSV or Parquet file, by its name; `form` is one, as messages show it.

    Raises DataError with file and line where it is missing, of another kind, not UTF-8, empty or broken.
    """
    if path.suffix not in KINDS:
        raise DataError(f"{path}: expected a file of the kinds {', '.join(KINDS)}")
    if path.suffix == ".parquet":
        found = _parquet(path)
    elif path.suffix == ".jsonl":
        found = _jsonl(path, _text(path), form)
    elif path.suffix == ".json":
        found = _json(path, _text(path), form)
    else:
        found = _csv(path, _text(path))
    if not found:
        expected = "one object a line, as" if path.suffix == ".jsonl" else "some such as"
        raise DataError(f"{path}: holds no rows; expected {expected} {form}")
    note_file(path)
    return found


def hub_rows(name: str, config: str | None, split: str) -> list[Located]:
    """The rows of a split of a hub data set. Raises DataError where it cannot be had."""
    import datasets

    try:
        data = datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        of = f" (config {config})" if config else ""
        raise DataError(f"{name}{of}, split {split}: could not be had from the hub: {reason}") from error
    note(Read(name=" ".join(filter(None, (name, config, split))), revision=revision(data)))
    return [Located(f"{name} {split} row {number}", row) for number, row in enumerate(data)]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 and try again") from None


def _jsonl(path: Path, text: str, form: str) -> list[Located]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: is not JSON ({error}); expected one object a line, as {form}") from None
        if not isinstance(fields, dict):
            raise DataError(f"{path}:{number}: found {type(fields).__name__}, expected an object such as {form}")
        found.append(Located(f"{path}:{number}", fields))
    return found


def _json(path: Path, text: str, form: str) -> list[Located]:
    """An array of objects, as Alpaca's file is; each stands where its line begins."""
    expected = f"expected an array of objects such as {form}"
    begin = _BEGIN.match(text)
    if begin is None:
        raise DataError(f"{path}: is no JSON array; {expected}, or one object a line in a .jsonl file")
    found: list[Located] = []
    decoder, place, counted, line = json.JSONDecoder(), begin.end(), 0, 1
    while text[place : place + 1] != "]" or found:
        line, counted = line + text.count("\n", counted, place), place
        try:
            fields, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{line}: is not JSON ({error}); {expected}") from None
        if not isinstance(fields, dict):
            raise DataError(f"{path}:{line}: found {type(fields).__name__}, expected an object such as {form}")
        found.append(Located(f"{path}:{line}", fields))
        between = _BETWEEN.match(text, end)
        if between is None or (between[1] == "]" and between.end() < len(text)):
            raise DataError(f"{path}:{line}: behind this object something else stands than `,` or the last `]`")
        if between[1] == "]":
            break
        place = between.end()
    return found


def _csv(path: Path, text: str) -> list[Located]:
    """The first line names the columns. Numbers stay as they are written: 007 is no 7."""
    csv.field_size_limit(2**24)
    reader = csv.DictReader(io.StringIO(text, newline=""), dialect="excel-tab" if path.suffix == ".tsv" else "excel")
    found, before = [], 1
    try:
        for fields in reader:
            line, before = before + 1, reader.line_num
            if None in fields or None in fields.values():
                columns = ", ".join(reader.fieldnames or ())
                raise DataError(f"{path}:{line}: has more or fewer values than the columns {columns}")
            found.append(Located(f"{path}:{line}", fields))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num + 1}: is not CSV ({error})") from None
    return found


def _parquet(path: Path) -> list[Located]:
    from datasets import Dataset
    from datasets.exceptions import DatasetsError

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        data = Dataset.from_parquet(str(path), keep_in_memory=True)
    except (OSError, ValueError, DatasetsError) as error:
        raise DataError(f"{path}: is not Parquet ({str(error).splitlines()[0]})") from None
    return [Located(f"{path} row {number}", row) for number, row in enumerate(data)]
