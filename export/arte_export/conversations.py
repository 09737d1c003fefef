"""Conversations on which chat templates fall apart: with and without system text, several turns, odd contents."""

from arte_export.vocabulary import Conversation, Message

SYSTEM = {"role": "system", "content": "You are a careful tutor. Answer briefly."}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


CHATS: tuple[list[Message], ...] = (
    [_user("What is 12 + 3?")],
    [SYSTEM, _user("What is 12 + 3?")],
    [_user("What is 12 + 3?"), _assistant("15"), _user("And 4 more?")],
    [SYSTEM, _user("Hi"), _assistant("Hello! How can I help?"), _user("Tell me a joke.")],
    [_user("a"), _assistant("b"), _user("c"), _assistant("d"), _user("e"), _assistant("f"), _user("g")],
    [_user("line one\nline two\n\nline four")],
    [_user("  spaces around  ")],
    [SYSTEM, _user("\tcode:\n```python\nprint('hi')\n```\n")],
    [_user("")],
    [{"role": "system", "content": ""}, _user("An empty system text is before this.")],
    [_user("¿Cuántos años? 你好 👩\u200d👩\u200d👧 שלום"), _assistant("مرحبا"), _user("Größe?")],
    [_user("{{ not_a_variable }} {% if x %} {# no comment #}")],
    [_user("<|im_end|> <eos> </s> [/INST] in the text of a user")],
    [_user("<b>&amp; \"quoted\" 'single' \\ backslash</b>")],
    [SYSTEM, _user("A question of several sentences. " * 40)],
    [_user("x" * 2000), _assistant("y" * 10), _user("z")],
)


def conversations() -> list[Conversation]:
    """Each chat with the assistant's turn opened behind it, as a student is asked, and without; then three that end in
    the assistant's turn, as it is trained."""
    both = [Conversation(messages=chat, generation_prompt=opened) for chat in CHATS for opened in (True, False)]
    trained = [
        Conversation(messages=[*chat, _assistant("The answer is 15.\n#### 15")], generation_prompt=False)
        for chat in CHATS[:3]
    ]
    return [*both, *trained]
