"""The child processes in which files are held, as tests kill them."""

import psutil


def holders() -> list[psutil.Process]:
    """Those of this process, and no other children of it: a server that other tests ask may be one, too."""
    return [child for child in psutil.Process().children() if "arte_export.child" in child.cmdline()]
