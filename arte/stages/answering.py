"""Answers to a long list of prompts, and how likely given replies are, batch after batch, kept as they come."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from arte.generation import Continuation, Engine, Prompt, ScoringEngine
from arte.jsonl import RowLog
from arte.progress import progress
from arte.rows import Row


class Reply(Row):
    """One answer, in the order in which the batches are formed."""

    text: str
    tokens_in: int
    tokens_out: int


class Answering:
    """Answers prompts with an engine in batches of like length; a killed run goes on after its last whole batch."""

    def __init__(
        self,
        engine: Engine,
        log: Path,
        batch_size: int,
        max_tokens: int,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> None:
        self.engine = engine
        self.log = RowLog(log, Reply)
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.stop = tuple(stop)

    @property
    def tokens_in(self) -> int:
        """Tokens of all prompts answered."""
        return sum(reply.tokens_in for reply in self.log.rows)

    @property
    def tokens_out(self) -> int:
        """Tokens of all answers."""
        return sum(reply.tokens_out for reply in self.log.rows)

    @property
    def too_long(self) -> int:
        """Prompts that, with an answer, are longer than the model can read."""
        return sum(reply.tokens_in == 0 for reply in self.log.rows)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """One answer for each text, in order; where they are drawn, each by its place."""
        order = sorted(range(len(texts)), key=lambda place: (len(texts[place]), place))
        with progress("test items", len(texts)) as told:
            while (start := self.log.batches_done * self.batch_size) < len(order):
                places = order[start : start + self.batch_size]
                answers = self.engine.generate(
                    [Prompt(texts[place], place if self.temperature else 0) for place in places],
                    max_tokens=self.max_tokens,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    stop=self.stop,
                )
                self.log.append_batch(
                    [Reply(text=a.text, tokens_in=a.tokens_in, tokens_out=a.tokens_out) for a in answers]
                )
                told(len(self.log.rows))
        texts_by_place = dict(zip(order, (reply.text for reply in self.log.rows), strict=True))
        return [texts_by_place[place] for place in range(len(texts))]


class Likelihood(Row):
    """How likely one reply is, all of it (nats); `greedy`: greedy decoding gives it."""

    logprob: float
    greedy: bool
    tokens_in: int


class Scoring:
    """Says how likely replies are, in their order; a killed run goes on after its last whole batch."""

    def __init__(self, engine: ScoringEngine, log: Path, batch_size: int) -> None:
        """Opens nothing until it is asked."""
        self.engine = engine
        self.log = log
        self.batch_size = batch_size
        self.tokens_in = 0
        """Tokens of all prompts and replies."""

    def __call__(self, asked: Sequence[tuple[str | list[int], str | list[int]]]) -> list[tuple[float, bool]]:
        """The log-probability of each (prompt, reply) as texts or as token ids, and whether it is greedy."""
        log = RowLog(self.log, Likelihood)
        times = Counter(str(prompt) for prompt, _ in asked)
        groups = {prompt: number for number, prompt in enumerate(times, start=1) if times[prompt] > 1}
        continuations = [Continuation(prompt, text, groups.get(str(prompt), 0)) for prompt, text in asked]
        with progress("options", len(asked)) as told:
            while (start := log.batches_done * self.batch_size) < len(asked):
                scored = self.engine.logprobs(continuations[start : start + self.batch_size])
                log.append_batch(
                    [Likelihood(logprob=sum(s.logprobs), greedy=s.greedy, tokens_in=s.tokens_in) for s in scored]
                )
                told(len(log.rows))
        self.tokens_in += sum(row.tokens_in for row in log.rows)
        return [(row.logprob, row.greedy) for row in log.rows]
