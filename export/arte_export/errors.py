"""Errors that a reader can mend.

ExportError
 ├── BadModel        the model folder or device file is not what it should be
 ├── DownloadFailed  a pinned package could not be had, or is not the one pinned
 ├── MissingExtra    a library that this target needs is not installed
 └── ChildDied       the process that loaded a device file was killed by a signal or by its time limit

Each message says where, what was found, what was expected and what to do. Anything else is a bug and keeps its
traceback.
"""


class ExportError(Exception):
    """An error whose message alone tells the reader what to do."""


class BadModel(ExportError):
    """A model folder or a device file is broken, incomplete or of an unknown kind."""


class DownloadFailed(ExportError):
    """A pinned package is out of reach, or what came is not what was pinned."""


class MissingExtra(ExportError):
    """A library is not installed; the message holds the exact install line."""

    def __init__(self, library: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs {library}, which is not installed: pip install 'arte[{extra}]' "
            "(in a checkout: pip install -c constraints.txt -e '.[" + extra + "]')"
        )


class ChildDied(ExportError):
    """The child process that held a device file was killed; this process is unharmed."""
