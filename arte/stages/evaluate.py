"""Accuracy of one student on the task's test items, greedy, through lm-eval.

lm-eval asks and counts; how an item is put into words, how an answer is read and when it is right come from the task,
as in training and in preference. Models and device files are judged by the same code: `answer` and `score` are all
that differs.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from arte.generation import Message
from arte.recipe import Evaluate
from arte.rows import Item, OfTask, write_rows
from arte.stages import options
from arte.tasks.mixture import by_task
from arte.tasks.task import Taught

Slice = Literal["test", "unseen"]


class Sample(OfTask):
    """One test item and what a student made of it."""

    id: str
    slice: Slice
    steps: int | None
    gold: str
    text: str
    strict: str | None
    flexible: str | None
    strict_correct: bool
    flexible_correct: bool
    logprobs: dict[str, float] | None = None
    """Of each option as the reply (nats); null, as what follows, where there are none or they were not scored."""
    chosen: str | None = None
    """The likeliest option (metric acc)."""
    chosen_norm: str | None = None
    """The likeliest a character (metric acc_norm)."""
    chosen_correct: bool | None = None
    chosen_norm_correct: bool | None = None


KEPT = ("results", "n-samples", "higher_is_better", "versions")
"""What results.json has of lm-eval's results."""
Answering = Callable[[list[str]], list[str]]
"""Questions rendered as prompts in, one greedy answer each out."""


def evaluate(
    folder: Path,
    slices: dict[Slice, Sequence[Item]],
    prompts: Sequence[str],
    task: Taught,
    answer: Answering,
    settings: Evaluate,
    score: options.Scoring | None = None,
) -> list[Sample]:
    """Writes samples.jsonl and results.json (lm-eval's) into `folder`, and returns the samples in order.

    `prompts` are the chats of the items, in the order of the slices, as the student's own template renders them. With
    `score`, items that have options are judged by the likeliest of them too.
    """
    folder.mkdir(exist_ok=True)
    items = [(name, item) for name, those in slices.items() for item in those]
    documents = [
        {"number": number, "text": text, "gold": item.answer}
        for number, ((_, item), text) in enumerate(zip(items, prompts, strict=True))
    ]
    results = _lm_eval(task, items, documents, answer, settings)
    bare = [item for _, item in items]
    with_options = options.asked(task, bare, prompts) if score is not None else []
    chosen: dict[int, options.Chosen] = {}
    if score is not None and with_options:
        chosen, more = options.choose(task, bare, with_options, score)
        for name in KEPT:
            results[name] |= more[name]
    samples: list[Sample] = []
    for logged in sorted(results.pop("samples")[task.name], key=lambda row: row["doc"]["number"]):
        place = logged["doc"]["number"]
        name, item = items[place]
        text = logged["resps"][0][0]
        one = task.of(item)
        strict, flexible = one.strict(text), one.flexible(text)
        samples.append(
            Sample(
                task=item.task,
                id=item.id,
                slice=name,
                steps=item.steps,
                gold=item.answer,
                text=text,
                strict=strict,
                flexible=flexible,
                strict_correct=one.right(strict, item.answer),
                flexible_correct=one.right(flexible, item.answer),
                **_of_options(chosen.get(place), item.answer),
            )
        )
    kept = {name: results[name] for name in KEPT}
    (folder / "results.json").write_text(json.dumps(kept, indent=2, default=str), encoding="utf-8")
    write_rows(folder / "samples.jsonl", samples)
    return samples


def _of_options(chosen: options.Chosen | None, gold: str) -> dict[str, Any]:
    if chosen is None:
        return {}
    return {
        "logprobs": chosen.logprobs,
        "chosen": chosen.acc,
        "chosen_norm": chosen.acc_norm,
        "chosen_correct": chosen.acc == gold,
        "chosen_norm_correct": chosen.acc_norm == gold,
    }


def chats(slices: dict[Slice, Sequence[Item]], shots: Sequence[Item], task: Taught) -> list[list[Message]]:
    """What every item is asked with, in the order of the slices, behind those of `shots` that are of its task: gold
    items as earlier turns. Where a task has no worked solutions, they show answers alone."""
    shown: dict[str | None, list[Message]] = {
        name: [
            message
            for shot in those
            for message in (
                *task.of(shot).student_prompt(shot.question),
                {"role": "assistant", "content": task.of(shot).completion(shot.rationale, shot.answer)},
            )
        ]
        for name, those in by_task(shots).items()
    }
    asked = [item for those in slices.values() for item in those]
    return [[*shown.get(item.task, []), *task.of(item).student_prompt(item.question)] for item in asked]


def _lm_eval(
    task: Taught,
    items: Sequence[tuple[Slice, Item]],
    documents: list[dict[str, Any]],
    answer: Answering,
    settings: Evaluate,
) -> dict[str, Any]:
    from datasets import Dataset
    from lm_eval import evaluator
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask

    class Student(LM):  # type: ignore[misc]
        """The student as lm-eval sees it: it continues prompts, nothing else."""

        def generate_until(self, requests: list[Any]) -> list[str]:
            return answer([request.args[0] for request in requests])

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise RuntimeError("this task asks for no log-likelihoods")

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise RuntimeError("this task asks for no log-likelihoods")

    def score(document: dict[str, Any], answers: list[str]) -> dict[str, float]:
        one = task.of(items[document["number"]][1])
        return {
            "strict-match": float(one.right(one.strict(answers[0]), document["gold"])),
            "flexible-extract": float(one.right(one.flexible(answers[0]), document["gold"])),
        }

    config = {
        "task": task.name,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(documents)},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "text",
        "doc_to_target": "gold",
        "process_results": score,
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("strict-match", "flexible-extract")
        ],
        "num_fewshot": 0,
        "generation_kwargs": {"do_sample": False, "max_gen_toks": settings.max_tokens, "until": []},
        "metadata": {"version": 1},
    }
    # Not its simple_evaluate: that reads 14,000 task files and asks git and the system about this machine each time.
    results = evaluator.evaluate(Student(), {task.name: ConfigurableTask(config=config)}, bootstrap_iters=0)
    assert results is not None
    return dict(results)
