"""Arguments of commands that meet an error: each situation makes its broken thing and gives the command for it."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import crafted
from tests.cli.command import SMOKE


class Place:
    """Where a row of the table makes its broken things; disks and locks live until its test ends."""

    def __init__(self, folder: Path, held: contextlib.ExitStack, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.held = held
        self.patch = patch

    def home(self) -> Path:
        """An empty model cache instead of the session's, out of reach of any package index."""
        self.patch.setenv("ARTE_HOME", str(self.folder / "home"))
        self.patch.setenv("PIP_NO_INDEX", "1")
        self.patch.setenv("PIP_CONFIG_FILE", "/dev/null")
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            self.patch.delenv(name, raising=False)
        return self.folder / "home"

    def file(self, name: str, content: bytes) -> str:
        """A file of that content."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


Arguments = Callable[[Place], list[str]]


def smoke(*overrides: str) -> Arguments:
    teacher = "teacher.name=tiny-random-teacher"  # the scale's own takes half a minute to make
    return lambda place: [*SMOKE, "--out", str(place.folder / "run"), teacher, *overrides]


def plain(*arguments: str) -> Arguments:
    return lambda _: list(arguments)


def with_data(train: bytes, test: bytes | None = None) -> Arguments:
    def arguments(place: Place) -> list[str]:
        made = crafted.data(place.folder / "data", train, test)
        return smoke("task.name=gsm8k", f"task.data={made}")(place)

    return arguments


def with_student(change: Callable[[bytes], bytes]) -> Arguments:
    return lambda place: smoke(f"student.name={crafted.student_folder(place.folder / 'student', change)}")(place)


def with_starter(prepare: Callable[[Path], None]) -> Arguments:
    def arguments(place: Place) -> list[str]:
        prepare(place.home())
        return ["evaluate", crafted.STUDENT, "--test", "1"]

    return arguments


def home_on(options: str) -> Arguments:
    def arguments(place: Place) -> list[str]:
        place.held.enter_context(crafted.mounted(place.home(), options))
        return ["evaluate", "tiny-random-student", "--test", "1"]

    return arguments


def run_on(options: str) -> Arguments:
    return lambda place: [
        *(*SMOKE, "--out"),
        str(place.held.enter_context(crafted.mounted(place.folder / "disk", options)) / "run"),
    ]


def in_use(place: Place) -> list[str]:
    place.held.enter_context(crafted.held(place.folder / "run"))
    return smoke()(place)


def never_acceptable(place: Place) -> list[str]:
    few = ("elicit.questions=2", "elicit.attempts=2", "elicit.question_tokens=16", "elicit.rationale_tokens=16")
    return smoke(*few)(place)
