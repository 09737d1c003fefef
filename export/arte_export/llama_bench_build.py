"""The llama-bench program, built from the llama.cpp source of the installed llama-cpp-python.

The source distribution of the same version is fetched with pip, unpacked and built with cmake, for the processor at
hand as the library is. It holds llama.cpp inside itself, so it can be carried to a machine of the same kind.
"""

import fcntl
import os
import platform
import shlex
import shutil
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from arte_export import environment, package_index
from arte_export.errors import DownloadFailed, ExportError, MissingExtra

PACKAGE = "llama-cpp-python"
INSTALL_LINE = "arte doctor --install llama-bench"
DISK_BYTES = 2 * 2**30  # 0.3 GB for the archive and the source, the rest for the build and room
LARGEST_UNPACKED_BYTES = 2**30
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""With AMX llama.cpp crashes at its first product (ggml-org/llama.cpp issue 20824); the Makefile leaves it out too."""
OPTIONS = [
    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
]  # fmt: skip


def folder(home: Path) -> Path:
    """Where the program of the installed version is or would be, below `home`. Raises MissingExtra."""
    try:
        return home / "tools" / f"llama-bench-{version(PACKAGE)}"
    except PackageNotFoundError:
        raise MissingExtra(PACKAGE, "gguf", "llama-bench") from None


def found(home: Path) -> Path | None:
    """The program of the installed version, if it was built. Raises MissingExtra."""
    program = folder(home) / "llama-bench"
    return program if program.is_file() else None


def build(home: Path, say: Callable[[str], None] = lambda _line: None) -> Path:
    """Builds the program below `home` unless it is there, whole or not at all, and gives its path.

    77 MB to fetch, and about ten minutes on two cores; `say` is told what is being done. CMAKE_ARGS of the environment
    are passed on, as in the build of llama-cpp-python.

    Raises DownloadFailed (index, archive), ExportError (no compiler, no cmake, no disk space, or the build fails),
    MissingExtra.
    """
    place = folder(home)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program := found(home):
            return program
        _require_tools(place.parent)
        work = place.with_name(f".{place.name}.partial")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            say(f"the source of {PACKAGE} {version(PACKAGE)} (77 MB)")
            source = unpack(_download(work, version(PACKAGE), lock.fileno()), work / "source")
            say("building llama-bench; this takes minutes")
            built = _compile(source, work / "build", lock.fileno())
            whole = work / "whole"
            whole.mkdir()
            shutil.copy2(built, whole / "llama-bench")
            shutil.copy2(source / "LICENSE", whole / "LICENSE")
            os.replace(whole, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place / "llama-bench"


def unpack(archive: Path, into: Path) -> Path:
    """Unpacks the regular files of a source distribution and gives the folder of llama.cpp in it.

    Raises DownloadFailed where it is broken or far too large, holds a link or a device, or a name would land outside.
    """
    try:
        with tarfile.open(archive, "r:gz") as opened:
            members = opened.getmembers()
            for member in members:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
                    raise DownloadFailed(
                        f"{archive.name}: {member.name!r} is a link or lands outside; expected plain files only, as in "
                        f"the source distribution of {PACKAGE}. Nothing was built"
                    )
            if (size := sum(member.size for member in members)) > LARGEST_UNPACKED_BYTES:
                raise DownloadFailed(f"{archive.name}: {size / 1e9:.1f} GB unpacked, expected 0.2. Nothing was built")
            opened.extractall(into, members, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownloadFailed(f"{archive.name}: cannot be unpacked ({error}); give the command again") from None
    sources = list(into.glob("*/vendor/llama.cpp/CMakeLists.txt"))
    if len(sources) != 1:
        raise DownloadFailed(f"{archive.name}: {len(sources)} copies of llama.cpp in it; expected vendor/llama.cpp")
    return sources[0].parent


def _require_tools(tools: Path) -> None:
    missing = [name for name in ("cmake", "c++") if shutil.which(name) is None]
    if missing:
        raise ExportError(
            f"to build llama-bench, {' and '.join(missing)} must be on the PATH: install a C++ compiler (Debian: "
            f"apt install g++) and cmake (pip install cmake, in a shell where it is on the PATH), then {INSTALL_LINE}"
        )
    free = shutil.disk_usage(tools).free
    if free < DISK_BYTES:
        raise ExportError(
            f"{tools}: {free / 1e9:.1f} GB free, {DISK_BYTES / 1e9:.1f} GB needed to build llama-bench; free some "
            "space, or set ARTE_HOME to a folder elsewhere"
        )


def _download(work: Path, number: str, lock: int) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar=off", f"--no-binary={PACKAGE}", f"--dest={work}", f"{PACKAGE}=={number}"]
    code, said = environment.run_locked(command, lock)
    if code != 0:
        raise DownloadFailed(
            f"the source of {PACKAGE} {number} could not be downloaded: {package_index.why(said, code)}. Only "
            "llama-bench needs it"
        )
    [archive] = work.glob("*.tar.gz")
    return archive


def _compile(source: Path, build: Path, lock: int) -> Path:
    arguments = os.environ.get("CMAKE_ARGS")
    if arguments is not None:
        given = shlex.split(arguments)
    elif platform.machine() == "x86_64":
        given = [f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"]
    else:
        given = []
    jobs = str(os.cpu_count() or 1)
    for step, command in (
        ("configuring", ["cmake", "-S", str(source), "-B", str(build), *OPTIONS, *given]),
        ("building", ["cmake", "--build", str(build), "--target", "llama-bench", "--parallel", jobs]),
    ):
        code, said = environment.run_locked(command, lock)
        if code != 0:
            last = "\n".join(f"  | {line}" for line in said.splitlines()[-12:])
            raise ExportError(f"cmake ended with {code} while {step} llama-bench; what it said last:\n{last}")
    return build / "bin" / "llama-bench"
