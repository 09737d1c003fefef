"""How answers are found in a text and when two are the same: a reader for each kind that a task.yaml may name.

`read` is given what should be an answer and nothing else, `find` a whole reply in which the last answer counts. Both
give it in one normal form, so that equal strings are equal answers, and None where there is none.
"""

import importlib.util
import json
import math
import re
import traceback
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from arte.errors import DataError
from arte.tasks import answers

LONGEST = 20_000
"""Characters of a reply that are looked at, its last ones: what is longer ran away."""
_AROUND = " \t\r\n*_`\"'()[].:,;"
"""What may stand around a choice that is meant alone: `**(B).**`."""

_BEGINS = re.compile(r"[{\[]")
"""Where JSON may begin."""


class Reader(Protocol):
    """Reads answers of a kind."""

    expected: str
    """What an answer looks like, for error messages."""

    def read(self, text: str) -> str | None:
        """The answer that the text is, normalised."""
        ...

    def find(self, text: str) -> str | None:
        """The last answer that the text holds, normalised."""
        ...

    def right(self, found: str | None, gold: str) -> bool:
        """Whether an answer that was read is as good as the gold one."""
        ...


class Equal:
    """Right where it is the gold answer to the letter."""

    def right(self, found: str | None, gold: str) -> bool:
        return found == gold


class Exact(Equal):
    """The text itself, but for white space (and case)."""

    def __init__(self, ignore_case: bool) -> None:
        self.ignore_case = ignore_case
        self.expected = "text"

    def read(self, text: str) -> str | None:
        text = " ".join(unicodedata.normalize("NFC", text).split())
        return (text.casefold() if self.ignore_case else text) or None

    def find(self, text: str) -> str | None:
        """The last line that is not empty."""
        lines = [line for line in text[-LONGEST:].splitlines() if line.strip()]
        return self.read(lines[-1]) if lines else None


class Open(Equal):
    """Any text, as it is but for white space around it. Two that differ may be as good as each other."""

    expected = "text"

    def read(self, text: str) -> str | None:
        return text.strip() or None

    def find(self, text: str) -> str | None:
        return self.read(text)


class Number(Equal):
    """One number, in GSM8K's convention (arte.tasks.answers)."""

    expected = "a number"

    def read(self, text: str) -> str | None:
        return answers.normalise(text)

    def find(self, text: str) -> str | None:
        return answers.flexible(text[-LONGEST:])


class Choice(Equal):
    """One of a few labels, as it is written in the definition."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.expected = "one of " + ", ".join(choices)
        self.named = {choice.casefold(): choice for choice in choices}
        longest_first = sorted(choices, key=len, reverse=True)
        # A single letter is a word of its own in prose (`a`, `I`), so it counts as written and marked off alone.
        marked = [choice for choice in longest_first if len(choice) == 1]
        words = [choice for choice in longest_first if len(choice) > 1]
        self.begins = re.compile(rf"({'|'.join(map(re.escape, longest_first))})(?!\w)", re.I)
        patterns = [rf"(?<!\w)(?P<word>(?i:{'|'.join(map(re.escape, words))}))(?!\w)"] if words else []
        if marked:
            one = "|".join(map(re.escape, marked))
            patterns.append(rf"\((?P<inside>{one})\)|(?<![\w'’])(?P<alone>{one})(?=[.):,;*\"]|\s*$)")
        self.anywhere = re.compile("|".join(patterns), re.M)

    def read(self, text: str) -> str | None:
        bare = text.strip(_AROUND)
        if (whole := self.named.get(bare.casefold())) is not None:
            return whole
        begins = self.begins.match(bare)
        if begins is None or not re.match(r"\s*[).:,;-]", bare[begins.end() :]):
            return None
        choice = self.named[begins[1].casefold()]
        return choice if set(self._mentioned(bare[begins.end() :])) <= {choice} else None

    def find(self, text: str) -> str | None:
        if (whole := self.named.get(text.strip(_AROUND).casefold())) is not None:
            return whole
        mentioned = self._mentioned(text[-LONGEST:])
        return mentioned[-1] if mentioned else None

    def _mentioned(self, text: str) -> list[str]:
        return [self.named[found[found.lastgroup or 0].casefold()] for found in self.anywhere.finditer(text)]


def lettered(question: str) -> list[str]:
    """The letters of the options that stand behind a question, a line each: `(A) …`. Of several lists the last."""
    letters: list[str] = []
    for letter in re.findall(r"^\(([A-Z])\)", question, re.M):
        letters = [] if letter == "A" else letters
        if letter == chr(ord("A") + len(letters)):
            letters.append(letter)
    return letters


class Pattern(Equal):
    """What a regular expression's first group (or all of it) matches last."""

    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern, re.M)
        self.expected = f"text that {pattern!r} matches"

    def read(self, text: str) -> str | None:
        found = list(self.pattern.finditer(text[-LONGEST:]))
        if not found:
            return None
        return " ".join((found[-1][1 if self.pattern.groups else 0] or "").split()) or None

    find = read


class Json:
    """A JSON value that satisfies a schema; `fields` of an object are compared, or all of it."""

    def __init__(self, schema: dict[str, Any] | None, fields: Sequence[str] | None) -> None:
        import jsonschema

        self.fields = fields
        self.schema = None if schema is None else json.dumps(schema)
        self.expected = "JSON" if schema is None else f"JSON that satisfies {json.dumps(schema)[:200]}"
        self.valid: Callable[[Any], bool] = (
            (lambda _: True) if schema is None else jsonschema.Draft202012Validator(schema).is_valid
        )
        self.decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=_whole_where_it_is)

    def read(self, text: str) -> str | None:
        text = text.strip()
        if fenced := re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.S):
            text = fenced[1]
        try:
            value, end = self.decoder.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        return self._normal(value) if end == len(text) else None

    def find(self, text: str) -> str | None:
        if (whole := self.read(text)) is not None:
            return whole
        text, last, place = text[-LONGEST:], None, 0
        while begins := _BEGINS.search(text, place):
            place = begins.start() + 1
            try:
                value, end = self.decoder.raw_decode(text, begins.start())
            except (ValueError, RecursionError):
                continue
            if (normal := self._normal(value)) is not None:
                last, place = normal, end
        return last

    def right(self, found: str | None, gold: str) -> bool:
        if found is None or self.fields is None:
            return found == gold
        one, other = json.loads(found), json.loads(gold)
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return found == gold
        absent = object()
        return all(one.get(field, absent) == other.get(field, absent) for field in self.fields)

    def _normal(self, value: Any) -> str | None:
        return json.dumps(value, sort_keys=True, ensure_ascii=False) if self.valid(value) else None


class Program:
    """A Python file of the task's own: `read(text) -> str | None`, and if it has them `find`, and `right(found, gold)
    -> bool`."""

    expected = "text that the task's own read() accepts"

    def __init__(self, path: Path) -> None:
        """Runs the file. Raises DataError where it fails or has no read()."""
        self.path = path
        specification = importlib.util.spec_from_file_location(f"arte_task_{path.stem}", path)
        if not path.is_file() or specification is None or specification.loader is None:
            raise DataError(f"{path}: no such Python file (answer.file of task.yaml)")
        self.module = importlib.util.module_from_spec(specification)
        try:
            specification.loader.exec_module(self.module)
        except Exception as error:
            raise DataError(f"{path}{_line(error, path)}: fails when it is read: {error!r}") from error
        if not callable(getattr(self.module, "read", None)):
            raise DataError(f"{path}: has no function read(text), which gives the answer of a text or None")

    def read(self, text: str) -> str | None:
        return self._text("read", text)

    def find(self, text: str) -> str | None:
        return self._text("find" if hasattr(self.module, "find") else "read", text[-LONGEST:])

    def right(self, found: str | None, gold: str) -> bool:
        if found is None or not hasattr(self.module, "right"):
            return found == gold
        said = self._call("right", found, gold)
        if not isinstance(said, bool):
            raise DataError(f"{self.path}: right({found!r}, {gold!r}) gave {said!r}, expected True or False")
        return said

    def _text(self, function: str, text: str) -> str | None:
        said = self._call(function, text)
        if said is not None and not isinstance(said, str):
            raise DataError(f"{self.path}: {function}({text[:60]!r}) gave {said!r}, expected text or None")
        return said or None

    def _call(self, function: str, *given: str) -> object:
        try:
            return getattr(self.module, function)(*given)
        except Exception as error:
            shown = ", ".join(repr(text[:60]) for text in given)
            raise DataError(f"{self.path}{_line(error, self.path)}: {function}({shown}) raises {error!r}") from error


def _line(error: Exception, path: Path) -> str:
    """`:12`, where in the file an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _whole_where_it_is(digits: str) -> float | int:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond all numbers")
    return int(number) if number.is_integer() else number
