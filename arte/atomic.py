"""Files and folders that are whole or absent, whenever the process is killed or the power fails."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path`: a reader sees the old file or the new one, never a part."""
    partial = path.with_name(path.name + ".tmp")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's bytes, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Waits until everything below `folder` is on the disk, the folder's own names last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not Path(parent, name).is_symlink():
                sync(Path(parent, name))
        sync(Path(parent))
