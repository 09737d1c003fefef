"""Both sides of each speed claim in one run: python benchmarks/speed.py [preference|sft] [--vllm PYTHON]

preference   drafts × probes a second of the student. Exact match: one prompt at a time through transformers'
             `generate`, ARTE's, and vLLM's `generate` with its prefix cache. Log-probability: one prompt at a time
             with the logits of all its tokens, ARTE's, and vLLM's prompt_logprobs with its prefix cache. PYTHON is
             that of an environment with vLLM (tests/vllm_environment.py); without it vLLM's sides are left out. The
             sides' values are compared, too.
sft          tokens a second of full fine-tuning: a plain loop over padded batches of 16, and the distill stage with its
             packed rows, on as many examples as an arm has drafts, both with float32 weights and products in the
             faster type; the time to write the finished model is taken off.

Models and items are the starter scale's, probes as many as a table of arms uses. Sides take turns, so that a change of
the machine's speed meets all of them; the last line is JSON with medians. Quote the ratios.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch

import arte
from arte import models, tasks
from arte.generation.transformers import TransformersEngine
from arte.preference.icl import IclAccuracy, IclLogprob
from arte.quiet import quiet
from arte.stage_record import peak_rss_bytes
from arte.stages.choosing import item_as_example

DRAFTS = 4
PROBES = 24
ROUNDS = 3


def in_turns(sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median of what each side gives, over ROUNDS rounds."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            values[name].append(side())
    return {name: statistics.median(those) for name, those in values.items()}


def preference(recipe: arte.Recipe, vllm: str | None) -> dict[str, Any]:
    """Draft × probe evaluations a second, and how far the sides' values lie apart."""
    recipe = recipe.model_copy(update={"task": recipe.task.model_copy(update={"probes": PROBES})})
    dtype = models.compute_dtype(recipe.student.dtype)
    task, splits, (model, tokenizer) = _starter(recipe, dtype)
    engine = TransformersEngine(model, tokenizer, recipe.prefer.batch_size)
    probes, limit = splits.probes, recipe.evaluate.max_tokens
    drafts = [item_as_example(item) for item in splits.seeds[:DRAFTS]]
    exact = IclAccuracy(engine, task, probes, recipe.evaluate.batch_size, limit)
    logprob = IclLogprob(engine, task, probes)
    rows = [
        {"prompt": engine.ids(logprob.prompt(draft, probe)), "gold": engine.ids(logprob.gold(probe))}
        for draft in drafts
        for probe in probes
    ]
    values: dict[str, list[Any]] = {}

    def one_by_one(name: str, side: Callable[[list[int], list[int]], Any], count: int) -> float:
        """The first `count` rows, since a loop is slow."""
        start = time.perf_counter()
        values[name] = [side(row["prompt"], row["gold"]) for row in rows[:count]]
        return count / (time.perf_counter() - start)

    def generated(prompt: list[int], _gold: list[int]) -> str:
        ids = torch.tensor([prompt])
        found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False)
        return str(tokenizer.decode(found[0, len(prompt) :], skip_special_tokens=True))

    def scored(prompt: list[int], gold: list[int]) -> float:
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + gold])).logits[0, len(prompt) - 1 : -1].float()
        return float(torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(gold)[:, None]).mean())

    def ours(name: str, score: IclAccuracy | IclLogprob) -> float:
        start = time.perf_counter()
        values[name] = [value for row in score.table(drafts) for value in row]
        return len(rows) / (time.perf_counter() - start)

    loaded = peak_rss_bytes()
    ours("log-probability, ARTE", logprob)
    memory = peak_rss_bytes() - loaded
    sides = {
        "exact match, one by one": lambda: one_by_one("exact match, one by one", generated, len(probes)),
        "exact match, ARTE": lambda: ours("exact match, ARTE", exact),
        "log-probability, one by one": lambda: one_by_one("log-probability, one by one", scored, len(rows)),
        "log-probability, ARTE": lambda: ours("log-probability, ARTE", logprob),
    }
    with VllmSide(vllm, models.resolve(recipe.student).path, dtype) if vllm else nullcontext() as other:
        if other is not None:
            sides["exact match, vLLM"] = lambda: other.asked("exact match, vLLM", "generate", rows, limit, values)
            sides["log-probability, vLLM"] = lambda: other.asked("log-probability, vLLM", "logprob", rows, 1, values)
        medians = in_turns(sides)
    golds = [probe.answer for _ in drafts for probe in probes]
    apart = {}
    for name, those in values.items():
        if name.startswith("log"):
            apart[name] = max(abs(a - b) for a, b in zip(those, values["log-probability, ARTE"], strict=False))
        else:
            right = (
                those
                if "ARTE" in name
                else [float(task.strict(text) == gold) for text, gold in zip(those, golds, strict=False)]
            )
            apart[name] = fmean(abs(a - b) for a, b in zip(right, values["exact match, ARTE"], strict=False))
    return {
        "evaluations_per_second": medians,
        "dtype": dtype,
        "drafts": len(drafts),
        "probes": len(probes),
        "memory_bytes": memory,
        "most_nats_or_share_of_answers_apart_from_arte": apart,
    }


class VllmSide:
    """vLLM in a process of its own environment, which waits while other sides are at work."""

    def __init__(self, python: str, model: Path, dtype: str) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("vllm_side.py")), str(model), dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "VllmSide":
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("vLLM did not start: see above")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def asked(
        self,
        name: str,
        kind: str,
        rows: list[dict[str, list[int]]],
        most: int,
        values: dict[str, Any],
        *,
        whole: bool = False,
    ) -> float:
        """Rows a second by vLLM's own clock; its values go into `values`. `whole`: answers of `most` tokens all."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"kind": kind, "rows": rows, "most": most, "whole": whole}) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        values[name] = told["values"]
        return len(rows) / float(told["seconds"])


def sft(recipe: arte.Recipe) -> dict[str, Any]:
    """Tokens a second, prompt tokens counted, padding not."""
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
    parser = argparse.ArgumentParser()
    parser.add_argument("claims", nargs="*", choices=("preference", "sft"), default=("preference", "sft"))
    parser.add_argument("--vllm", metavar="PYTHON")
    given = parser.parse_args()
    resolved = arte.load_recipe("gsm8k", scale="starter")
    found = {}
    if "preference" in given.claims:
        found["preference"] = preference(resolved, given.vllm)
    if "sft" in given.claims:
        found["sft"] = sft(resolved)
    print(json.dumps(found, indent=2))  # noqa: T201
