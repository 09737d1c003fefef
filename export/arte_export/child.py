"""Native code runs in a process of its own, so that its crash is one clear error here.

`run(partial(function, ...))` starts a fresh Python, calls the function there and gives back what it returned. Arguments
and result travel as JSON and are checked against the function's annotations on both sides. The parent sleeps while it
waits, so a measurement in the child has the cores to itself.

What the child sends is one JSON object a line on a pipe of its own (its stdout and stderr are a log, shown only where
it dies): `done`/`total` (progress), `result`, `error` (an ExportError, raised here again), or `bug` (a traceback).
"""

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar, get_type_hints

from pydantic import TypeAdapter, validate_call

from arte_export import errors

R = TypeVar("R")
Progress = Callable[[int, int], None]

NO_AMX = " ".join(f"-DCMAKE_{language}_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'" for language in ("C", "CXX"))
REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"

# Another interpreter gets this package by its own path: in an installed copy, the folder that holds it holds the
# packages of this interpreter too, which the other must not see.
BOOTSTRAP = """
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location("arte_export", sys.argv[1])
sys.modules["arte_export"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
del sys.argv[1]
runpy.run_module("arte_export.child", run_name="__main__", alter_sys=True)
"""

_channel: IO[str] | None = None


class Finished(NamedTuple, Generic[R]):
    """What a child gave back, and the most memory that it held (bytes; Python and libraries included)."""

    result: R
    peak_rss_bytes: int


class ChildBugError(RuntimeError):
    """An unexpected exception in the child; the message is its traceback."""


def run(
    call: "partial[R]",
    *,
    holding: Path,
    limit_s: float,
    path: Sequence[Path] = (),
    progress: Progress | None = None,
    python: Path | None = None,
) -> Finished[R]:
    """Calls a module-level function in a fresh process. `holding` is the file named if that process dies.

    `path`: folders put before all others on the child's import path. `progress`: called with (done, total).
    `python`: another interpreter, which finds its own packages (pydantic among them), arte_export and `path` only.

    Raises ChildDied on death by signal or after `limit_s` seconds, any ExportError that the function raises, and
    ChildBugError for anything else that it raises.
    """
    function: Callable[..., R] = call.func
    request = {
        "module": function.__module__,
        "function": function.__name__,
        "args": call.args,
        "kwargs": call.keywords,
        "parent": os.getpid(),
    }
    if python is None:
        module_file = sys.modules[function.__module__].__file__
        assert module_file is not None
        own_roots = [Path(module_file).resolve().parents[function.__module__.count(".")], Path(__file__).parents[1]]
        # -P: the current folder is not on the import path, whatever lies in it
        command = [sys.executable, "-P", "-m", "arte_export.child"]
    else:
        own_roots = []
        command = [str(python), "-P", "-c", BOOTSTRAP, str(Path(__file__).with_name("__init__.py").resolve())]
    roots = [*path, *own_roots]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(root.resolve()) for root in roots),
        "GGML_NO_BACKTRACE": "1",  # or ggml starts a debugger, whose lines would drown the reason in the log
    }
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as log:
        stdin.write(TypeAdapter(Any).dump_json(request))
        stdin.seek(0)
        process = subprocess.Popen(
            [*command, str(writer)],
            stdin=stdin, stdout=log, stderr=log, pass_fds=[writer], env=environment,
        )  # fmt: skip
        try:
            os.close(writer)
            last: dict[str, Any] = {}
            for message in _messages(reader, time.monotonic() + limit_s):
                if message is None:
                    process.kill()
                    process.wait()
                    raise errors.ChildDied(f"{holding}: not done after the time limit of {limit_s:g} seconds; stopped")
                if "done" in message and progress is not None:
                    progress(message["done"], message["total"])
                last = message
            status = process.wait()
        finally:
            os.close(reader)
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").splitlines()[-12:]
    if "result" in last:
        returns = TypeAdapter(get_type_hints(function)["return"])
        return Finished(returns.validate_python(last["result"], strict=False), last["peak_rss_bytes"])
    if "error" in last:
        kind: type[errors.ExportError] = getattr(errors, last["error"], errors.ExportError)
        raise kind.__new__(kind, last["message"])  # past __init__: MissingExtra builds its message from parts
    if "bug" in last:
        raise ChildBugError(f"in the child process that held {holding}:\n{last['bug']}")
    raise errors.ChildDied(_obituary(holding, status, said))


def tell(done: int, total: int) -> None:
    """Passes progress on to the parent; outside a child, does nothing."""
    _send({"done": done, "total": total})


def _messages(reader: int, deadline: float) -> Iterator[dict[str, Any] | None]:
    """Each message as it comes, until the pipe closes; None once if the deadline passes first."""
    rest = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            yield None
            return
        chunk = os.read(reader, 1 << 20)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines)


def _obituary(holding: Path, status: int, said: list[str]) -> str:
    if status >= 0:
        how, advice = f"ended with status {status} and no answer", ""
    else:
        name = signal.Signals(-status).name
        how, advice = f"was killed by {name}", _advice(name)
    log = "".join(f"\n  | {line}" for line in said)
    return f"{holding}: the process that held this file {how}; nothing else was harmed.{advice}{log}"


def _advice(name: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if name in ("SIGSEGV", "SIGILL"):
        if cpuinfo.is_file() and "amx_tile" in cpuinfo.read_text():
            # ggml-org/llama.cpp issue 20824: the AMX kernels of a default build crash at the first evaluation
            return f'\nThis CPU has AMX, with which a default llama.cpp build crashes. Build it without:\n  CMAKE_ARGS="{NO_AMX}" {REBUILD}'  # noqa: E501
        return (
            f"\nIf other files die too, llama-cpp-python was built for another CPU; build it on this one:\n  {REBUILD}"
        )
    if name == "SIGABRT":
        return "\nThe file is damaged, or newer than the installed llama-cpp-python; make or fetch it again."
    if name == "SIGKILL":
        return "\nMost often the system does this when memory runs out: use a smaller file, context or batch."
    return ""


def _send(message: dict[str, Any]) -> None:
    if _channel is not None:
        _channel.write(json.dumps(message) + "\n")
        _channel.flush()


def _peak_rss_bytes() -> int:
    # Not ru_maxrss where there is a choice: on Linux it survives exec, so a large parent shows up in a small child.
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def serve(channel: IO[str]) -> None:
    """The child's side: answers the one request on stdin."""
    global _channel
    _channel = channel
    request = json.load(sys.stdin)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # prctl(2): a killed parent takes its child with it
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != request["parent"]:
            return
    try:
        function = getattr(importlib.import_module(request["module"]), request["function"])
        result = validate_call(function)(*request["args"], **request["kwargs"])
        returns: TypeAdapter[Any] = TypeAdapter(get_type_hints(function)["return"])
        value = returns.dump_python(result, mode="json")
        _send({"result": value, "peak_rss_bytes": _peak_rss_bytes()})
    except errors.ExportError as error:
        _send({"error": type(error).__name__, "message": str(error)})
    except Exception:
        _send({"bug": traceback.format_exc()})


if __name__ == "__main__":
    from arte_export import child  # this file again, under the name by which other modules reach `tell`

    with os.fdopen(int(sys.argv[1]), "w") as _pipe:
        child.serve(_pipe)
