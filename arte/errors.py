"""Errors that a reader can mend. The command line prints their message and exits 1; all else is a bug.

ArteError
 ├── RecipeError     settings: every problem of a recipe at once
 ├── UnknownName     a recipe, scale, task, device or stage that does not exist, with the nearest that does
 ├── ModelError      a model is not found, not whole, or too large for this machine
 ├── DataError       a data file is missing, empty, not UTF-8, not JSONL, or lacks fields
 ├── WorkspaceError  the run folder is in use, read-only, or full
 ├── EngineError     an engine is not installed, its server does not answer, refuses, or serves another model
 ├── LimitReached    a run would pass one of its limits
 └── StageError      a stage cannot go on (a teacher that drafts nothing acceptable, too few pairs)

`arte_export` has a tree of its own (it imports nothing of arte); READER_ERRORS holds both roots.
"""

import difflib
from collections.abc import Iterable

from arte_export.errors import ExportError


class ArteError(Exception):
    """An error whose message alone tells the reader what to do."""


class RecipeError(ArteError):
    """A recipe that cannot be run. `problems` holds one line each: `dotted.key: what is wrong`."""

    def __init__(self, where: str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        super().__init__("\n".join([f"{where} cannot be run:", *(f"  {problem}" for problem in problems)]))


class UnknownName(ArteError):
    """A name that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f"no {kind} is called {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")


class ModelError(ArteError):
    """A model that cannot be found, read or held."""


class DataError(ArteError):
    """A data file that cannot be used; the message names file and line."""


class WorkspaceError(ArteError):
    """A run folder that cannot be used."""


class EngineError(ArteError):
    """An engine that cannot do its work; the message says what to install, start or write."""


class LimitReached(ArteError):
    """A run that stops before it passes a limit; what it did is kept."""


class StageError(ArteError):
    """A stage that cannot go on."""


READER_ERRORS = (ArteError, ExportError)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean NEAREST?`, or nothing where no known name is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else ""
