"""The `arte` command as its users start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ARTE = (str(Path(sys.executable).parent / "arte"),)
SMOKE = ("recipe", "gsm8k", "--scale", "smoke")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Tiny models are quickest so."""


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str
    seconds: float


class SmokeRun(NamedTuple):
    """A whole run of the smoke scale."""

    folder: Path
    first: Ended


def started(
    *arguments: str, program: tuple[str, ...] = ARTE, environment: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    """The running command, leader of a process group of its own, with additions to this process' environment."""
    return subprocess.Popen(
        [*program, *arguments],
        env={**os.environ, **ONE_THREAD, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_interruptible,
    )


def _interruptible() -> None:
    """Tests started in the background of a shell ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*arguments: str, program: tuple[str, ...] = ARTE, environment: dict[str, str] | None = None) -> Ended:
    """Runs the command to its end."""
    began = time.monotonic()
    with started(*arguments, program=program, environment=environment) as process:
        try:
            out, err = process.communicate(timeout=500)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return Ended(process.returncode, out, err, time.monotonic() - began)


def wait_until(reached: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Returns when it is so, or when the process has ended."""
    end = time.monotonic() + 120
    while not reached() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)


def done(*arguments: str) -> Ended:
    """Runs the command, which has to end well."""
    ended = run(*arguments)
    assert ended.code == 0, f"{' '.join(arguments)} ended with {ended.code}\n{ended.out}\n{ended.err}"
    return ended


def rows(run_folder: Path) -> dict[str, bytes]:
    """Every file of rows in a run folder that a test of sameness compares, by its path there."""
    kinds = ("questions", "rationales", "scores", "pairs", "examples", "samples")
    stages = ("elicit", "prefer", "tailor", "distill", "evaluate")
    return {
        str(file.relative_to(run_folder)): file.read_bytes()
        for stage in stages
        for file in sorted((run_folder / stage).rglob("*.jsonl"))
        if file.stem in kinds
    }
