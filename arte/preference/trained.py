"""A draft as the student is trained on it: the tokens that SFT shows it, and where the loss begins."""

from typing import Any, NamedTuple

from arte.rows import Example
from arte.tasks.task import Taught


class TrainedRow(NamedTuple):
    """Token ids of a chat of two turns; the loss is on those from `prompt_tokens` on, the end of the turn included."""

    ids: list[int]
    prompt_tokens: int


def trained_row(tokenizer: Any, task: Taught, example: Example) -> TrainedRow:
    """The row that TRL's SFTTrainer makes of a prompt and a completion."""
    one = task.of(example)
    prompt = one.student_prompt(example.question)
    reply = {"role": "assistant", "content": one.completion(example.rationale, example.answer)}
    ids = tokenizer.apply_chat_template([*prompt, reply], return_dict=True)["input_ids"]
    opened = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    return TrainedRow(ids, len(opened))
