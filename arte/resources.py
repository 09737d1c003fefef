"""Where the data folders are: beside the package when installed, beside the checkout when not."""

from pathlib import Path
from typing import Literal


def folder(name: Literal["recipes"]) -> Path:
    """The data folder of that name.

    Raises FileNotFoundError where the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / name, package.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no folder {name} at {' or '.join(str(candidate) for candidate in candidates)}")
