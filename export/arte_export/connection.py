"""A way to run commands on another machine: what ssh.py and adb.py have in common."""

import os
import subprocess
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from arte_export.errors import ExportError

COPY_S = 3600.0
"""After so many seconds a copy is given up."""


class Ran(NamedTuple):
    """What a command on the other machine gave."""

    code: int
    out: str
    err: str


class Connection(Protocol):
    """Every method raises ExportError where there is no connection or it is lost."""

    name: str
    """As in Measurement.on: `ssh:HOST` or `adb:SERIAL`."""
    base: str
    """The folder there in which ours is made; the shell there expands it."""

    def run(self, script: str, limit_s: float = 60.0) -> Ran:
        """Runs a script of the POSIX shell there. Its standard input is open, and empty, as long as this call lasts."""

    def push(self, file: Path, to: str) -> Ran:
        """Copies a file there; a code other than 0 says that it could not be written."""

    def temperature_c(self) -> float | None:
        """Of the battery; None where there is none that tells."""


def client(name: str, command: list[str], limit_s: float, install: str, source: IO[bytes] | None = None) -> Ran:
    """Runs the program that holds the connection. Its standard input is `source`, or else a pipe that stays empty and
    open as long as this process lives: the other side sees the end of either.

    Raises ExportError where the program is not installed (`install` says how to) or takes longer than `limit_s`.
    """
    ours, theirs = os.pipe()
    try:
        done = subprocess.run(
            command, stdin=source or ours, capture_output=True, timeout=limit_s, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise ExportError(f"{command[0]} is not on the PATH; {install}") from None
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"{name}: not done after {limit_s:g} seconds, so it was stopped; is the machine busy or the connection "
            "slow? The same command may be given again"
        ) from None
    finally:
        os.close(ours)
        os.close(theirs)
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
