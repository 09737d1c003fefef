"""One student on the test items of a task with open answers: its loss on the gold replies, and its own replies.

The loss is the mean negative log-probability of the reply's tokens, given the item, in nats a token; the end of the
turn is not counted. It is kept item by item, so that students are compared on the same items; the mean of a test gives
every item the same weight, however long its reply and however the items were batched.
"""

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from arte.generation import Continuation, ScoringEngine
from arte.rows import Item, OfTask, write_rows
from arte.stages.evaluate import Answering, Slice
from arte.tasks.task import Taught


class OpenSample(OfTask):
    """One test item, what a student replied, and how likely the gold reply was to it."""

    id: str
    slice: Slice
    question: str
    gold: str
    text: str
    loss: float
    """Nats a token of the gold reply."""
    tokens: int
    """Of the gold reply."""


def evaluate_open(
    folder: Path,
    slices: dict[Slice, Sequence[Item]],
    prompts: Sequence[str],
    task: Taught,
    answer: Answering,
    engine: ScoringEngine,
) -> list[OpenSample]:
    """Writes samples.jsonl and results.json (in lm-eval's form) into `folder`, and returns the samples in order.

    `prompts` are the chats of the items, in the order of the slices, as the student's own template renders them.
    """
    folder.mkdir(exist_ok=True)
    items = [(name, item) for name, those in slices.items() for item in those]
    gold = [task.of(item).completion(item.rationale, item.answer) for _, item in items]
    scored = engine.logprobs([Continuation(text, reply) for text, reply in zip(prompts, gold, strict=True)])
    samples = [
        OpenSample(
            task=item.task,
            id=item.id,
            slice=name,
            question=item.question,
            gold=reply,
            text=text,
            loss=-fmean(found.logprobs),
            tokens=len(found.logprobs),
        )
        for (name, item), reply, found, text in zip(items, gold, scored, answer(list(prompts)), strict=True)
    ]
    losses = [sample.loss for sample in samples]
    error = stdev(losses) / sqrt(len(losses)) if len(losses) > 1 else None
    results = {
        "results": {task.name: {"loss,none": fmean(losses), "loss_stderr,none": error}},
        "n-samples": {task.name: {"original": len(losses), "effective": len(losses)}},
        "higher_is_better": {task.name: {"loss": False}},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    write_rows(folder / "samples.jsonl", samples)
    return samples
