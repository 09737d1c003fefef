"""A full or read-only disk, told in words whichever library met it."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from arte.errors import READER_ERRORS, WorkspaceError

LEAST_FREE_BYTES = 16 * 2**20  # below this not even a smoke run's models fit
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "os error 28")
_TORCH_WORDS = ("iostream error", "PytorchStreamWriter failed")  # torch.save: that a write failed, not why
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def check_free(folder: Path) -> None:
    """Raises WorkspaceError where the disk of `folder` is nearly full."""
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise WorkspaceError(
            f"{folder}: the disk is full: {free / 2**20:.0f} MiB are free, at least {LEAST_FREE_BYTES // 2**20} MiB "
            "are needed to begin; free some space, or choose another folder with --out"
        )


def make(folder: Path) -> None:
    """Makes the folder where it is not there. Raises WorkspaceError where a file is in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (folder, *folder.parents) if path.exists())
        raise WorkspaceError(f"{file}: is a file where a folder should be; choose another folder with --out") from None


@contextlib.contextmanager
def errors_for(folder: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk, met anywhere in the block, into WorkspaceError.

    Not all of them are OSErrors: safetensors and torch raise their own.
    """
    try:
        yield
    except READER_ERRORS:
        raise  # told in words already, by whoever knew the place better
    except Exception as error:
        for cause in _chain(error):
            if says_full(cause, folder):
                where = getattr(cause, "filename", None) or folder
                raise _full(where) from error
            if isinstance(cause, OSError) and cause.errno in _REFUSED and _below(folder, cause.filename):
                raise WorkspaceError(
                    f"{cause.filename}: cannot be written: {cause.strerror}; choose another folder with --out"
                ) from error
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def says_full(error: BaseException, folder: Path) -> bool:
    """Whether an error, a library's own included, means that the disk of `folder` is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    if any(words in str(error) for words in _TORCH_WORDS):
        return shutil.disk_usage(folder).free < LEAST_FREE_BYTES
    return any(words in str(error) for words in _FULL_WORDS)


def _full(where: object) -> WorkspaceError:
    return WorkspaceError(
        f"disk is full: {where} could not be written; what is done is kept: free some space and give the same command "
        "again"
    )


def _below(folder: Path, filename: object) -> bool:
    if not isinstance(filename, str):
        return False
    path, root = Path(filename).absolute(), folder.absolute()
    return path.is_relative_to(root) or root.is_relative_to(path)
