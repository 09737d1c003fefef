"""The GGUF quantisation schemes on offer, and what a file of each must hold.

`ftype` is llama.cpp's `llama_ftype` (include/llama.h), `encoding` the last part of the file name by the GGUF naming
convention (ggml docs/gguf.md). `bits_per_weight` is llama.cpp's figure for a Llama; it only sizes the disk check.

`greedy_match` is the least share of prompts whose first greedy tokens must be those of the torch model: half-precision
files round as the model itself does, so only near-ties may fall apart; 8 bits shift logits by about a hundredth, which
turns one of the 32 tokens in up to half of the prompts; at 6 bits and fewer, equal tokens are no promise of the format,
and only task accuracy judges.
"""

import difflib
from typing import NamedTuple

from arte_export.errors import ExportError


class Scheme(NamedTuple):
    """A way to store the weights."""

    name: str
    encoding: str
    ftype: int
    bits_per_weight: float
    greedy_match: float | None


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("f32", "F32", 0, 32.0, 0.9),
        Scheme("f16", "F16", 1, 16.0, 0.9),
        Scheme("bf16", "BF16", 32, 16.0, 0.9),
        Scheme("q8_0", "Q8_0", 7, 8.5, 0.5),
        Scheme("q6_k", "Q6_K", 18, 6.56, None),
        Scheme("q5_k_m", "Q5_K_M", 17, 5.7, None),
        Scheme("q4_k_m", "Q4_K_M", 15, 4.9, None),
        Scheme("q4_0", "Q4_0", 2, 4.7, None),
    )
}


def load(name: str) -> Scheme:
    """The scheme of that name, in any case. Raises ExportError with the nearest names."""
    if name.lower() in SCHEMES:
        return SCHEMES[name.lower()]
    nearest = difflib.get_close_matches(name.lower(), SCHEMES, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    raise ExportError(f"no GGUF scheme is called {name!r}{hint} (known: {', '.join(SCHEMES)})")


def of_ftype(ftype: int) -> Scheme | None:
    """The scheme that a file's `general.file_type` says, None where it is none of ours."""
    return next((scheme for scheme in SCHEMES.values() if scheme.ftype == ftype), None)
