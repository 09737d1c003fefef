"""An engine whose calls are written into the run's ledger, and that stops before a limit is passed."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from arte.generation import Answer, Continuation, Engine, Message, Prompt, Scored, ScoringEngine
from arte.generation.kept_answers import KeptAnswers
from arte.ledger import Call, Ledger

BYTES_A_TOKEN = 2.0
"""Of a prompt, until an engine has counted one: fewer than any text of a natural language has on average."""


class Billed(NamedTuple):
    """To whom calls are put down, and what a token costs."""

    stage: str
    engine: str
    model: str
    price_in: float = 0.0
    """Of a token, in money."""
    price_out: float = 0.0


class Metered:
    """Does what its engine does."""

    def __init__(self, engine: Engine, ledger: Ledger, billed: Billed, kept: KeptAnswers | None = None) -> None:
        """`kept`: where the engine keeps single answers; those that it kept from before cost nothing again."""
        self.engine = engine
        self.ledger = ledger
        self.billed = billed
        self.kept = kept
        self.bytes_a_token = BYTES_A_TOKEN

    def render(self, messages: Sequence[Message]) -> str:
        return self.engine.render(messages)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """See Engine. Raises LimitReached before anything is asked."""
        size = sum(len(prompt.text.encode()) for prompt in prompts)
        self._allow(size, len(prompts) * max_tokens)
        start = time.monotonic()
        answers: list[Answer] = []
        try:
            answers = self.engine.generate(
                prompts, max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop=stop
            )
        finally:  # answers that came before one failed were paid for too
            asked = answers if self.kept is None else self.kept.take_new()
            self._write(
                len(asked),
                sum(answer.tokens_in for answer in asked),
                sum(answer.tokens_out for answer in asked),
                sum(answer.finish == "too_long" for answer in asked),
                time.monotonic() - start,
            )
        self._learn(size, sum(answer.tokens_in for answer in answers))
        return answers

    def _allow(self, size: int, tokens_out: int) -> None:
        tokens_in = round(size / self.bytes_a_token)
        money = tokens_in * self.billed.price_in + tokens_out * self.billed.price_out
        self.ledger.allow(self.billed.stage, tokens_in + tokens_out, money)

    def _write(self, requests: int, tokens_in: int, tokens_out: int, too_long: int, seconds: float) -> None:
        if requests:
            self.ledger.add(
                Call(
                    stage=self.billed.stage,
                    engine=self.billed.engine,
                    model=self.billed.model,
                    requests=requests,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                    too_long=too_long,
                    seconds=seconds,
                    money=tokens_in * self.billed.price_in + tokens_out * self.billed.price_out,
                )
            )

    def _learn(self, size: int, tokens: int) -> None:
        """Prompts of a stage are alike; a tenth is left for those that hold more."""
        if tokens:
            self.bytes_a_token = 0.9 * size / tokens


class MeteredScoring(Metered):
    """The same, of an engine that says how likely given text is."""

    def __init__(self, engine: ScoringEngine, ledger: Ledger, billed: Billed) -> None:
        super().__init__(engine, ledger, billed)
        self.scoring = engine

    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """See ScoringEngine. Raises LimitReached before anything is asked."""
        size = sum(self._size(each.prompt) + self._size(each.text) for each in asked)
        self._allow(size, 0)
        start = time.monotonic()
        found = self.scoring.logprobs(asked)
        tokens = sum(each.tokens_in for each in found)
        self._write(len(found), tokens, 0, 0, time.monotonic() - start)
        self._learn(size, tokens)
        return found

    def _size(self, given: str | list[int]) -> int:
        """Bytes of text; what ids would take as text."""
        return len(given.encode()) if isinstance(given, str) else round(len(given) * self.bytes_a_token)
