"""Greedy answers of an ONNX folder to many prompts, and its vocabulary, by onnxruntime-genai in a child process.

A batch of onnxruntime-genai begins and ends as one, and a row that has finished goes on costing its share. So prompts
of similar length go together, and a batch is broken off once its finished rows have cost as much as reading the others'
tokens anew will: they go on in a fresh batch with waiting prompts (at most twice the cost of knowing all lengths
beforehand; the ski rental problem).

Rows are padded on the right: the attention operator takes each row's tokens from the front of its cache. Padding on the
left is silently wrong. The pad is no token (-1), for the runtime takes every pad token at the end of a prompt for
padding, even where it is the prompt's own, such as an end of turn.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from arte_export import child, runtime
from arte_export.answers import Answers
from arte_export.errors import BadModel, ExportError, MissingExtra
from arte_export.genai_files import CONFIG
from arte_export.model_folder import read_json
from arte_export.vocabulary import Conversation, Vocabulary

LIMIT_S = 6 * 3600.0
PAD = -1
UNREADABLE = "A file of it may be cut short, missing or edited; export it again"
LOGITS_BYTES = 1 << 30  # of the prompts of a batch: the runtime holds the logits of all their tokens


def answers(
    folder: Path,
    prompts: Sequence[str],
    max_tokens: int,
    stop: Sequence[str] = (),
    threads: int | None = None,
    parallel: int = 32,
    limit_s: float = LIMIT_S,
    progress: child.Progress | None = None,
) -> Answers:
    """Greedy continuations of prompts that are already rendered with the chat template, from a child process.

    A prompt is tokenised as it stands: special-token text becomes special tokens and no BOS is put in front. An answer
    ends with an end token, a stop string, `max_tokens` tokens, or the end of the context. At most `parallel` prompts
    are answered at once, fewer where they are long.

    Raises BadModel (folder), ExportError (a prompt that is empty, leaves no room in the context or holds a NUL
    character, at which the runtime stops reading), ChildDied.
    """
    call = partial(_answers, folder.resolve(), list(prompts), max_tokens, list(stop), threads, parallel)
    finished = child.run(call, holding=folder, limit_s=limit_s, progress=progress)
    return finished.result.model_copy(update={"peak_rss_bytes": finished.peak_rss_bytes})


def vocabulary(folder: Path, texts: Sequence[str], conversations: Sequence[Conversation]) -> Vocabulary:
    """What the folder says of its tokens, and what the runtime makes of texts and conversations, from a child process.

    `adds_bos` is whether the runtime, asked for special tokens, puts BOS in front; unasked it never does.

    Raises BadModel, ChildDied.
    """
    call = partial(_vocabulary, folder.resolve(), list(texts), list(conversations))
    return child.run(call, holding=folder, limit_s=LIMIT_S).result


@dataclass
class _Row:
    """One prompt on its way: `ids` are the prompt's tokens and those made so far, `room` how many may still come."""

    prompt: int
    ids: list[int]
    room: int
    stream: Any
    made: int = 0
    text: str = ""
    ended: bool = field(default=False)

    @property
    def made_ids(self) -> list[int]:
        return self.ids[len(self.ids) - self.made :]


def _answers(
    folder: Path, prompts: list[str], max_tokens: int, stop: list[str], threads: int | None, parallel: int
) -> Answers:
    if not prompts:
        return Answers(texts=[], token_ids=[], seconds=0.0, load_s=0.0, tokens_in=0, tokens_out=0)
    start = time.perf_counter()
    settings = read_settings(folder)
    context, ends = int(settings["context_length"]), end_tokens(settings)
    session = {"intra_op_num_threads": threads or runtime.cores()}
    overlay = {"model": {"pad_token_id": PAD, "decoder": {"session_options": session}}}
    with failing_as(BadModel, f"{folder}: onnxruntime-genai cannot read this folder", UNREADABLE):
        og = library()
        config = og.Config(str(folder))
        config.overlay(json.dumps(overlay))
        model = og.Model(config)
        tokenizer = og.Tokenizer(model)
    asked = []
    for index, prompt in enumerate(prompts):
        ids = [] if "\0" in prompt else tokenizer.encode(prompt).tolist()
        if not 0 < len(ids) < context:
            found = "a NUL character" if "\0" in prompt else f"{len(ids)} tokens"
            raise ExportError(
                f"{folder}: prompt {index} has {found}; expected 1 to {context - 1} tokens (the model's context, less "
                "one token of answer) and no NUL, which the runtime takes for the end"
            )
        asked.append(ids)
    rows = [
        _Row(index, list(ids), min(max_tokens, context - len(ids)), tokenizer.create_stream())
        for index, ids in enumerate(asked)
    ]
    loaded = time.perf_counter()
    waiting = sorted(rows, key=lambda row: len(row.ids))
    done = 0
    while waiting:
        batch = _next_batch(waiting, parallel, int(settings["vocab_size"]))
        width = max(len(row.ids) for row in batch)
        with failing_as(
            ExportError, f"{folder}: onnxruntime-genai cannot run {len(batch)} prompts of {width} tokens",
            "Where memory ran out, use fewer parallel prompts; otherwise export it again",
        ):  # fmt: skip
            for _ in _run(og, model, batch, context, ends, stop):
                done += 1
                child.tell(done, len(rows))
        waiting += [row for row in batch if not row.ended]
        waiting.sort(key=lambda row: len(row.ids))
    return Answers(
        texts=[row.text for row in rows],
        token_ids=[row.made_ids for row in rows],
        seconds=time.perf_counter() - loaded,
        load_s=loaded - start,
        tokens_in=sum(map(len, asked)),
        tokens_out=sum(row.made for row in rows),
    )


def _next_batch(waiting: list[_Row], parallel: int, vocabulary_tokens: int) -> list[_Row]:
    """Takes the longest rows off the end of `waiting`, as many as may run together."""
    rows = min(parallel, LOGITS_BYTES // (4 * vocabulary_tokens * len(waiting[-1].ids)), len(waiting))
    batch = waiting[-max(rows, 1) :]
    del waiting[-len(batch) :]
    return batch


def _run(og: Any, model: Any, batch: list[_Row], context: int, ends: set[int], stop: list[str]) -> Iterator[_Row]:
    """Goes on with the rows until all have ended or it pays to begin anew; gives each row as it ends."""
    width = max(len(row.ids) for row in batch)
    parameters = og.GeneratorParams(model)
    # chosen for each batch anew: the cache has this length
    parameters.set_search_options(
        max_length=min(width + max(row.room for row in batch), context),
        batch_size=len(batch), num_beams=1, do_sample=False, repetition_penalty=1.0, no_repeat_ngram_size=0,
        min_length=0,
    )  # fmt: skip
    generator = og.Generator(model, parameters)
    padded = np.array([row.ids + [PAD] * (width - len(row.ids)) for row in batch], np.int32)
    generator.append_tokens(padded if len(batch) > 1 else padded[0])
    wasted = 0
    while not generator.is_done():
        generator.generate_next_token()
        for row, token in zip(batch, generator.get_next_tokens().tolist(), strict=True):
            if not row.ended and _take(row, token, ends, stop):
                yield row
        going_on = [row for row in batch if not row.ended]
        wasted += len(batch) - len(going_on)
        if wasted >= sum(len(row.ids) for row in going_on):
            return


def _take(row: _Row, token: int, ends: set[int], stop: list[str]) -> bool:
    """Adds the token; whether the row has ended with it."""
    row.ids.append(token)
    row.made += 1
    row.room -= 1
    if token in ends:
        row.ended = True
        return True
    piece: str = row.stream.decode(token)
    row.text += piece
    fresh = len(piece) + max(map(len, stop), default=0)  # a stop string may begin in the tokens before
    found = [at for text in stop if (at := row.text.find(text, max(0, len(row.text) - fresh))) >= 0]
    if found:
        row.text = row.text[: min(found)]
    row.ended = bool(found) or row.room <= 0
    return row.ended


def _vocabulary(folder: Path, texts: list[str], conversations: list[Conversation]) -> Vocabulary:
    from tokenizers import Tokenizer

    settings = read_settings(folder)
    with failing_as(BadModel, f"{folder}: onnxruntime-genai cannot read this folder", UNREADABLE):
        tokenizer = library().Tokenizer(library().Config(str(folder)))
        token_ids = [tokenizer.encode(text).tolist() for text in texts]
        tokenizer.update_options(add_special_tokens="true")
        with_specials = tokenizer.encode("a").tolist()
    written = read_json(folder / "tokenizer.json", "it holds the tokens")
    added = written.get("added_tokens", [])
    by_id = {index: token for token, index in Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab().items()}
    template = folder / "chat_template.jinja"
    bos = settings.get("bos_token_id")
    ends = settings["eos_token_id"]
    return Vocabulary(
        token_ids=token_ids,
        rendered=[_render(tokenizer, conversation) for conversation in conversations],
        chat_template=template.read_bytes().decode("utf-8") if template.is_file() else None,
        tokens=[by_id.get(index, "") for index in range(max(by_id) + 1)],
        control=sorted(int(token["id"]) for token in added if token.get("special")),
        added=sorted(int(token["id"]) for token in added if not token.get("special")),
        bos=bos,
        eos=ends[0] if isinstance(ends, list) else ends,
        pad=settings.get("pad_token_id"),
        adds_bos=bos is not None and with_specials[:1] == [bos],
        ends=sorted(end_tokens(settings)),
    )


def _render(tokenizer: Any, conversation: Conversation) -> str | None:
    try:
        text: str = tokenizer.apply_chat_template(
            json.dumps(conversation.messages, ensure_ascii=False), add_generation_prompt=conversation.generation_prompt
        )
    except RuntimeError:  # the template refuses it
        return None
    return text


def read_settings(folder: Path) -> dict[str, Any]:
    """The `model` part of genai_config.json. Raises BadModel."""
    file = folder / CONFIG
    model = read_json(file, "an onnxruntime-genai folder has its settings there").get("model")
    needed = ("context_length", "vocab_size", "eos_token_id")
    missing = [key for key in needed if key not in model] if isinstance(model, dict) else ["model"]
    if missing or not isinstance(model, dict):
        raise BadModel(f"{file}: no {' and no '.join(missing)} in it; export the folder again")
    return model


def end_tokens(settings: dict[str, Any]) -> set[int]:
    """The ids that end a generation, of what `read_settings` gave."""
    ends = settings["eos_token_id"]
    return set(ends) if isinstance(ends, list) else {ends}


def library() -> Any:
    """The runtime. Raises MissingExtra."""
    try:
        import onnxruntime_genai
    except ModuleNotFoundError:
        raise MissingExtra("onnxruntime-genai", "onnx", "An ONNX folder") from None
    return onnxruntime_genai


@contextmanager
def failing_as(kind: type[ExportError], what: str, advice: str) -> Iterator[None]:
    """Turns what the runtime raises, which is always RuntimeError, into an error for the reader."""
    try:
        yield
    except RuntimeError as error:
        raise kind(f"{what}: {str(error)[:400]}. {advice}") from None
