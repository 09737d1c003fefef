"""Where text comes from: one small protocol, a file an engine.

An engine turns prompts into answers. What is drawn for a prompt depends on its own seed alone, not on its neighbours'
draws (their number changes how the model's sums round, which seldom turns a draw), and an engine given the same batch
again answers the same: that is what lets a killed run continue as if it had never stopped.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

Message = dict[str, str]
"""One chat turn: `role` (system, user, assistant) and `content`."""


class Prompt(NamedTuple):
    """Rendered text to continue, and the seed of its draws.

    Prompts of one `group` start alike (probes behind one draft): an engine may compute the start of each group once.
    `schema`: a JSON Schema that the whole answer is held to while it is drawn, by engines that can (docs/engines.md);
    the others draw freely, so whoever asks reads answers as critically as without.
    """

    text: str
    seed: int = 0
    group: int = 0
    schema: str | None = None


Finish = Literal["stop", "length", "too_long"]
"""Why an answer ended: by itself or at a stop string; at the limit of its tokens; before it began, as prompt and answer
are longer than the model can read."""


class Answer(NamedTuple):
    """A continuation. `tokens_in` counts the prompt's tokens, `tokens_out` the drawn ones (the end token included where
    an engine counts it)."""

    text: str
    tokens_in: int
    tokens_out: int
    finish: Finish


TOO_LONG = Answer("", 0, 0, "too_long")


class Continuation(NamedTuple):
    """Given text behind a rendered prompt, or the token ids of both. Those of one `group` start alike, as with Prompt;
    texts, and ids, are not mixed in a call."""

    prompt: str | list[int]
    text: str | list[int]
    group: int = 0


class Scored(NamedTuple):
    """Log-probability (nats) of each token of a given text. `tokens_in` counts prompt and text; `greedy`: each token of
    the text is the likeliest at its place."""

    logprobs: list[float]
    tokens_in: int
    greedy: bool


class Engine(Protocol):
    """What every engine does."""

    def render(self, messages: Sequence[Message]) -> str:
        """The chat template applied, with the assistant's turn opened, or left open where it is the last message."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """Continues all prompts as one batch, in order. Temperature 0 is greedy. A stop string ends an answer and is
        not part of it."""
        ...


class ScoringEngine(Engine, Protocol):
    """An engine that can also say how likely given text is."""

    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """How likely each token of each text is, given its prompt and the tokens before; in order.

        Prompt and text are turned into tokens apart.
        """
        ...
