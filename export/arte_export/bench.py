"""Speed and memory of a GGUF file on this machine, by the conventions of llama-bench (llama.cpp, tools/llama-bench).

Prefill (pp): random tokens in batches of 2048, the time until all are computed. Decode (tg): one random token after the
other from an empty cache. No tokenizer, no sampling; before the counted runs a warm-up of one prompt and one token.

Time to first token (TTFT): from a prompt already tokenised and a model already loaded and warm, with an empty cache, to
the id of the first generated token: prefill, and the choice of the largest logit. Tokenising, loading and transport are
not in it.
"""

import random
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from arte_export import child
from arte_export.errors import ExportError
from arte_export.spread import Spread, spread

if TYPE_CHECKING:
    from arte_export import runtime


class Timings(BaseModel):
    """The values of each counted run, in order; seconds, or tokens per second."""

    model_config = ConfigDict(frozen=True)

    load_s: list[float]
    ttft_s: list[float]
    pp_tok_s: list[float]
    tg_tok_s: list[float]
    threads: int


class Measurement(BaseModel):
    """What was measured of a file. `load_s` is with the file in the system's cache, context included.

    `peak_rss_bytes` is of the child process alone: Python and libraries, the mapped file as far as it was touched, the
    key-value cache and the buffers.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    bytes: int
    device: str = "this-machine"
    how: Literal["measured", "estimate"] = "measured"
    threads: int
    prompt_tokens: int
    generated_tokens: int
    load_s: Spread
    ttft_s: Spread
    pp_tok_s: Spread
    tg_tok_s: Spread
    peak_rss_bytes: int
    energy_j_per_token: float | None = None
    values: Timings


def measure(
    file: Path,
    prompt_tokens: int = 512,
    generated_tokens: int = 128,
    repeats: int = 5,
    threads: int | None = None,
    limit_s: float = 3600.0,
    progress: child.Progress | None = None,
) -> Measurement:
    """Load, TTFT, prefill and decode of a file, `repeats` times each in one fresh child process; this process sleeps.

    `threads` is by default every core this process may use. Raises BadModel, MissingExtra, ChildDied, and ExportError
    where the tokens do not fit the model's context.
    """
    call = partial(_measure, file.resolve(), prompt_tokens, generated_tokens, repeats, threads)
    finished = child.run(call, holding=file, limit_s=limit_s, progress=progress)
    values = finished.result
    return Measurement(
        file=file.name,
        bytes=file.stat().st_size,
        threads=values.threads,
        prompt_tokens=prompt_tokens,
        generated_tokens=generated_tokens,
        load_s=spread(values.load_s),
        ttft_s=spread(values.ttft_s),
        pp_tok_s=spread(values.pp_tok_s),
        tg_tok_s=spread(values.tg_tok_s),
        peak_rss_bytes=finished.peak_rss_bytes,
        values=values,
    )


def _measure(file: Path, prompt_tokens: int, generated_tokens: int, repeats: int, threads: int | None) -> Timings:
    from arte_export import runtime

    threads = threads or runtime.cores()
    room = max(prompt_tokens + 1, generated_tokens)
    load_s = []
    for count in range(repeats):
        start = time.perf_counter()
        with runtime.load(file) as model, runtime.context(model, sequence_tokens=room, threads=threads):
            load_s.append(time.perf_counter() - start)
            if count == 0:
                _check_room(model, prompt_tokens, generated_tokens)
    with runtime.load(file) as model, runtime.context(model, sequence_tokens=room, threads=threads) as context:
        draw = random.Random(0)
        prompt = draw.choices(range(model.tokens), k=prompt_tokens)
        _prefill(context, prompt)
        context.decode([prompt[0]], [prompt_tokens], [0], wanted=[0])
        context.wait()
        ttft_s, pp_tok_s, tg_tok_s = [], [], []
        for count in range(repeats):
            context.clear()
            prompt = draw.choices(range(model.tokens), k=prompt_tokens)
            start = time.perf_counter()
            last = _prefill(context, prompt)
            computed = time.perf_counter()
            int(context.logits(last).argmax())
            ttft_s.append(time.perf_counter() - start)
            pp_tok_s.append(prompt_tokens / (computed - start))

            context.clear()
            tokens = draw.choices(range(model.tokens), k=generated_tokens)
            start = time.perf_counter()
            for position, token in enumerate(tokens):
                context.decode([token], [position], [0], wanted=[0])
                context.wait()
            tg_tok_s.append(generated_tokens / (time.perf_counter() - start))
            child.tell(count + 1, repeats)
    return Timings(load_s=load_s, ttft_s=ttft_s, pp_tok_s=pp_tok_s, tg_tok_s=tg_tok_s, threads=threads)


def _check_room(model: "runtime.Model", prompt_tokens: int, generated_tokens: int) -> None:
    asked = max(prompt_tokens + 1, generated_tokens)
    if asked > model.trained_context_tokens:
        raise ExportError(
            f"{model.file}: a prompt of {prompt_tokens} tokens and {generated_tokens} generated ones need a context of "
            f"{asked}; this model has {model.trained_context_tokens}. Measure fewer tokens"
        )


def _prefill(context: "runtime.Context", prompt: list[int]) -> int:
    """Evaluates the prompt; gives the index at which the last batch holds its logits."""
    part: list[int] = []
    for start in range(0, len(prompt), context.batch_tokens):
        part = prompt[start : start + context.batch_tokens]
        last = [len(part) - 1] if start + len(part) == len(prompt) else []
        context.decode(part, range(start, start + len(part)), [0] * len(part), wanted=last)
    context.wait()
    return len(part) - 1
