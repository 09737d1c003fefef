"""transformers without torch's compiler and its distributed part, for child processes that only load or convert.

Importing the two takes as long as importing all the rest of transformers (about two seconds), and 70 MB.
"""

from typing import Any


def prepare() -> None:
    """To be called before transformers is imported, in a process that neither compiles nor distributes a model."""
    import torch

    def disable(function: Any = None, **_options: Any) -> Any:
        return function if function is not None else lambda it: it

    torch.compiler.disable = disable  # type: ignore[assignment]
    torch.distributed.is_available = lambda: False
