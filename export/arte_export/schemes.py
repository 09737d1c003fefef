"""The GGUF quantisation schemes on offer: every `llama_ftype` (include/llama.h) that llama_model_quantize writes.

Left out, of llama-cpp-python 0.3.36: NVFP4 ("invalid output file type": only the converter writes it, from weights that
are in it already) and Q1_0 (no fallback type is defined where a row is no multiple of 128, so many models fail).
"""

import difflib
from typing import NamedTuple

from arte_export.errors import ExportError


class Scheme(NamedTuple):
    """A way to store the weights.

    `encoding` is the last part of the file name by the GGUF naming convention (ggml docs/gguf.md), `bits_per_weight`
    what llama.cpp's dry run gives for the shapes of Llama-3.1-8B: it sizes the disk check before there is a GGUF file.
    `needs_importance`: llama.cpp refuses to write it without an importance matrix, at those shapes.
    """

    name: str
    encoding: str
    ftype: int
    bits_per_weight: float
    needs_importance: bool = False

    @property
    def calibrated(self) -> bool:
        """Whether it is a K- or I-quant, for which llama.cpp weighs the rounding by an importance matrix."""
        return self.name.startswith("iq") or "_k" in self.name


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("f32", "F32", 0, 32.0),
        Scheme("f16", "F16", 1, 16.0),
        Scheme("bf16", "BF16", 32, 16.0),
        Scheme("q8_0", "Q8_0", 7, 8.5),
        Scheme("q6_k", "Q6_K", 18, 6.56),
        Scheme("q5_k_m", "Q5_K_M", 17, 5.7),
        Scheme("q5_k_s", "Q5_K_S", 16, 5.57),
        Scheme("q5_1", "Q5_1", 9, 6.04),
        Scheme("q5_0", "Q5_0", 8, 5.57),
        Scheme("q4_k_m", "Q4_K_M", 15, 4.89),
        Scheme("q4_k_s", "Q4_K_S", 14, 4.67),
        Scheme("q4_1", "Q4_1", 3, 5.1),
        Scheme("q4_0", "Q4_0", 2, 4.64),
        Scheme("iq4_nl", "IQ4_NL", 25, 4.68),
        Scheme("iq4_xs", "IQ4_XS", 30, 4.46),
        Scheme("mxfp4_moe", "MXFP4_MOE", 38, 8.5),  # experts in MXFP4, all else in Q8_0
        Scheme("q3_k_l", "Q3_K_L", 13, 4.3),
        Scheme("q3_k_m", "Q3_K_M", 12, 4.0),
        Scheme("q3_k_s", "Q3_K_S", 11, 3.64),
        Scheme("iq3_m", "IQ3_M", 27, 3.76),
        Scheme("iq3_s", "IQ3_S", 26, 3.66),
        Scheme("iq3_xs", "IQ3_XS", 22, 3.5, needs_importance=True),
        Scheme("iq3_xxs", "IQ3_XXS", 23, 3.37, needs_importance=True),
        Scheme("q2_k", "Q2_K", 10, 3.16),
        Scheme("q2_k_s", "Q2_K_S", 21, 2.97, needs_importance=True),
        Scheme("q2_0", "Q2_0", 41, 2.68),
        Scheme("iq2_m", "IQ2_M", 29, 2.93, needs_importance=True),
        Scheme("iq2_s", "IQ2_S", 28, 2.74, needs_importance=True),
        Scheme("iq2_xs", "IQ2_XS", 20, 2.59, needs_importance=True),
        Scheme("iq2_xxs", "IQ2_XXS", 19, 2.38, needs_importance=True),
        Scheme("iq1_m", "IQ1_M", 31, 2.15, needs_importance=True),
        Scheme("iq1_s", "IQ1_S", 24, 2.0, needs_importance=True),
        Scheme("tq2_0", "TQ2_0", 37, 2.52),  # TQ: for models trained with ternary weights; others are lost in them
        Scheme("tq1_0", "TQ1_0", 36, 2.19),
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
