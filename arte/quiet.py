"""Silence for the libraries below: progress is ours to show, and their bars and notices would drown it."""

import logging
import os
import warnings


def quiet() -> None:
    """Call once, before the first model is loaded; errors and our own output stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    for name in ("lm_eval", "lm-eval", "trl", "peft", "accelerate", "datasets", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(trl|peft|transformers|torch|lm_eval|datasets)(\.|$)")
