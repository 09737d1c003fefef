"""Where downloaded and converted models are kept, and how processes take turns there."""

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arte import disk
from arte.atomic import sync_tree
from arte.errors import READER_ERRORS, ModelError


def arte_home() -> Path:
    """`$ARTE_HOME`, or `arte` in the user's cache folder. It may not exist yet."""
    if chosen := os.environ.get("ARTE_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "arte"


@contextmanager
def turn(key: str) -> Iterator[None]:
    """Held by one process at a time for each key; the others wait."""
    from filelock import FileLock

    locks = arte_home() / "locks"
    with mendable_disk_errors(locks):
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into, renamed to `folder` at the end; nothing is left where the writing fails."""
    partial = folder.with_name(f".{folder.name}.partial")
    with mendable_disk_errors(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    try:
        with mendable_disk_errors(folder):
            yield partial
            sync_tree(partial)
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def mendable_disk_errors(where: Path) -> Iterator[None]:
    """A full, read-only or forbidden disk becomes a ModelError."""
    try:
        yield
    except READER_ERRORS:
        raise
    except Exception as error:
        refused = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        if not refused and not disk.says_full(error, arte_home()):
            raise
        why = error.strerror if isinstance(error, OSError) and refused else "No space left on device"
        raise ModelError(
            f"{where}: {why}; models are kept there: free some space, or set ARTE_HOME to another folder"
        ) from None
