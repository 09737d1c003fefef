"""A GGUF file's vocabulary as llama.cpp reads it, and its chat template as llama-cpp-python and transformers render it.

Token types by the GGUF specification (ggml docs/gguf.md, `tokenizer.ggml.token_type`): 3 control, 4 user-defined. The
template is Jinja text in the file; llama.cpp renders it by an engine of its own (`--jinja`), which the C library does
not export, so here it is rendered as its Python bindings do, with the file's BOS and EOS texts.
"""

import functools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arte_export import chat_template, child
from arte_export.vocabulary import Conversation, Vocabulary

LIMIT_S = 3600.0
CONTROL, USER_DEFINED = 1 << 3, 1 << 4
"""Bits of `llama_token_attr` (llama.h)."""


def vocabulary(file: Path, texts: Sequence[str], conversations: Sequence[Conversation]) -> Vocabulary:
    """What llama.cpp makes of texts and conversations. Raises BadModel, ChildDied."""
    call = partial(_vocabulary, file.resolve(), list(texts), list(conversations))
    return child.run(call, holding=file, limit_s=LIMIT_S).result


def _vocabulary(file: Path, texts: list[str], conversations: list[Conversation]) -> Vocabulary:
    from arte_export import runtime

    with runtime.load(file, vocabulary_only=True) as model:
        lib, vocab = model.lib, model.vocabulary
        every = range(model.tokens)
        kinds = [int(lib.llama_vocab_get_attr(vocab, token)) for token in every]
        template = model.metadata("tokenizer.chat_template")
        tokens = [bytes(lib.llama_vocab_get_text(vocab, token)).decode(errors="replace") for token in every]

        def known(token: int) -> int | None:
            return None if token < 0 else token

        bos, eos = known(lib.llama_vocab_bos(vocab)), known(lib.llama_vocab_eos(vocab))
        render = functools.partial(
            chat_template.render,
            template or "",
            bos_token="" if bos is None else tokens[bos],
            eos_token="" if eos is None else tokens[eos],
        )
        return Vocabulary(
            token_ids=[model.tokenise(text) for text in texts],
            rendered=[render(conversation) for conversation in conversations] if template else [],
            chat_template=template,
            tokens=tokens,
            control=[token for token in every if kinds[token] & CONTROL],
            added=[token for token in every if kinds[token] & USER_DEFINED],
            bos=bos,
            eos=eos,
            pad=known(lib.llama_vocab_pad(vocab)),
            adds_bos=bool(lib.llama_vocab_get_add_bos(vocab)),
            ends=[token for token in every if model.ends(token)],
        )
