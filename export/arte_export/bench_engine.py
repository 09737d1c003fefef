"""What the clock needs of a runtime, and the clock: one loop for every engine, by llama-bench's conventions.

llama-bench (llama.cpp, tools/llama-bench): random tokens, no tokenizer, no sampling; a warm-up of the whole prompt or
of one decoded token; an empty cache before each counted run, filled to the test's depth before the clock starts.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from arte_export import child, energy, page_cache
from arte_export.errors import ExportError
from arte_export.measurement import Test, Timed


class Facts(BaseModel):
    """What the file says of itself; see Measurement."""

    model_type: str
    model_parameters: int | None
    weight_bytes: int | None
    embedding_bytes: int | None


class Engine(Protocol):
    """A loaded file with one sequence."""

    vocabulary_tokens: int
    context_tokens: int

    def clear(self, room: int) -> None:
        """An empty cache with room for so many tokens."""

    def feed(self, ids: Sequence[int]) -> None:
        """Computes the tokens behind those in the cache, and the logits after the last; returns when that is done."""

    def choose(self) -> int:
        """The most probable token after what was fed."""

    def tokenise(self, text: str) -> list[int]:
        """Token ids of a rendered prompt."""

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer."""

    def facts(self) -> Facts:
        """What the file says of itself."""


class Loads(BaseModel):
    """Seconds of each load; `cold_s` is empty where the system kept the file in memory."""

    cold_s: list[float]
    warm_s: list[float]


class Runs(BaseModel):
    """The counted runs of a child; `token_s` are the steps of all decode runs at depth 0, `decode_j` their energy."""

    tests: list[Timed]
    ttft_s: list[float]
    token_s: list[float]
    decode_j: float | None
    mapped_bytes: int | None
    facts: Facts


class Replies(BaseModel):
    """One prompt after the other: tokens in and out, seconds to the first token and to the last."""

    tokens_in: list[int]
    tokens_out: list[int]
    ttft_s: list[float]
    seconds: list[float]


def opener(form: str, path: Path, threads: int) -> AbstractContextManager[Engine]:
    """The engine of a format, opened. Raises BadModel, MissingExtra."""
    if form == "gguf":
        from arte_export.bench_gguf import open_engine as gguf

        return gguf(path, threads)
    if form == "onnx":
        from arte_export.bench_onnx import open_engine as onnx

        return onnx(path, threads)
    from arte_export.bench_torch import open_engine as torch

    return torch(path, threads)


@contextmanager
def _opened(form: str, path: Path, threads: int, room: int) -> Iterator[Engine]:
    with opener(form, path, threads) as engine:
        if room > engine.context_tokens:
            raise ExportError(
                f"{path}: tests of {room} tokens (depth, prompt and generated ones together) were asked for; this "
                f"model's context has {engine.context_tokens}. Measure fewer tokens or smaller depths"
            )
        engine.clear(room)
        yield engine


def loads(form: str, path: Path, threads: int, room: int, repeats: int) -> Loads:
    """Load times, context included: first with the file out of the system's cache, then in it."""
    with _opened(form, path, threads, room):
        pass  # libraries are imported, and their pages are here
    cold: list[float] = []
    warm: list[float] = []
    for place in range(2 * repeats):
        is_cold = place % 2 == 0
        if is_cold and not page_cache.drop(path):
            continue
        start = time.perf_counter()
        with _opened(form, path, threads, room):
            (cold if is_cold else warm).append(time.perf_counter() - start)
        child.tell(place + 1, 2 * repeats)
    return Loads(cold_s=cold, warm_s=warm)


def runs(form: str, path: Path, threads: int, tests: list[Test], repeats: int, seed: int) -> Runs:
    """Every test so often; pp tests at depth 0 give a time to first token with each run."""
    draw = random.Random(seed)
    room = max(_room(test) for test in tests)
    timed, ttft_s, token_s, joules, measured_tokens = [], [], [], 0.0, 0
    meter = energy.Meter()
    with _opened(form, path, threads, room) as engine:
        for number, test in enumerate(tests):
            if test.prompt_tokens:
                engine.clear(_room(test))
                engine.feed(_tokens(draw, engine, test.prompt_tokens))
            if test.generated_tokens:
                engine.clear(_room(test))
                engine.feed(_tokens(draw, engine, 1))
            seconds = []
            for count in range(repeats):
                engine.clear(_room(test))
                if test.depth_tokens:
                    engine.feed(_tokens(draw, engine, test.depth_tokens))
                prompt = _tokens(draw, engine, test.prompt_tokens)
                generated = _tokens(draw, engine, test.generated_tokens)
                before = meter.read()
                start = time.perf_counter()
                if prompt:
                    engine.feed(prompt)
                steps = decode(engine, generated)
                seconds.append(time.perf_counter() - start)
                if prompt and not generated and not test.depth_tokens:
                    engine.choose()
                    ttft_s.append(time.perf_counter() - start)
                if generated and not prompt and not test.depth_tokens:
                    token_s += steps
                    spent = meter.since(before)
                    joules, measured_tokens = joules + (spent or 0.0), measured_tokens + (len(steps) if spent else 0)
                child.tell(number * repeats + count + 1, len(tests) * repeats)
            timed.append(Timed(test=test, seconds=seconds))
        facts, mapped = engine.facts(), mapped_bytes()
    return Runs(
        tests=timed, ttft_s=ttft_s, token_s=token_s, mapped_bytes=mapped, facts=facts,
        decode_j=joules / measured_tokens if measured_tokens else None,
    )  # fmt: skip


def replies(form: str, path: Path, threads: int, prompts: list[str], most: int) -> Replies:
    """Answers rendered prompts one at a time, greedily, each from an empty cache. Raises ExportError (no room)."""
    found = Replies(tokens_in=[], tokens_out=[], ttft_s=[], seconds=[])
    with opener(form, path, threads) as engine:
        asked = [engine.tokenise(prompt) for prompt in prompts]
        room = max(map(len, asked)) + most
        if room > engine.context_tokens:
            raise ExportError(f"{path}: a prompt and {most} tokens of answer need {room}; the context has "
                              f"{engine.context_tokens}")  # fmt: skip
        engine.clear(room)
        engine.feed(asked[0])  # the warm-up
        for place, ids in enumerate(asked):
            engine.clear(room)
            start = time.perf_counter()
            engine.feed(ids)
            token = engine.choose()
            found.ttft_s.append(time.perf_counter() - start)
            made = 1
            while made < most and not engine.ends(token):
                engine.feed([token])
                token = engine.choose()
                made += 1
            found.seconds.append(time.perf_counter() - start)
            found.tokens_in.append(len(ids))
            found.tokens_out.append(made)
            child.tell(place + 1, len(asked))
    return found


def mapped_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Resident memory of this process that is mapped files (RssFile, proc(5)); None where the system does not say."""
    if not status.is_file():
        return None
    found = [line for line in status.read_text().splitlines() if line.startswith("RssFile:")]
    return int(found[0].split()[1]) * 1024 if found else None


def _room(test: Test) -> int:
    return test.depth_tokens + test.prompt_tokens + test.generated_tokens


def _tokens(draw: random.Random, engine: Engine, count: int) -> list[int]:
    return [draw.randrange(engine.vocabulary_tokens) for _ in range(count)]


def decode(engine: Engine, tokens: list[int]) -> list[float]:
    """Feeds one token after the other; the seconds of each step."""
    steps = []
    last = time.perf_counter()
    for token in tokens:
        engine.feed([token])
        now = time.perf_counter()
        steps.append(now - last)
        last = now
    return steps
