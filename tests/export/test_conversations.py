"""The conversations of the gate, and the rendering beside transformers."""

from pathlib import Path

import pytest
from arte_export import chat_template, reference
from arte_export.conversations import conversations
from arte_export.vocabulary import Conversation

HELLO = Conversation(messages=[{"role": "user", "content": "Hi"}], generation_prompt=True)


def test_there_are_enough_of_every_kind() -> None:
    chats = conversations()
    assert len(chats) == 35
    firsts = [chat.messages[0]["role"] for chat in chats]
    assert min(firsts.count("system"), firsts.count("user")) >= 8
    assert sum(len(chat.messages) >= 3 for chat in chats) >= 10
    assert sum(chat.generation_prompt for chat in chats) == 16
    assert sum(chat.messages[-1]["role"] == "assistant" for chat in chats) == 3


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hi</s>"),
        ("{% for m in messages %}{{ m['role'] }}{% break %}{% endfor %}", "user"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "Hi"}'),
        ("{% if add_generation_prompt %}go{% endif %}", "go"),
        ("{{ raise_exception('no') }}", None),
        ("{% if %}", None),
        ("{{ ''.__class__.__mro__ }}", None),  # the sandbox
    ],
)
def test_rendering(template: str, expected: str | None) -> None:
    assert chat_template.render(template, HELLO, "<s>", "</s>") == expected


def test_all_conversations_are_rendered_as_transformers_does(tiny_model: Path) -> None:
    chats = conversations()
    ours = reference.vocabulary(tiny_model, [], chats)
    template = (tiny_model / "chat_template.jinja").read_text()
    assert [chat_template.render(template, chat, "<|im_start|>", "<|im_end|>") for chat in chats] == ours.rendered
    assert None not in ours.rendered
    assert ours.rendered[0] == "<|im_start|>user\nWhat is 12 + 3?<|im_end|>\n<|im_start|>assistant\n"
