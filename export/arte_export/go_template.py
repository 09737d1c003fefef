"""A chat as texts between its turns, written as Ollama's TEMPLATE: a Go text/template.

Ollama gives the template .Messages with .Role and .Content, neighbours of one role joined; the answer follows the text
(ollama/ollama docs/template.mdx, template/template.go). Actions and literals: Go's text/template and its language
specification. What Ollama's Modelfile parser would change is written as an escape: it drops characters that do not
print, and ends a quoted text at three quotation marks before a line's end (ollama/ollama parser/parser.go).
"""

from collections.abc import Sequence
from typing import NamedTuple

from arte_export.vocabulary import Message

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
START, END, CONTINUED = "start", "end", "continued"
"""Before the first turn; where the answer begins; an assistant's turn that the answer goes on with."""
COMMONEST = {SYSTEM: ASSISTANT, USER: ASSISTANT, ASSISTANT: USER, CONTINUED: USER, END: USER}
"""The turn before, whose text is used where there is none for the one at hand."""
REFUSAL = '{{ index $.Messages "no system message" }}'
"""Fails when Ollama runs it: a list has no such index."""


class Parts(NamedTuple):
    """The texts of a chat: `after[role]` ends a turn, `between[before, role]` stands between that and the next content.

    `after` has the three roles. `between` has the commonest pair of each role and of END, that of CONTINUED where it is
    not the assistant's, and whatever others are known. With `system_refused` there is nothing for a system text: it is
    an error, as in the model's own template.
    """

    between: dict[tuple[str, str], str]
    after: dict[str, str]
    system_refused: bool

    def render(self, messages: Sequence[Message]) -> str | None:
        """What Ollama makes of the messages by `go()`; None where it refuses. Turns of other roles are left out."""
        text, before = "", START
        for place, message in enumerate(messages):
            role, content = message["role"], message["content"]
            if role == SYSTEM and self.system_refused:
                return None
            if role == ASSISTANT and place == len(messages) - 1:
                text += self._opening(before, CONTINUED if self._continues else ASSISTANT) + content
            elif role in (SYSTEM, USER, ASSISTANT):
                text += self._opening(before, role) + content + self.after[role]
            before = role
        return text if before == ASSISTANT else text + self._opening(before, END)

    def go(self) -> str:
        """The same as a Go template."""
        system = REFUSAL if self.system_refused else self._turn(SYSTEM)
        opening = self._openings(ASSISTANT)
        if self._continues:
            opening = f"{{{{ if $last }}}}{self._openings(CONTINUED)}{{{{ else }}}}{opening}{{{{ end }}}}"
        ending = f"{{{{ if not $last }}}}{literal(self.after[ASSISTANT])}{{{{ end }}}}"
        return (
            f'{{{{ $before := "{START}" }}}}{{{{ range $i, $_ := .Messages }}}}'
            "{{ $last := eq (len (slice $.Messages $i)) 1 }}"
            f'{{{{ if eq .Role "{SYSTEM}" }}}}{system}'
            f'{{{{ else if eq .Role "{USER}" }}}}{self._turn(USER)}'
            f'{{{{ else if eq .Role "{ASSISTANT}" }}}}{opening}{{{{ .Content }}}}{ending}'
            "{{ end }}{{ $before = .Role }}{{ end }}"
            f'{{{{ if ne $before "{ASSISTANT}" }}}}{self._openings(END)}{{{{ end }}}}'
        )

    @property
    def _continues(self) -> bool:
        return (USER, CONTINUED) in self.between

    def _opening(self, before: str, role: str) -> str:
        return self.between.get((before, role), self.between[COMMONEST[role], role])

    def _turn(self, role: str) -> str:
        return f"{self._openings(role)}{{{{ .Content }}}}{literal(self.after[role])}"

    def _openings(self, role: str) -> str:
        """All openings of a role: those that differ from the commonest by the turn before, and what they share once."""
        commonest = self.between[COMMONEST[role], role]
        others = {before: text for (before, to), text in self.between.items() if to == role and text != commonest}
        if not others:
            return literal(commonest)
        shared = commonest if all(text.endswith(commonest) for text in others.values()) else ""
        actions = ["if", *["else if"] * (len(others) - 1)]
        cases = "".join(
            f'{{{{ {action} eq $before "{before}" }}}}{literal(text[: len(text) - len(shared)])}'
            for action, (before, text) in zip(actions, others.items(), strict=True)
        )
        rest = "" if shared else f"{{{{ else }}}}{literal(commonest)}"
        return f"{cases}{rest}{{{{ end }}}}{literal(shared)}"


def literal(text: str) -> str:
    """A text as a Go template writes it, whatever follows, and as it passes through a Modelfile."""
    return "".join(map(_written, text, [*text[1:], ""]))


def _written(character: str, following: str) -> str:
    # a brace would join those of an action behind it, quotation marks could become three
    joins = character == "{" or (character == '"' and following in ("", '"'))
    if character == "\n" or (character.isprintable() and not joins):
        return character
    code = ord(character)
    escape = f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f'{{{{ "{escape}" }}}}'
