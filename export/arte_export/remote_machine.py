"""What another machine is, and whether a file can be measured on it: asked before anything is copied there."""

import getpass
import hashlib
import os
import shlex
import socket
import uuid
from pathlib import Path
from typing import NamedTuple

from arte_export.connection import Connection
from arte_export.errors import ExportError

# e_machine of the ELF header (System V ABI and its supplements), as `uname -m` says it
ELF_MACHINES = {3: "i686", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
NAMES = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "arm", "armv8l": "arm", "i386": "i686", "i586": "i686"}
KEPT_FREE_BYTES = 64 << 20
REMOVE = """
if [ -r {folder}/pid ]; then
  read -r pid <{folder}/pid
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = {folder} ] && kill -9 "$pid"
fi
rm -rf {folder}
"""  # a number may have gone to another process meanwhile: it is ended only where it works in the folder


class Machine(NamedTuple):
    """`machine` as of `uname -m`, by one name for each kind; `available_bytes` of memory, None where not told.

    `base`: the folder there in which ours is made, without links. `llama_bench`: the one on its PATH.
    """

    system: str
    machine: str
    cores: int
    base: str
    free_bytes: int
    available_bytes: int | None
    llama_bench: str | None


def own_prefix() -> str:
    """How the names of all folders begin that this user makes from this machine; the number of the process follows."""
    who = f"{socket.gethostname()} {getpass.getuser()} {uuid.getnode()}"
    return f"arte-bench-{hashlib.sha256(who.encode()).hexdigest()[:12]}-"


def look(connection: Connection) -> Machine:
    """What the machine is. Removes what processes of ours left there that live no more, and this one's own.

    Raises ExportError where the shell there does not answer as a POSIX shell does.
    """
    # No awk: Android has none before version 15.
    ran = connection.run(
        f'base=$(cd "{connection.base}" && pwd -P) && echo "base $base" && echo "system $(uname -s)" && '
        'echo "machine $(uname -m)" && echo "cores $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)" && '
        'df -Pk "$base" | { read -r head; read -r disk all used free rest; echo "free $free"; }; '
        'echo "available $(grep MemAvailable /proc/meminfo 2>/dev/null | tr -dc 0-9)"; '
        'echo "program $(command -v llama-bench)"; '
        f'for old in "$base"/{own_prefix()}*; do [ -d "$old" ] && echo "old ${{old##*-}}"; done; true'
    )
    lines = [line.partition(" ")[::2] for line in ran.out.splitlines()]
    found = {word: rest.strip() for word, rest in lines}
    try:
        machine = Machine(
            system=found["system"],
            machine=NAMES.get(found["machine"], found["machine"]),
            cores=int(found["cores"]),
            base=found["base"],
            free_bytes=int(found["free"]) * 1024,
            available_bytes=int(found["available"]) * 1024 if found.get("available") else None,
            llama_bench=found.get("program") or None,
        )
    except (KeyError, ValueError):
        raise ExportError(
            f"{connection.name}: its shell does not say what machine it is (printed {ran.out[-200:]!r}, "
            f"{ran.err[-200:]!r}); expected a POSIX shell with uname, nproc or getconf, and df, and a folder "
            f"{connection.base}"
        ) from None
    for word, number in lines:
        if word == "old" and (not number.isdigit() or int(number) == os.getpid() or not _lives(int(number))):
            remove(connection, f"{machine.base}/{own_prefix()}{number}")
    return machine


def remove(connection: Connection, folder: str) -> None:
    """Removes a folder there, and ends what still runs in it. Raises ExportError where the connection is lost."""
    connection.run(REMOVE.format(folder=shlex.quote(folder)))


def check(connection: Connection, found: Machine, file: Path, carried: Path | None) -> None:
    """Raises ExportError where the machine cannot run the program that is to be carried, or has no room for the file
    on its disk or in its memory."""
    if carried is None and found.llama_bench is None:
        raise ExportError(
            f"{connection.name}: no llama-bench on its PATH, and none to carry. Install llama.cpp there, give one "
            f"built for {found.machine} with --llama-bench FILE, or, for a machine like this one, build it: arte "
            "doctor --install llama-bench"
        )
    if carried is not None:
        _check_program(connection, found, carried)
    size = file.stat().st_size
    needed = size + (carried.stat().st_size if carried else 0) + KEPT_FREE_BYTES
    if needed > found.free_bytes:
        raise ExportError(
            f"{connection.name}: {found.free_bytes / 1e6:,.0f} MB free in {found.base}, {needed / 1e6:,.0f} MB "
            "needed; nothing was copied. Free some space there, or measure a smaller scheme"
        )
    if found.available_bytes is not None and size > found.available_bytes:
        raise ExportError(
            f"{connection.name}: {found.available_bytes / 1e6:,.0f} MB of memory free, {file.name} has "
            f"{size / 1e6:,.0f} MB; nothing was copied or loaded. End other programs there, or measure a smaller scheme"
        )


def elf_machine(program: Path) -> str | None:
    """What an ELF program is built for, as `uname -m` says it; None where it is no ELF file or of another kind.

    ELF header (System V ABI, chapter 4): magic, byte order (1: little) at byte 5, e_machine at byte 18.
    """
    with program.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    return ELF_MACHINES.get(int.from_bytes(head[18:20], "little" if head[5] == 1 else "big"))


def _check_program(connection: Connection, found: Machine, program: Path) -> None:
    if not program.is_file():
        raise ExportError(f"{program}: no such file; expected a llama-bench program for {found.machine}")
    built_for = elf_machine(program)
    if found.system != "Linux" or built_for != found.machine:
        raise ExportError(
            f"{program}: is built for {f'Linux on {built_for}' if built_for else 'no kind of Linux known here'}, and "
            f"{connection.name} is {found.system} on {found.machine}; give a llama-bench that is built for it with "
            "--llama-bench, or install llama.cpp there"
        )


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
