"""Getting a file out of the system's page cache, and making sure: a cold load must find nothing in memory."""

import ctypes
import mmap
import os
from pathlib import Path

MOST_RESIDENT = 0.02  # of the pages; a few of the header may be read while we look


def drop(path: Path) -> bool:
    """Asks the system to forget a file, or all files of a folder; whether it did. Needs no privilege.

    posix_fadvise(2), POSIX_FADV_DONTNEED: only clean pages that nobody maps go. False on a system without it.
    """
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return resident(files) <= MOST_RESIDENT


def resident(files: list[Path]) -> float:
    """The share of the files' pages that are in memory (mincore(2)), 0 to 1."""
    here = pages = 0
    for file in files:
        size = file.stat().st_size
        if size == 0:
            continue
        count = -(-size // mmap.PAGESIZE)
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), size, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as m,
        ):
            flags = (ctypes.c_ubyte * count)()
            libc = ctypes.CDLL(None, use_errno=True)
            libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
            if libc.mincore(_address(m), size, flags) != 0:
                return 1.0
            here += sum(flag & 1 for flag in flags)
        pages += count
    return here / pages if pages else 0.0


def _address(mapped: mmap.mmap) -> int:
    import numpy as np

    return int(np.frombuffer(mapped, np.uint8).ctypes.data)
