"""A GGUF file measured on another machine, by a llama-bench there or carried there, over ssh or adb.

What is needed there is a POSIX shell. One folder is made, and removed again whatever happens: at the end, by the runner
when it finds its connection gone, or at the next start, for its name tells the machine, user and process that made it.

What is not measured there: energy, time between tokens, real prompts, a load with the file out of the cache.
"""

import os
import re
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from arte_export import llama_bench, noise, package_index, remote_machine
from arte_export.adb import Adb
from arte_export.connection import Connection
from arte_export.errors import ChildDied, ExportError
from arte_export.measurement import Frozen, Measurement, Test, Timed
from arte_export.spread import spread
from arte_export.ssh import Ssh

RUNNER = Path(__file__).with_name("remote_runner.sh")
LOADS = 3
HOT_C = 40.0
COOL_S = 300.0
"""So long a hot battery is waited for before each test, and looked at every COOL_STEP_S seconds."""
COOL_STEP_S = 15.0


class Settings(Frozen):
    """What to measure. `limit_s` holds for each test.

    `llama_bench`: a program to carry in any case. `built_here`: one to carry where none is found on the PATH there.
    """

    tests: Annotated[list[Test], Field(min_length=1)]
    repeats: Annotated[int, Field(gt=0)] = 5
    threads: Annotated[int, Field(gt=0)] | None = None
    llama_bench: Path | None = None
    built_here: Path | None = None
    limit_s: float = 3600.0


class Watched(NamedTuple):
    """What a program there printed, the seconds from its start to its end (None where the clock there has no parts of
    seconds) and its memory in bytes by the names of /proc/PID/status."""

    said: str
    seconds: float | None
    memory: dict[str, int]


class _Place(NamedTuple):
    connection: Connection
    machine: remote_machine.Machine
    folder: str
    limit_s: float


def connect(on: str) -> Connection:
    """The connection that `ssh:HOST` or `adb:SERIAL` names. Raises ExportError for anything else."""
    kind, _, where = on.partition(":")
    if kind == "ssh" and where:
        return Ssh(where)
    if kind == "adb" and where:
        return Adb(where)
    raise ExportError(f"--on {on!r} names no machine; expected ssh:HOST (as for the ssh command) or adb:SERIAL")


def measure(connection: Connection, file: Path, device: str, settings: Settings) -> Measurement:
    """Measures a GGUF file there, as the device of that name.

    `ttft_s` is the time of the first pp test: choosing the largest of the logits takes microseconds. `load_s` is the
    time of a process that starts, loads, computes one token and ends, less that token: somewhat more than the load. The
    file is in the system's cache then, since it was just written, unless memory is short.

    Raises ExportError (connection, disk, memory, wrong kind of program) and ChildDied (killed there). Nothing is left
    there, and the same command can be given again.
    """
    machine = remote_machine.look(connection)
    carried = settings.llama_bench or (None if machine.llama_bench else settings.built_here)
    remote_machine.check(connection, machine, file, carried)
    folder = f"{machine.base}/{remote_machine.own_prefix()}{os.getpid()}"
    place = _Place(connection, machine, folder, settings.limit_s)
    threads = settings.threads or machine.cores
    try:
        program = _prepared(place, file, carried)
        command = [program, "-m", "model.gguf", "-t", str(threads), "-o", "json"]
        hot = _hot(connection)
        loads = [_run(place, [*command, "-p", "1", "-n", "0", "-r", "1", "--no-warmup"]) for _ in range(LOADS)]
        rows, watched = [], []
        for test in settings.tests:
            hot += _hot(connection)
            watched.append(_run(place, [*command, *_arguments(test), "-r", str(settings.repeats)]))
            rows.append(_row(watched[-1], test, connection))
        hot += _hot(connection, wait=False)
    finally:
        _removed(connection, folder)
    found = _measurement(file, rows, loads, watched)
    unsteady = [f"{threads} threads on {machine.cores} cores"] if threads > machine.cores else []
    if hot:
        unsteady.append(f"the battery had up to {max(hot):.1f} °C")
    unsteady += [said for each in found.tests if (said := noise.disagreement(each.test.name, each.tok_s))]
    return found.model_copy(update={"device": device, "on": connection.name, "threads": threads, "unsteady": unsteady})


def _prepared(place: _Place, file: Path, carried: Path | None) -> str:
    """Makes the folder and copies what is needed; the program to run."""
    ran = place.connection.run(f"mkdir -m 700 {shlex.quote(place.folder)}")
    if ran.code != 0:
        raise ExportError(
            f"{place.connection.name}: the folder {place.folder} cannot be made: {ran.err.strip()[-200:]}; the user "
            "there must be allowed to write there"
        )
    files = {"runner.sh": RUNNER, "model.gguf": file} | ({} if carried is None else {"llama-bench": carried})
    for name, source in files.items():
        ran = place.connection.push(source, f"{place.folder}/{name}")
        if ran.code != 0:
            raise _not_copied(place.connection, source, ran.err.strip()[-300:])
    _verify(place, files)
    if carried is not None:
        return "./llama-bench"
    assert place.machine.llama_bench is not None  # remote_machine.check saw to it
    return place.machine.llama_bench


def _verify(place: _Place, files: dict[str, Path]) -> None:
    """Compares sizes and, where the machine can, SHA-256; makes the program one that may run."""
    each = (f'echo "$(wc -c <{name}) $(sha256sum <{name} 2>/dev/null)"' for name in files)
    steps = [f"cd {shlex.quote(place.folder)}", "chmod 700 *", *each]
    lines = place.connection.run("; ".join(steps), place.limit_s).out.splitlines()
    for (name, source), line in zip(files.items(), lines or [""] * len(files), strict=True):
        size, digest = [*line.split(), "", ""][:2]
        expected = source.stat().st_size
        if size != str(expected) or (digest and digest != package_index.file_sha256(source)):
            raise _not_copied(
                place.connection, source, f"{size or 'no'} bytes arrived of {expected} as {name}, SHA-256 {digest}"
            )


def _not_copied(connection: Connection, file: Path, said: str) -> ExportError:
    return ExportError(
        f"{connection.name}: {file.name} could not be copied: {said}. What had arrived was removed; free some space "
        "there if its disk is full, and give the same command again"
    )


def _arguments(test: Test) -> list[str]:
    sizes = ["-p", str(test.prompt_tokens), "-n", str(test.generated_tokens)]
    if test.prompt_tokens and test.generated_tokens:  # -p and -n together would be two tests
        sizes = ["-p", "0", "-n", "0", "-pg", f"{test.prompt_tokens},{test.generated_tokens}"]
    return [*sizes, "-d", str(test.depth_tokens)]


def _run(place: _Place, command: list[str]) -> Watched:
    script = f"cd {shlex.quote(place.folder)} && exec sh runner.sh {shlex.join(command)}"
    ran = place.connection.run(script, place.limit_s)
    head, _, rest = ran.out.partition("said\n")
    said, _, complained = rest.rpartition("complained\n")
    found = dict(re.findall(r"^(\w+) (\d+)$", head, re.MULTILINE))
    if "exit" not in found:
        raise ExportError(
            f"{place.connection.name}: what runs the program there ended with {ran.code} and without an answer "
            f"({ran.err.strip()[-200:] or 'it said nothing'}); the connection may have been lost, or memory have run "
            "out. The same command may be given again"
        )
    if code := int(found["exit"]):
        raise _death(place.connection, code, (complained.strip() or said.strip())[-400:])
    spans = [int(found[name]) for name in ("start", "end") if len(found.get(name, "")) > 12]  # no %N: seconds only
    memory = {name: int(found[name]) * 1024 for name in ("VmHWM", "RssFile") if name in found}
    return Watched(said, (spans[1] - spans[0]) / 1e9 if len(spans) == 2 else None, memory)


def _row(watched: Watched, test: Test, connection: Connection) -> llama_bench.Row:
    found = llama_bench.parse(watched.said)
    tests = [each.test for each in llama_bench.timed(found)]
    if tests != [test]:
        raise ExportError(
            f"{connection.name}: llama-bench measured {', '.join(each.name for each in tests)}, asked for was "
            f"{test.name}; its version may be older or newer than what is understood here"
        )
    return found[0]


def _death(connection: Connection, code: int, said: str) -> ExportError:
    if code <= 128:
        advice = (
            "; it cannot run there: built for another processor, or with libraries that are not there"
            if code in (126, 127) else ""
        )  # fmt: skip
        return ExportError(f"{connection.name}: llama-bench ended with {code}{advice}: {said or 'it said nothing'}")
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        name = f"signal {code - 128}"
    advice = {
        "SIGKILL": "most often the system does this when memory runs out: measure a smaller scheme",
        "SIGILL": "the program is built for another processor; give one that is built for this one (--llama-bench)",
        "SIGSEGV": "the program may be built for another processor, or the file be damaged",
    }.get(name, "give the same command again")
    return ChildDied(f"{connection.name}: llama-bench was killed by {name} there; {advice}. {said}".rstrip())


def _hot(connection: Connection, wait: bool = True) -> list[float]:
    """Waits for a hot battery; its temperature where it stays hot."""
    end = time.monotonic() + COOL_S
    while (heat := connection.temperature_c()) is not None and heat > HOT_C:
        if not wait or time.monotonic() >= end:
            return [heat]
        time.sleep(COOL_STEP_S)
    return []


def _removed(connection: Connection, folder: str) -> None:
    """Once more where the connection fails; after that the runner or the next start does it."""
    for pause in (2.0, 0.0):
        try:
            return remote_machine.remove(connection, folder)
        except ExportError:
            time.sleep(pause)
    return None


def _measurement(file: Path, rows: list[llama_bench.Row], loads: list[Watched], watched: list[Watched]) -> Measurement:
    tests = llama_bench.timed(rows)
    pp = _first(tests, lambda test: test.prompt_tokens > 0 and not test.generated_tokens)
    tg = _first(tests, lambda test: test.generated_tokens > 0 and not test.prompt_tokens)
    load_s = [
        max(load.seconds - llama_bench.parse(load.said)[0].samples_ns[0] / 1e9, 0.0)
        for load in loads if load.seconds is not None
    ]  # fmt: skip
    last = rows[-1]
    most = {name: max(each.memory.get(name, 0) for each in watched) for name in ("VmHWM", "RssFile")}
    return Measurement(
        file=file.name,
        format="gguf",
        bytes=file.stat().st_size,
        engine="llama-bench",
        engine_version=None if last.build_commit == "unknown" else f"{last.build_commit} ({last.build_number})",
        threads=last.n_threads,
        prompt_tokens=pp.test.prompt_tokens if pp else 0,
        generated_tokens=tg.test.generated_tokens if tg else 0,
        load_s=spread(load_s) if load_s else None,
        ttft_s=spread(pp.seconds) if pp else None,
        pp_tok_s=spread(pp.tok_s) if pp else None,
        tg_tok_s=spread(tg.tok_s) if tg else None,
        tests=tests,
        peak_rss_bytes=most["VmHWM"] or None,
        mapped_bytes=most["RssFile"] or None,
        model_type=last.model_type,
        model_parameters=last.model_n_params,
        weight_bytes=last.model_size,
    )


def _first(tests: list[Timed], kind: Callable[[Test], bool]) -> Timed | None:
    """The headline of its kind: the first at depth 0."""
    return next((each for each in tests if not each.test.depth_tokens and kind(each.test)), None)
