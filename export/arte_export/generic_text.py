"""Text to calibrate on where there is none of the task: about 65,000 words that every machine with Python has.

It is the reference of the Python language as `help()` shows it (`pydoc_data.topics`): plain English, tables and code.
It differs a little between Python versions; on one version it is always the same.
"""

from typing import Any


def text() -> str:
    """The topics in the order of their names, between blank lines."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip() for name in sorted(topics))


def rows(tokenizer: Any, tokens: int, limit: int) -> list[list[int]]:
    """The first `limit` rows of exactly `tokens` token ids, by a transformers tokenizer; fewer where the text ends.

    A row begins with BOS where the tokenizer puts one in front of a text, as llama-imatrix's chunks do.
    """
    from arte_export import converter

    front = [tokenizer.bos_token_id] if converter.adds_bos(tokenizer) else []
    width = tokens - len(front)
    ids = tokenizer(text(), add_special_tokens=False)["input_ids"]
    return [front + ids[start : start + width] for start in range(0, len(ids) - width + 1, width)][:limit]
