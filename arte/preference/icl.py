"""The two in-context scores: exact match (the paper's) and log-probability of the gold solution.

A yes/no answer on 40 probes has a standard error of up to 8 points, more than most drafts differ by; the
log-probability of the gold solution moves with every draft and needs one forward pass and no decoding (Nuggets, arXiv
2312.10302, measures usefulness in the same way). Both share the draft's prefix: it is run once for all its probes.
"""

from collections.abc import Sequence
from typing import Any

import torch

from arte.generation import Engine, Message, Prompt
from arte.generation.prefix import common_prefix, pad_left, run_prefix
from arte.preference import DraftByDraft
from arte.rows import Example, Item
from arte.tasks.task import Task


def one_shot(task: Task, example: Example | None, item: Item) -> list[Message]:
    """The probe's prompt with the example as the turn before it, in the form in which the student is trained."""
    shown = []
    if example is not None:
        shown = [
            *task.student_prompt(example.question),
            {"role": "assistant", "content": task.completion(example.rationale, example.answer)},
        ]
    return [*shown, *task.student_prompt(item.question)]


class IclLogprob(DraftByDraft):
    """Mean log-probability a token (nats) of each probe's gold solution and answer, given the example."""

    def __init__(self, engine: Engine, model: Any, tokenizer: Any, task: Task, probes: list[Item], batch: int) -> None:
        self.engine = engine
        self.model = model
        self.tokenizer = tokenizer
        self.task = task
        self.probes = probes
        self.columns = [probe.id for probe in probes]
        self.batch = batch
        self.golds = [self.gold_ids(probe) for probe in probes]

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        """One value for each probe, in order. One forward pass of the shared prefix, then the probes in batches."""
        asked = range(len(self.probes)) if places is None else places
        prompts = [self.prompt_ids(example, self.probes[place]) for place in asked]
        golds = [self.golds[place] for place in asked]
        shared = common_prefix([prompt + gold for prompt, gold in zip(prompts, golds, strict=True)])
        # The last prompt token must stay outside the prefix: its logits are what the first gold token is read from.
        shared = min(shared, min(len(prompt) for prompt in prompts) - 1)
        values = [0.0] * len(golds)
        order = sorted(range(len(golds)), key=lambda row: len(golds[row]))
        with torch.inference_mode():
            prefix = run_prefix(self.model, [prompts[0][:shared]])
            for start in range(0, len(order), self.batch):
                rows = order[start : start + self.batch]
                cache, before = prefix.rows([0] * len(rows))
                batch = pad_left([prompts[row][shared:] + golds[row] for row in rows], before)
                keep = max(len(golds[row]) for row in rows) + 1
                logits = self.model(
                    input_ids=batch.ids,
                    attention_mask=batch.mask,
                    position_ids=batch.position,
                    past_key_values=cache if shared else None,
                    logits_to_keep=keep,
                ).logits
                for line, row in enumerate(rows):
                    gold = torch.tensor(golds[row], device=logits.device)
                    before = logits[line, keep - 1 - len(gold) : keep - 1].float()
                    values[row] = float(torch.log_softmax(before, dim=-1).gather(-1, gold[:, None]).mean())
        return values

    def prompt_ids(self, example: Example | None, probe: Item) -> list[int]:
        """Token ids of what stands before the gold solution."""
        return self._ids(self.engine.render(one_shot(self.task, example, probe)))

    def gold_ids(self, probe: Item) -> list[int]:
        """Token ids of the gold solution and answer."""
        return self._ids(self.task.completion(probe.rationale, probe.answer))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class IclAccuracy:
    """1.0 where the student's greedy answer to the probe is the gold one, else 0.0 (paper, equations 1 and 3)."""

    def __init__(self, engine: Engine, task: Task, probes: list[Item], batch: int, max_tokens: int) -> None:
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
            float(self.task.strict(text) == probe.answer)
            for text, probe in zip(said, [*asked] * len(examples), strict=True)
        ]
        return [right[start : start + len(asked)] for start in range(0, len(right), len(asked))]
