"""Both sides of each speed claim in one run: python benchmarks/speed.py [preference|sft]

preference   drafts × probes a second of the student: the naive loop (each prompt alone through transformers'
             `generate`, greedy), the paper's exact match as ARTE does it, and the log-probability score.
sft          tokens a second of full fine-tuning: a plain loop over padded batches of 16, and the distill stage with its
             packed rows, on as many examples as an arm has drafts, both with float32 weights and products in the
             faster type; the time to write the finished model is taken off.

Models and items are the starter scale's. Sides take turns, so that a change of the machine's speed meets all of them;
the last line is JSON with medians. Quote the ratios.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import arte
from arte import models, tasks
from arte.generation.transformers import TransformersEngine
from arte.preference.icl import IclAccuracy, IclLogprob, one_shot
from arte.quiet import quiet
from arte.rows import Example
from arte.stages.choosing import item_as_example

DRAFTS = 3
ROUNDS = 3


def in_turns(sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median of what each side gives, over ROUNDS rounds."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            values[name].append(side())
    return {name: statistics.median(those) for name, those in values.items()}


def preference(recipe: arte.Recipe) -> dict[str, Any]:
    """Draft × probe evaluations a second."""
    task, splits, (model, tokenizer) = _starter(recipe, models.compute_dtype(recipe.student.dtype))
    engine = TransformersEngine(model, tokenizer)
    probes, limit = splits.probes, recipe.evaluate.max_tokens
    drafts = [item_as_example(item) for item in splits.seeds[:DRAFTS]]
    exact = IclAccuracy(engine, task, probes, recipe.prefer.batch_size, limit)
    logprob = IclLogprob(engine, model, tokenizer, task, probes, recipe.prefer.batch_size)

    def naive() -> float:
        start = time.perf_counter()
        for probe in probes:
            text = engine.render(one_shot(task, drafts[0], probe))
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            model.generate(**ids, max_new_tokens=limit, do_sample=False)
        return len(probes) / (time.perf_counter() - start)

    def ours(values: Callable[[Example], list[float]]) -> float:
        start = time.perf_counter()
        for draft in drafts:
            values(draft)
        return len(drafts) * len(probes) / (time.perf_counter() - start)

    medians = in_turns(
        {
            "naive": naive,
            "icl_accuracy": lambda: ours(exact.values),
            "icl_logprob": lambda: ours(logprob.values),
        }
    )
    ratios = {name: medians[name] / medians["naive"] for name in ("icl_accuracy", "icl_logprob")}
    return {"evaluations_per_second": medians, "times_naive": ratios, "probes": len(probes)}


def sft(recipe: arte.Recipe) -> dict[str, Any]:
    """Tokens a second, prompt tokens counted, padding not."""
    import torch
    import trl.trainer.sft_trainer  # noqa: F401  its seconds of loading belong to no side

    from arte.stages.distill import distill, steps_of

    bf16 = models.compute_dtype(recipe.student.dtype) == "bfloat16"
    task, splits, (model, tokenizer) = _starter(recipe, "float32")
    examples = [item_as_example(item) for item in splits.test[: recipe.distill.examples]]
    rows = [
        tokenizer.apply_chat_template(
            [
                *task.student_prompt(example.question),
                {"role": "assistant", "content": task.completion(example.rationale, example.answer)},
            ],
            return_dict=True,
        )["input_ids"]
        for example in examples
    ]
    total = sum(len(row) for row in rows)

    def plain() -> float:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        start = time.perf_counter()
        for first in range(0, len(rows), 16):
            batch = rows[first : first + 16]
            width = max(len(row) for row in batch)
            ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in batch])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return total / (time.perf_counter() - start)

    def packed() -> float:
        # A model of its own, as in the pipeline: trainers wrap a model's forward, and a second one wraps the wrapping.
        _, _, (ours, _) = _starter(recipe, "float32")
        settings = recipe.distill.model_copy(update={"epochs": 1.0, "learning_rate": 1e-5})
        steps = steps_of(examples, task, tokenizer, settings)
        with TemporaryDirectory() as scratch:
            start = time.perf_counter()
            distill(Path(scratch), examples, task, ours, tokenizer, settings, steps=steps, bf16=bf16, seed=0)
            took = time.perf_counter() - start
        return total / (took - saved_s(ours))

    def saved_s(ours: Any) -> float:
        with TemporaryDirectory() as scratch:
            start = time.perf_counter()
            ours.save_pretrained(scratch)
            return time.perf_counter() - start

    medians = in_turns({"plain": plain, "packed": packed})
    return {"tokens_per_second": medians, "times_plain": medians["packed"] / medians["plain"]}


def _starter(recipe: arte.Recipe, dtype: str) -> tuple[Any, Any, tuple[Any, Any]]:
    task = tasks.load(recipe.task.name)
    student = models.resolve(recipe.student)
    loaded = models.load(student.path, dtype, "cpu")
    return task, task.splits(recipe.task, recipe.seed), loaded


if __name__ == "__main__":
    quiet()
    wanted = sys.argv[1:] or ["preference", "sft"]
    resolved = arte.load_recipe("gsm8k", scale="starter")
    found = {name: {"preference": preference, "sft": sft}[name](resolved) for name in wanted}
    print(json.dumps(found, indent=2))  # noqa: T201
