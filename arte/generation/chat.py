"""Chat messages as the text that a model continues."""

from collections.abc import Sequence
from typing import Any

from arte.generation import Message


def chat_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The tokenizer's chat template applied: the assistant's turn is opened, or left open where it is the last one."""
    begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    asked = list(messages[:-1] if begun else messages)
    return str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)) + begun


def text_ids(tokenizer: Any, text: str | list[int]) -> list[int]:
    """Token ids of text that is rendered already: nothing is put in front or behind. Ids stay as they are."""
    if not isinstance(text, str):
        return text
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
