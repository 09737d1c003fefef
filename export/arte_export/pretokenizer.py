"""The llama.cpp name of the way a tokenizer.json splits text before byte-pair merging.

llama.cpp's converter knows a pre-tokenizer by a hash of the tokens of one text, hence only for vocabularies that its
authors have seen. But a byte-level BPE tokenizer says in tokenizer.json how it splits, and llama.cpp has these regular
expressions under a name each (src/llama-vocab.cpp, `llm_tokenizer_bpe`). Where the two are the same, the name is right
for every vocabulary; that the token ids agree is then checked on the finished file (`parity`).
"""

from collections.abc import Mapping
from typing import Any

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = _WORDS + r"\p{N}" + _REST
LLAMA3 = _WORDS + r"\p{N}{1,3}" + _REST
DIGITS = r"\p{N}"  # each digit alone

NAMES = {(GPT2,): "gpt-2", (DIGITS, GPT2): "smollm", (QWEN2,): "qwen2", (LLAMA3,): "smaug-bpe"}
"""Regular expressions, applied one after the other, and their llama.cpp name."""


def declared(tokenizer: Mapping[str, Any]) -> str | None:
    """The name for the parsed tokenizer.json; None where llama.cpp has none that this module is sure of.

    `llama-bpe` and `smaug-bpe` split alike, but only under the first are whole words looked up before merging
    (tokenizers calls that `ignore_merges`).
    """
    model = tokenizer.get("model") or {}
    outer = tokenizer.get("pre_tokenizer") or {}
    steps = outer.get("pretokenizers", []) if outer.get("type") == "Sequence" else [outer]
    patterns = [_pattern(step) for step in steps]
    byte_level = bool(steps) and steps[-1].get("type") == "ByteLevel"
    if model.get("type") != "BPE" or not byte_level or None in patterns:
        return None
    name = NAMES.get(tuple(pattern for pattern in patterns if pattern))
    if model.get("ignore_merges"):
        return "llama-bpe" if name == "smaug-bpe" else None
    return name


def _pattern(step: Mapping[str, Any]) -> str | None:
    """The regular expression of one step, "" where it splits nothing, None where the step is unknown."""
    match step:
        case {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Isolated", "invert": False}:
            return regex
        case {"type": "Digits", "individual_digits": True}:
            return DIGITS
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return GPT2 if step.get("use_regex", True) else ""
    return None
