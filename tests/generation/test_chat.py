from transformers import AutoTokenizer

from arte.generation.chat import chat_text
from arte.models import ModelFolder


def test_the_last_turn_of_the_assistant_is_left_open(tiny_student: ModelFolder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_student.path)
    asked = [{"role": "user", "content": "Three plus four?"}]
    opened = chat_text(tokenizer, asked)
    assert opened.endswith("<|im_start|>assistant\n")
    assert chat_text(tokenizer, [*asked, {"role": "assistant", "content": "It is"}]) == opened + "It is"
    # An earlier turn of the assistant is closed.
    shown = [*asked, {"role": "assistant", "content": "7"}, {"role": "user", "content": "And one?"}]
    assert "7<|im_end|>" in chat_text(tokenizer, shown)
    assert chat_text(tokenizer, shown).endswith("<|im_start|>assistant\n")
