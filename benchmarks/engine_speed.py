"""Engines side by side in one run: python -m benchmarks.engine_speed --vllm PYTHON

tokens a second   SmolLM2-135M in the faster type: 64 questions, 128 tokens each, greedy. transformers (ARTE's loop, and
                  `generate`), vLLM in its own process, and `vllm serve` asked by the engine for servers. PYTHON is
                  that of an environment with vLLM (tests/vllm_environment.py).
ray               one worker of Ray's with one thread beside the same engine with one thread in a process of its own, on
                  work of more than a minute: seconds of both.
a row             what ARTE itself does with a row: ledger and kept answers around an engine that answers at once.

Sides take turns; a line of JSON for each part, with medians. Quote the ratios. --only PART makes one of them.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import arte
from arte import models, tasks
from arte.generation import Answer, Message, Prompt
from arte.generation.kept_answers import KeptAnswers, key_of
from arte.generation.metered import Billed, Metered
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.generation.transformers import TransformersEngine
from arte.ledger import Ledger
from arte.quiet import quiet
from arte.recipe_engines import Limits, Ray, Server
from benchmarks.serving import served
from benchmarks.speed import VllmSide, in_turns

ROWS, TOKENS = 64, 128
RAY_ROWS, RAY_TOKENS = 256, 128
OVERHEAD_ROWS = 2000


def questions(engine: TransformersEngine, count: int) -> list[Prompt]:
    """Rendered prompts of the starter task's test items, without an end: no engine may be done early."""
    task = tasks.load("starter")
    recipe = arte.load_recipe("gsm8k", scale="starter")
    items = task.splits(recipe.task, 0).test
    return [
        Prompt(engine.render(task.student_prompt(items[place % len(items)].question)), place) for place in range(count)
    ]


def tokens_per_second(python: str) -> dict[str, Any]:
    """Of all engines, drawn tokens alone; answers that end early count what they have."""
    recipe = arte.load_recipe("gsm8k", scale="starter")
    dtype = models.compute_dtype(recipe.student.dtype)
    folder = models.resolve(recipe.student).path
    engine = TransformersEngine(*models.load(folder, dtype, "cpu"))
    engine.end_ids = set()
    asked = questions(engine, ROWS)
    rows = [{"prompt": engine.ids(prompt.text), "gold": []} for prompt in asked]
    values: dict[str, Any] = {}

    def timed(call: Callable[[], Sequence[Answer]]) -> float:
        start = time.perf_counter()
        drawn = sum(answer.tokens_out for answer in call())
        assert drawn == ROWS * TOKENS, drawn
        return drawn / (time.perf_counter() - start)

    def plain() -> float:
        batch = engine.tokenizer([prompt.text for prompt in asked], return_tensors="pt", padding=True)
        start = time.perf_counter()
        engine.model.generate(**batch, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
        return ROWS * TOKENS / (time.perf_counter() - start)

    ours = partial(engine.generate, asked, max_tokens=TOKENS, temperature=0.0)
    with (
        TemporaryDirectory() as logs,
        VllmSide(python, folder, dtype) as inside,
        served(vllm_server(python, folder, dtype), Path(logs) / "server.log") as server,
    ):
        turn = iter(range(1000))

        def over_http() -> float:
            with TemporaryDirectory() as scratch:
                settings = Server(url=server, requests=ROWS)
                there = Endless(
                    Served.look("student", settings), settings, KeptAnswers(Path(scratch) / "kept"), engine.tokenizer
                )
                # Another prompt each time: the server keeps what it has read.
                begun = [prompt._replace(text=f"{next(turn)} {prompt.text}") for prompt in asked]
                return timed(partial(there.generate, begun, max_tokens=TOKENS, temperature=0.0))

        sides: dict[str, Callable[[], float]] = {
            "transformers' generate": plain,
            "transformers": lambda: timed(ours),
            "vllm": lambda: TOKENS * inside.asked("vllm", "generate", rows, TOKENS, values, whole=True),
            "openai, vllm serve": over_http,
        }
        medians = in_turns(sides)
    return {"tokens_per_second": medians, "dtype": dtype}


class Endless(OpenAIEngine):
    """Asks a vLLM server for answers that never end early; its own --override-generation-config knows no ignore_eos."""

    def _asked(self, prompt: Prompt) -> dict[str, Any]:
        asked = super()._asked(prompt)
        return {**asked, "extra_body": {**asked.get("extra_body", {}), "ignore_eos": True}}


def vllm_server(python: str, folder: Path, dtype: str) -> list[str]:
    """What starts it; the address is added."""
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name"]
    command += ["student", "--dtype", dtype, "--max-model-len", "2048"]
    return [*command, "--enforce-eager", "--gpu-memory-utilization", "0.2"]


def one_thread(folder: Path, dtype: str) -> TransformersEngine:
    """As a worker of Ray's has it."""
    import torch

    torch.set_num_threads(1)
    return TransformersEngine(*models.load(folder, dtype, "cpu"))


def ray_overhead() -> dict[str, Any]:
    """Seconds of one engine in a process of its own, and of one worker of Ray's, loading the model included in both."""
    from arte.generation.fanned import FannedEngine

    recipe = arte.load_recipe("gsm8k", scale="starter")
    dtype = models.compute_dtype(recipe.student.dtype)
    folder = models.resolve(recipe.student).path
    engine = one_thread(folder, dtype)
    asked = questions(engine, RAY_ROWS)
    fanned = FannedEngine(partial(one_thread, folder, dtype), engine.render, Ray(workers=1))

    def through_ray() -> float:
        start = time.perf_counter()
        fanned.generate(asked, max_tokens=RAY_TOKENS, temperature=0.0)
        return time.perf_counter() - start

    def alone() -> float:
        start = time.perf_counter()
        again = one_thread(folder, dtype)
        size = RAY_ROWS // 4  # as many calls as Ray makes blocks of it
        for first in range(0, RAY_ROWS, size):
            again.generate(asked[first : first + size], max_tokens=RAY_TOKENS, temperature=0.0)
        return time.perf_counter() - start

    medians = in_turns({"alone": alone, "ray": through_ray})
    return {"seconds": medians, "overhead": medians["ray"] / medians["alone"] - 1}


class Instant:
    """An engine that answers at once, and keeps answers as the one for servers does."""

    def __init__(self, kept: KeptAnswers) -> None:
        self.kept = kept

    def render(self, messages: Sequence[Message]) -> str:
        return str(messages)

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[Answer]:
        answers = []
        for prompt in prompts:
            key = key_of({"model": "m", "prompt": prompt.text, "seed": prompt.seed, **sampling})
            answer = Answer("an answer of some words, as a server gives it " * 8, 300, 80, "stop")
            self.kept.keep(key, answer)
            answers.append(answer)
        return answers


def per_row() -> dict[str, float]:
    """Milliseconds that ARTE spends on a row besides the engine."""
    text, taken = "A question of some words, with three problems before it. " * 20, []
    for _ in range(5):
        with TemporaryDirectory() as scratch:
            kept = KeptAnswers(Path(scratch) / "kept.jsonl")
            engine = Metered(Instant(kept), Ledger(Path(scratch), Limits()), Billed("elicit", "openai", "m"), kept)
            prompts = [Prompt(text, seed) for seed in range(OVERHEAD_ROWS)]
            start = time.perf_counter()
            engine.generate(prompts, max_tokens=100, temperature=1.0)
            taken.append((time.perf_counter() - start) * 1000 / OVERHEAD_ROWS)
    return {"milliseconds": statistics.median(taken)}


if __name__ == "__main__":
    quiet()
    parser = argparse.ArgumentParser()
    parser.add_argument("--vllm", metavar="PYTHON")
    parser.add_argument("--only", metavar="PART", action="append", help="a row, ray, tokens a second")
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {"a row": per_row, "ray": ray_overhead}
    if given.vllm:
        parts["tokens a second"] = partial(tokens_per_second, given.vllm)
    for name in given.only or parts:
        sys.stdout.write(json.dumps({name: parts[name]()}) + "\n")
        sys.stdout.flush()
