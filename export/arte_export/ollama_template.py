"""A Jinja chat template said again in Ollama's language, and compared with it text by text.

The template is asked, not parsed: it renders conversations whose contents are marks, and what stands between two marks
is the text from the one turn to the other (go_template.py). Then it renders real conversations, and only a template
that gives the same text for all of them is handed out.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from arte_export import chat_template
from arte_export.errors import ExportError
from arte_export.go_template import ASSISTANT, CONTINUED, END, START, SYSTEM, USER, Parts
from arte_export.vocabulary import Conversation, Message

DATE = "<the date>"
CLOCK = "{%- macro strftime_now(form) -%}" + DATE + "{%- endmacro -%}"
WAY_OUT = (
    "No Modelfile is written for it. An Ollama that renders the GGUF file's own chat template needs none beyond the "
    "line FROM ./FILE.gguf"
)


class Translation(NamedTuple):
    """Ollama's template, and in which rare conversations it differs from the model's own; empty for none known."""

    go: str
    notes: list[str]


def translate(template: str, bos_token: str, eos_token: str, adds_bos: bool) -> Translation:
    """Says a Jinja chat template in Go. `adds_bos`: the file has the runtime put BOS in front of every prompt; the BOS
    with which the template begins is then left out, or there would be two.

    A conversation that ends with the assistant's turn is one that the answer goes on with, as in Ollama.

    Raises ExportError where Ollama's text would not be the template's, naming conversation and character.
    """
    jinja = _Jinja(template, bos_token, eos_token, adds_bos)
    jinja.check()
    parts = _learn(jinja)
    for messages in _usual():
        expected, found = jinja.text(messages), parts.render(messages)
        if expected != found:
            raise ExportError(
                f"the chat template cannot be said for Ollama: {_differs(messages, expected, found)}. {WAY_OUT}"
            )
    notes = []
    for name, messages in _rare().items():
        expected, found = jinja.text(messages), parts.render(messages)
        if expected is not None and expected != found:
            notes.append(f"{name}: {_differs(messages, expected, found)}")
    return Translation(parts.go(), notes)


class _Jinja(NamedTuple):
    """The template as the model was trained with it, and what Ollama must send for the same tokens."""

    template: str
    bos_token: str
    eos_token: str
    adds_bos: bool

    def render(self, messages: Sequence[Message], generation_prompt: bool) -> str | None:
        """The text, less the BOS that the runtime adds; None where the template refuses."""
        conversation = Conversation(messages=list(messages), generation_prompt=generation_prompt)
        text = chat_template.render(self.template, conversation, self.bos_token, self.eos_token)
        if text is not None and self.adds_bos and text.startswith(self.bos_token):
            return text.removeprefix(self.bos_token)
        return text

    def text(self, messages: Sequence[Message]) -> str | None:
        """What Ollama must send: the answer opened, or the last turn, where it is the assistant's, left open."""
        last = messages[-1]
        if last["role"] != ASSISTANT:
            return self.render(messages, generation_prompt=True)
        text = self.render(messages, generation_prompt=False)
        if text is None or last["content"] not in text:
            return text
        return text[: text.rindex(last["content"]) + len(last["content"])]

    def check(self) -> None:
        """Raises ExportError for what no Go template could mend."""
        question = [{"role": USER, "content": "What is 12 + 3?"}]
        dated = self._replace(template=CLOCK + self.template).render(question, generation_prompt=True)
        if dated is not None and DATE in dated:
            raise ExportError(f"the chat template writes today's date, which Ollama's cannot write so. {WAY_OUT}")
        text = chat_template.render(
            self.template, Conversation(messages=question, generation_prompt=True), self.bos_token, self.eos_token
        )
        if text is None:
            raise ExportError(f"the chat template refuses a plain question, or is no Jinja. {WAY_OUT}")
        if self.adds_bos and not text.startswith(self.bos_token):
            raise ExportError(
                f"the file has {self.bos_token!r} put in front of every prompt, and Ollama does so, but the chat "
                f"template begins with {text[:20]!r}: set add_bos_token to false in tokenizer_config.json, or begin "
                "the template with it, and export anew"
            )


def _learn(jinja: _Jinja) -> Parts:
    """Reads the texts off. Raises ExportError where a plain conversation does not show them."""
    opened = _needed(jinja, [USER], True)
    turns = _needed(jinja, [USER, ASSISTANT, USER], True)
    answered = _needed(jinja, [USER, ASSISTANT], False)
    system = _gaps(jinja, [SYSTEM, USER], True)
    refused = jinja.text(_marked([SYSTEM, USER])) is None
    if system is None and not refused:
        _needed(jinja, [SYSTEM, USER], True)
    between_system = _gaps(jinja, [USER, ASSISTANT, SYSTEM, USER], True)

    # what ends a turn is behind the last one, as far as it is there before every other turn, too
    behind_user = [_needed(jinja, [USER], False)[-1], opened[-1], turns[1], answered[1]]
    behind_answer = [answered[-1], turns[2], *([between_system[2]] if between_system else [])]
    after = {USER: _common(behind_user), ASSISTANT: _common(behind_answer), SYSTEM: ""}
    between = {
        (START, USER): opened[0],
        (USER, END): opened[-1].removeprefix(after[USER]),
        (USER, ASSISTANT): turns[1].removeprefix(after[USER]),
        (ASSISTANT, USER): turns[2].removeprefix(after[ASSISTANT]),
    }
    if answered[1] != turns[1]:
        between[USER, CONTINUED] = answered[1].removeprefix(after[USER])
    if system is not None:
        alone = _gaps(jinja, [SYSTEM], False)
        # where the template takes the system text into the user's turn, nothing ends it
        after[SYSTEM] = _common([alone[-1], system[1]]) if alone else ""
        between[START, SYSTEM] = between[ASSISTANT, SYSTEM] = system[0]
        between[SYSTEM, USER] = system[1].removeprefix(after[SYSTEM])
        if between_system is not None:
            between[ASSISTANT, SYSTEM] = between_system[2].removeprefix(after[ASSISTANT])
    first = _gaps(jinja, [ASSISTANT, USER], True)
    if first is not None:
        between[START, ASSISTANT] = first[0]
    return Parts(between, after, system_refused=refused)


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with, less a special token that is cut in two."""
    return re.sub(r"<[^<>]*\Z", "", texts[0][: _alike(texts)])


def _alike(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    return len(list(itertools.takewhile(lambda each: len(set(each)) == 1, zip(*texts, strict=False))))


def _marked(roles: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": f"qZ{place}{role}{place}Zq"} for place, role in enumerate(roles)]


def _gaps(jinja: _Jinja, roles: Sequence[str], generation_prompt: bool) -> list[str] | None:
    """The texts before, between and behind the contents; None where it refuses, or a content is not there once."""
    messages = _marked(roles)
    text = jinja.render(messages, generation_prompt)
    found = []
    for message in messages:
        before, mark, text = (text or "").partition(message["content"])
        if not mark or message["content"] in text:
            return None
        found.append(before)
    return [*found, text or ""]


def _needed(jinja: _Jinja, roles: Sequence[str], generation_prompt: bool) -> list[str]:
    found = _gaps(jinja, roles, generation_prompt)
    if found is None:
        raise ExportError(
            f"the chat template cannot be said for Ollama: of a conversation of {', '.join(roles)} it does not write "
            f"each text once and in its order. {WAY_OUT}"
        )
    return found


def _chat(*contents: str, system: str | None = None) -> list[Message]:
    """Turns of user and assistant, after a system text."""
    turns = [{"role": (USER, ASSISTANT)[place % 2], "content": text} for place, text in enumerate(contents)]
    return [*([] if system is None else [{"role": SYSTEM, "content": system}]), *turns]


def _usual() -> list[list[Message]]:
    """Conversations in which both texts must be the same."""
    odd = '{{ .Prompt }} {% if %} """ and\n\n\ttwo lines'
    turns = ["What is 12 + 3?", "It is 15.", odd, "It's <b>&amp;</b>", "¿你好 👩\u200d👧?", "That is all."]
    systems = [None, "You are a careful tutor.\n\nAnswer briefly."]
    return [_chat(*turns[:count], system=system) for system in systems for count in range(1, len(turns) + 1)]


def _rare() -> dict[str, list[Message]]:
    """Conversations in which Ollama may go its own way, and what they are called."""
    between = [*_chat("a", "b"), {"role": SYSTEM, "content": "Now in French."}, *_chat("c")]
    return {
        "white space around a message": _chat("  a  \n", "  b  ", "c"),
        "an empty system text": _chat("a", system=""),
        "an empty message": _chat("", "b", "c"),
        "a system text in the middle": between,
        "a chat that the assistant begins": _chat("a", "b", "c")[1:],
        "thoughts in an earlier answer": _chat("a", "<think>\nb\n</think>\n\nc", "d"),
    }


def _differs(messages: Sequence[Message], expected: str | None, found: str | None) -> str:
    roles = ", ".join(message["role"] for message in messages)
    if expected is None or found is None:
        who = "the template" if expected is None else "Ollama"
        return f"a conversation of {roles} is refused by {who} only"
    at = _alike([expected, found])
    return (
        f"a conversation of {roles} differs at character {at}: {expected[at : at + 30]!r} in the template, "
        f"{found[at : at + 30]!r} in Ollama"
    )
