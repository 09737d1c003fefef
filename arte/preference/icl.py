"""The two in-context scores: exact match (the paper's) and log-probability of the gold solution.

A yes/no answer on 40 probes has a standard error of up to 8 points, more than most drafts differ by; the
log-probability of the gold solution moves with every draft and needs one forward pass and no decoding (Nuggets, arXiv
2312.10302, measures usefulness in the same way). Both share the draft's prefix: it is run once for all its probes.
"""

from collections.abc import Sequence
from statistics import fmean

from arte.generation import Continuation, Engine, Message, Prompt, ScoringEngine
from arte.rows import Example, Item
from arte.tasks.task import Taught


def one_shot(task: Taught, example: Example | None, item: Item) -> list[Message]:
    """The probe's prompt with the example as the turn before it, in the form in which the student is trained."""
    shown = []
    if example is not None:
        shown = [
            *task.of(example).student_prompt(example.question),
            {"role": "assistant", "content": task.of(example).completion(example.rationale, example.answer)},
        ]
    return [*shown, *task.of(item).student_prompt(item.question)]


class IclLogprob:
    """Mean log-probability a token (nats) of each probe's gold solution and answer, given the example."""

    def __init__(self, engine: ScoringEngine, task: Taught, probes: list[Item]) -> None:
        self.engine = engine
        self.task = task
        self.probes = probes
        self.columns = [probe.id for probe in probes]

    def table(self, examples: Sequence[Example | None], places: Sequence[int] | None = None) -> list[list[float]]:
        """A row for each example, a value for each probe. The probes behind one example share its prefix."""
        asked = self.probes if places is None else [self.probes[place] for place in places]
        continuations = [
            Continuation(self.prompt(example, probe), self.gold(probe), group)
            for group, example in enumerate(examples)
            for probe in asked
        ]
        values = [fmean(scored.logprobs) for scored in self.engine.logprobs(continuations)]
        return [values[start : start + len(asked)] for start in range(0, len(values), len(asked))]

    def prompt(self, example: Example | None, probe: Item) -> str:
        """What stands before the gold solution, rendered."""
        return self.engine.render(one_shot(self.task, example, probe))

    def gold(self, probe: Item) -> str:
        """The gold solution and answer."""
        return self.task.of(probe).completion(probe.rationale, probe.answer)


class IclAccuracy:
    """1.0 where the student's greedy answer to the probe is the gold one, else 0.0 (paper, equations 1 and 3)."""

    def __init__(self, engine: Engine, task: Taught, probes: list[Item], batch: int, max_tokens: int) -> None:
        self.engine = engine
        self.task = task
        self.probes = probes
        self.columns = [probe.id for probe in probes]
        self.batch = batch
        self.max_tokens = max_tokens

    def table(self, examples: Sequence[Example | None], places: Sequence[int] | None = None) -> list[list[float]]:
        """A row for each example, a value for each probe. `batch` answers are decoded together, of several examples,
        each behind its example's prefix."""
        asked = self.probes if places is None else [self.probes[place] for place in places]
        prompts = [
            Prompt(self.engine.render(one_shot(self.task, example, probe)), group=group)
            for group, example in enumerate(examples)
            for probe in asked
        ]
        said: list[str] = []
        for start in range(0, len(prompts), self.batch):
            some = prompts[start : start + self.batch]
            answers = self.engine.generate(some, max_tokens=self.max_tokens, temperature=0.0)
            said += [answer.text for answer in answers]
        right = [
            float(task.right(task.strict(text), probe.answer))
            for text, probe in zip(said, [*asked] * len(examples), strict=True)
            for task in (self.task.of(probe),)
        ]
        return [right[start : start + len(asked)] for start in range(0, len(right), len(asked))]
