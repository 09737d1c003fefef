import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from arte_export import child
from arte_export.errors import BadModel, ChildDied, ExportError, MissingExtra
from pydantic import BaseModel

FILE = Path("model.gguf")


class Found(BaseModel):
    folder: Path
    total: int
    working_folder: str


def look(folder: Path, numbers: list[int], times: int = 1) -> Found:
    for count in range(3):
        child.tell(count + 1, 3)
    return Found(folder=folder, total=sum(numbers) * times, working_folder=os.getcwd())


def segfault() -> int:
    sys.stdout.write("about to read address 8")
    sys.stdout.flush()
    return len(ctypes.string_at(8, 8))


def kill_itself() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def bad_model() -> int:
    raise BadModel("x.gguf: broken — é")


def missing() -> int:
    raise MissingExtra("sentencepiece", "gguf", "This model")


def divide() -> float:
    return 1 / 0


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def decoy() -> str:
    import gguf

    return str(gguf.__file__)


def test_arguments_result_and_progress_cross_the_border() -> None:
    seen: list[tuple[int, int]] = []
    finished = child.run(
        partial(look, Path("a/b"), [1, 2, 3], times=7),
        holding=FILE,
        limit_s=60,
        progress=lambda *step: seen.append(step),
    )
    assert finished.result == Found(folder=Path("a/b"), total=42, working_folder=os.getcwd())
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_child_memory_is_its_own_not_that_of_a_large_parent() -> None:
    ballast = bytearray(700 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    peak = child.run(partial(sleep, 0), holding=FILE, limit_s=60).peak_rss_bytes
    assert 10 << 20 < peak < 400 << 20


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (segfault, ChildDied, ["model.gguf", "SIGSEGV", "about to read address 8", "llama-cpp-python"]),
        (kill_itself, ChildDied, ["model.gguf", "SIGKILL", "memory"]),
        (bad_model, BadModel, ["x.gguf: broken — é"]),
        (missing, MissingExtra, ["This model needs sentencepiece", "pip install 'arte[gguf]'"]),
        (divide, child.ChildBugError, ["ZeroDivisionError", "return 1 / 0"]),
    ],
)
def test_each_end_of_a_child_has_its_error(
    function: Callable[[], object], kind: type[Exception], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        child.run(partial(function), holding=FILE, limit_s=60)
    assert type(caught.value) is kind
    assert [word for word in words if word not in str(caught.value)] == []
    assert issubclass(kind, ExportError) or kind is child.ChildBugError


def test_time_limit_stops_the_child_while_the_parent_sleeps() -> None:
    wall, cpu = time.monotonic(), time.process_time()
    with pytest.raises(ChildDied, match=r"model.gguf: not done after the time limit of 2 seconds"):
        child.run(partial(sleep, 600), holding=FILE, limit_s=2)
    assert 2 <= time.monotonic() - wall < 20
    assert time.process_time() - cpu < 0.5


def test_amx_advice_is_the_line_that_was_tried(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu avx512f amx_bf16 amx_tile amx_int8\n")
    assert (
        "CMAKE_ARGS=\"-DCMAKE_C_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16' "
        "-DCMAKE_CXX_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'\" pip install"
    ) in child._advice("SIGSEGV", cpuinfo)
    cpuinfo.write_text("flags : fpu avx2\n")
    assert "amx" not in child._advice("SIGILL", cpuinfo)
    assert child._advice("SIGTERM", cpuinfo) == ""


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gguf.py").write_text("raise SystemExit('the wrong gguf')")
    (tmp_path / "arte_export").mkdir()
    monkeypatch.chdir(tmp_path)
    found = child.run(partial(decoy), holding=FILE, limit_s=60).result
    assert Path(found).parent.name == "gguf"
    assert tmp_path not in Path(found).parents


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_parent_takes_its_child_with_it(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n"
        "def work(file: str) -> int:\n"
        "    pathlib.Path(file).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "    return 0\n"
    )
    (tmp_path / "parent.py").write_text(
        "import functools, pathlib, sys, sleeper\n"
        "from arte_export import child\n"
        "child.run(functools.partial(sleeper.work, sys.argv[1]), holding=pathlib.Path('x'), limit_s=600)\n"
    )
    written = tmp_path / "pid"
    export = str(Path(child.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([export, str(tmp_path)])}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(written)], env=environment)
    try:
        _until(lambda: written.is_file() and written.read_text() != "")
    finally:
        parent.kill()
        parent.wait()
    stat = Path(f"/proc/{written.read_text()}/stat")
    _until(lambda: not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
