"""The child processes in which files are held, as tests kill them."""

from contextlib import suppress

import psutil


def holders() -> list[psutil.Process]:
    """Those of this process that live, and no other children of it: a server that other tests ask may be one, too.

    None, where a child that was killed still has something to say.
    """
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie, too
            if "arte_export.child" in child.cmdline():
                found.append(child)
    return found
