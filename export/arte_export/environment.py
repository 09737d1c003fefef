"""The environment of optimum-onnx: packages that cannot live beside transformers 5, in a folder of their own.

A virtual environment holds absolute paths, so it is built where it will stay; a marker file, written last, says that it
is whole, and what has none is built anew. Its name holds a digest of the pinned set and of the Python it was made with.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from arte_export import package_index
from arte_export.errors import DownloadFailed, ExportError

REQUIREMENTS = Path(__file__).with_name("optimum_onnx.txt")
INSTALL_LINE = "arte doctor --install optimum"
DISK_BYTES = 3 * 2**30  # 1.3 GB in place (Linux, CPU build of torch), and what pip downloads and unpacks on the way
MARKER = "whole"


def folder(home: Path) -> Path:
    """Where the environment of the pinned set is or would be, below `home`."""
    made_from = REQUIREMENTS.read_bytes() + f"{sys.version_info[:2]}".encode()
    return home / "tools" / f"optimum-onnx-0.1.0-{hashlib.sha256(made_from).hexdigest()[:12]}"


def is_installed(home: Path) -> bool:
    """Whether the environment is there and whole, and its Python still exists."""
    place = folder(home)
    return (place / MARKER).is_file() and (place / "bin" / "python").is_file()


def python(home: Path) -> Path:
    """The interpreter of the environment. Raises ExportError with the install line where it is not there."""
    if not is_installed(home):
        raise ExportError(
            "the target onnx-optimum needs optimum-onnx with transformers 4, in an environment of its own, which is "
            f"not in {home}: {INSTALL_LINE}"
        )
    return folder(home) / "bin" / "python"


def install(home: Path) -> Path:
    """Makes the environment below `home` unless it is there, and gives its folder.

    pip fetches about 250 MB with its own index settings; 47 s and 1.3 GB in place on 2 cores.

    Raises DownloadFailed where pip cannot have the pinned set, ExportError where the disk has no room or this Python
    cannot make virtual environments.
    """
    place = folder(home)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(home):
            return place
        shutil.rmtree(place, ignore_errors=True)
        free = shutil.disk_usage(place.parent).free
        if free < DISK_BYTES:
            raise ExportError(
                f"{place.parent}: {free / 1e9:.1f} GB free, {DISK_BYTES / 1e9:.1f} GB needed for the environment of "
                "onnx-optimum; free some space, or set ARTE_HOME to a folder elsewhere"
            )
        try:
            _build(place, lock.fileno())
            (place / MARKER).touch()
        finally:
            if not (place / MARKER).is_file():
                shutil.rmtree(place, ignore_errors=True)
    return place


def _build(place: Path, lock: int) -> None:
    code, said = run_locked([sys.executable, "-I", "-m", "venv", str(place)], lock)
    if code != 0:
        last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
        raise ExportError(f"{sys.executable} -m venv {place} failed: {last}; this Python needs its venv and ensurepip")
    # -I: neither PYTHONPATH nor the user's own packages count as installed
    command = [str(place / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    code, said = run_locked(
        [*command, "--progress-bar=off", "--only-binary=:all:", f"--requirement={REQUIREMENTS}"], lock
    )
    if code != 0:
        raise DownloadFailed(
            f"the packages of onnx-optimum could not be installed: {package_index.why(said, code)}. "
            "All other targets do without them."
        )


def run_locked(command: list[str], lock: int) -> tuple[int, str]:
    """Exit code and output of a command. The lock's descriptor goes along: were this process killed, the lock would be
    held until the command has ended too."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock],
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")
