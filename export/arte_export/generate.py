"""Answers of a GGUF file to many prompts: a batch of parallel sequences that share their common prefix.

The prefix that all prompts begin with is evaluated once and copied to every sequence; a sequence that has finished
forgets all but the prefix and takes the next prompt in the same batch in which the others go on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from arte_export import child
from arte_export.answers import Answers
from arte_export.errors import ExportError
from arte_export.prefix import common_prefix

if TYPE_CHECKING:
    from arte_export import runtime
    from arte_export.grammar import Grammar


NUCLEUS = 1024
"""Tokens, the likeliest, among which the nucleus is looked for; the rest holds next to nothing."""


class Drawn(BaseModel):
    """How tokens are drawn. Each prompt has a seed of its own, so its answer does not depend on its neighbours."""

    temperature: float
    top_p: float
    seeds: list[int]


def answers(
    file: Path,
    prompts: Sequence[str],
    max_tokens: int,
    stop: Sequence[str] = (),
    threads: int | None = None,
    parallel: int = 32,
    limit_s: float = 6 * 3600.0,
    progress: child.Progress | None = None,
    drawn: Drawn | None = None,
    schemas: Sequence[str | None] = (),
) -> Answers:
    """Continuations of prompts that are already rendered with the chat template, from a child process; greedy where
    `drawn` is None. `schemas`: for each prompt the JSON Schema that its answer satisfies, or None; none at all where it
    is empty.

    A prompt is tokenised as it stands: special-token text becomes special tokens and no BOS is put in front. An answer
    ends with an end-of-generation token, a stop string, `max_tokens` tokens, or the end of the trained context.

    Raises BadModel (file), ExportError (a prompt that is empty or leaves no room in the context, a schema that no
    grammar can be made of), ChildDied.
    """
    call = partial(
        _answers, file.resolve(), list(prompts), max_tokens, list(stop), threads, parallel, drawn, list(schemas)
    )
    finished = child.run(call, holding=file, limit_s=limit_s, progress=progress)
    return finished.result.model_copy(update={"peak_rss_bytes": finished.peak_rss_bytes})


@dataclass
class _Sequence:
    """One prompt on its way: `pending` tokens go into the next batch, at positions from `position` on."""

    prompt: int
    pending: list[int]
    position: int
    room: int
    stream: np.random.Generator | None = None
    grammar: "Grammar | None" = None
    ids: list[int] = field(default_factory=list)
    text: bytes = b""
    ended: bool = False


def _answers(
    file: Path,
    prompts: list[str],
    max_tokens: int,
    stop: list[str],
    threads: int | None,
    parallel: int,
    drawn: Drawn | None,
    schemas: list[str | None],
) -> Answers:
    from arte_export import grammar, runtime

    if not prompts:
        return Answers(texts=[], token_ids=[], seconds=0.0, load_s=0.0, tokens_in=0, tokens_out=0)
    start = time.perf_counter()
    rules = {schema: None if schema is None else grammar.written(schema) for schema in schemas}
    held = [rules[schema] for schema in schemas] or [None] * len(prompts)
    with runtime.load(file) as model:
        asked = [model.tokenise(prompt) for prompt in prompts]
        longest = max(map(len, asked))
        for index, ids in enumerate(asked):
            if not 0 < len(ids) < model.trained_context_tokens:
                raise ExportError(
                    f"{file}: prompt {index} has {len(ids)} tokens; expected 1 to {model.trained_context_tokens - 1} "
                    "(the model's context, less one token of answer)"
                )
        sequences = min(parallel, len(prompts))
        room = min(longest + max_tokens, model.trained_context_tokens)
        with runtime.context(model, sequence_tokens=room, sequences=sequences, threads=threads) as context:
            loaded = time.perf_counter()
            done = _generate(
                model, context, asked, max_tokens, [text.encode() for text in stop], sequences, drawn, held
            )
            seconds = time.perf_counter() - loaded
    return Answers(
        texts=[sequence.text.decode(errors="replace") for sequence in done],
        token_ids=[sequence.ids for sequence in done],
        seconds=seconds,
        load_s=loaded - start,
        tokens_in=sum(map(len, asked)),
        tokens_out=sum(len(sequence.ids) for sequence in done),
        prompt_tokens=list(map(len, asked)),
        ended=[sequence.ended for sequence in done],
    )


def _generate(
    model: "runtime.Model",
    context: "runtime.Context",
    asked: list[list[int]],
    max_tokens: int,
    stop: list[bytes],
    sequences: int,
    drawn: Drawn | None,
    held: list[str | None],
) -> list[_Sequence]:
    from arte_export.grammar import Grammar

    prefix = 0 if model.recurrent else common_prefix(asked, leave=1)
    if prefix:
        for start in range(0, prefix, context.batch_tokens):
            part = asked[0][start : min(start + context.batch_tokens, prefix)]
            context.decode(part, range(start, start + len(part)), [0] * len(part), wanted=[])
        context.share(sequences)
    waiting = [
        _Sequence(
            prompt,
            ids[prefix:],
            prefix,
            min(max_tokens, model.trained_context_tokens - len(ids)),
            None if drawn is None else np.random.default_rng(drawn.seeds[prompt]),
            None if (rules := held[prompt]) is None else Grammar(model, rules),
        )
        for prompt, ids in enumerate(asked)
    ]
    waiting.reverse()
    active: dict[int, _Sequence] = {slot: waiting.pop() for slot in range(sequences)}
    done: list[_Sequence] = []
    while active:
        for slot, token in _step(context, active, drawn):
            sequence = active[slot]
            if _take(model, sequence, token, stop):
                done.append(active.pop(slot))
                if sequence.grammar is not None:
                    sequence.grammar.close()
                child.tell(len(done), len(asked))
                if waiting:
                    context.cut(slot, prefix)
                    active[slot] = waiting.pop()
        if not model.recurrent:
            _close_gaps(context, active)
    return sorted(done, key=lambda sequence: sequence.prompt)


def _close_gaps(context: "runtime.Context", active: dict[int, _Sequence]) -> None:
    """Moves the last sequences into slots that are free: see `_step`."""
    for gap in sorted(set(range(len(active))) - active.keys()):
        last = max(active)
        context.move(last, gap)
        active[gap] = active.pop(last)


def _step(context: "runtime.Context", active: dict[int, _Sequence], drawn: Drawn | None) -> list[tuple[int, int]]:
    """One batch: every sequence's next tokens as far as they fit. Gives (slot, next token) of those at their end.

    In the order of the slots, for llama.cpp computes sequences together only as far as their numbers go up one by one
    (llama_batch_allocr::split_equal with a cache for each): else a batch falls apart into many.
    """
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    ends: list[tuple[int, int]] = []
    fitting: dict[int, list[int]] = {}
    room = context.batch_tokens
    # those that decode one token first, so that a long prompt never holds them up
    for slot, sequence in sorted(active.items(), key=lambda item: len(item[1].pending)):
        fitting[slot] = sequence.pending[:room]
        room -= len(fitting[slot])
    for slot, part in sorted(fitting.items()):
        sequence = active[slot]
        tokens += part
        positions += range(sequence.position, sequence.position + len(part))
        slots += [slot] * len(part)
        sequence.position += len(part)
        sequence.pending = sequence.pending[len(part) :]
        if part and not sequence.pending:
            ends.append((slot, len(tokens) - 1))
    context.decode(tokens, positions, slots, wanted=[index for _, index in ends])
    return [(slot, _next(context.logits(index), drawn, active[slot])) for slot, index in ends]


def _next(logits: NDArray[np.float32], drawn: Drawn | None, sequence: _Sequence) -> int:
    if sequence.grammar is None:
        return next_token(logits, drawn, sequence.stream)
    token = next_token(sequence.grammar.allowed(logits), drawn, sequence.stream)
    sequence.grammar.take(token)
    return token


def next_token(logits: NDArray[np.float32], drawn: Drawn | None, stream: np.random.Generator | None) -> int:
    """The likeliest token, or one of the nucleus by inverting its cumulative distribution at the stream's next number.

    `logits` has the shape (vocabulary,).
    """
    if drawn is None or drawn.temperature == 0 or stream is None:
        return int(np.argmax(logits))
    count = min(NUCLEUS, len(logits))
    ids = np.argpartition(logits, -count)[-count:]
    ids = ids[np.lexsort((ids, -logits[ids]))]
    scaled = logits[ids].astype(np.float64) / drawn.temperature
    shares = np.exp(scaled - scaled[0])
    shares /= shares.sum()
    before = np.cumsum(shares) - shares
    # A token is in the nucleus while what stands before it is short of top_p; the first one always is.
    cumulative = np.cumsum(shares[: max(1, int((before < drawn.top_p).sum()))])
    place = int(np.searchsorted(cumulative, stream.random() * cumulative[-1], side="right"))
    return int(ids[min(place, len(cumulative) - 1)])


def _take(model: "runtime.Model", sequence: _Sequence, token: int, stop: list[bytes]) -> bool:
    """Adds the token; whether the sequence has ended with it."""
    sequence.ids.append(token)
    sequence.pending = [token]
    if model.ends(token):
        sequence.ended = True
        return True
    piece = model.piece(token)
    sequence.text += piece
    fresh = len(piece) + max(map(len, stop), default=0)  # a stop string may begin in the tokens before
    found = [at for text in stop if (at := sequence.text.find(text, max(0, len(sequence.text) - fresh))) >= 0]
    if found:
        sequence.text = sequence.text[: min(found)]
        sequence.ended = True
    return bool(found) or len(sequence.ids) >= sequence.room
