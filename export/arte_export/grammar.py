"""JSON that satisfies a schema, drawn token by token: llama.cpp's grammar, for one sequence of a batch.

llama.cpp turns a JSON Schema into a grammar (GBNF) and keeps, for each sequence, where in it the answer stands.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from arte_export import runtime
from arte_export.errors import ExportError

LIKELIEST = 512
"""Tokens that are looked at first: going through all of a vocabulary of 150,000 takes longer than decoding one."""
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)], align=True)


def written(schema: str) -> str:
    """The grammar of a JSON Schema. Raises ExportError where llama.cpp has none for it."""
    runtime.library()
    from llama_cpp import llama_grammar

    try:
        return str(llama_grammar.json_schema_to_gbnf(schema))
    except Exception as error:
        raise ExportError(f"llama.cpp makes no grammar of the JSON Schema {schema[:200]}: {error}") from error


class Grammar:
    """Where one answer stands in a grammar."""

    def __init__(self, model: runtime.Model, text: str) -> None:
        """`text`: GBNF with the rule `root`. Raises ExportError where llama.cpp cannot read it."""
        self.lib = model.lib
        self.sampler = self.lib.llama_sampler_init_grammar(model.vocabulary, text.encode(), b"root")
        if not self.sampler:
            raise ExportError(f"llama.cpp cannot read the grammar {text[:200]!r}: {runtime.last_words()}")

    def allowed(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, shape (vocabulary,), with those of tokens that the grammar does not allow here at minus infinity.

        Tokens below the likeliest count as not allowed where one of those is: they hold next to nothing.
        """
        count = min(LIKELIEST, len(logits))
        ids = np.argpartition(logits, -count)[-count:].astype(np.int32)
        found = self._asked(ids, logits)
        if not np.isfinite(found).any():
            ids = np.arange(len(logits), dtype=np.int32)
            found = self._asked(ids, logits)
        out = np.full_like(logits, -np.inf)
        out[ids] = found
        return out

    def take(self, token: int) -> None:
        """Goes on behind a token that is allowed."""
        self.lib.llama_sampler_accept(self.sampler, token)

    def close(self) -> None:
        """Gives the memory back."""
        if self.sampler:
            self.lib.llama_sampler_free(self.sampler)
            self.sampler = None

    def _asked(self, ids: NDArray[np.int32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        candidates = np.zeros(len(ids), dtype=_CANDIDATE)
        candidates["id"], candidates["logit"] = ids, logits[ids]
        data = candidates.ctypes.data_as(self.lib.llama_token_data_p)
        array = self.lib.llama_token_data_array(data=data, size=len(ids), selected=-1, sorted=False)
        self.lib.llama_sampler_apply(self.sampler, ctypes.byref(array))
        return candidates["logit"].copy()
