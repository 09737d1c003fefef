"""Whether a GGUF file is the torch model it was made from: the same token ids, template, special tokens and answers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from arte_export import child, converter, generate, schemes
from arte_export.errors import BadModel
from arte_export.strings import test_strings

__all__ = ["Parity", "check", "test_strings"]

Message = dict[str, str]
LIMIT_S = 3600.0


class Parity(BaseModel):
    """What a file and its torch model agree in; None is "not looked at".

    `passed` is token_ids and chat_template and special_tokens. `greedy_match` is the share of prompts whose first
    greedy tokens are all equal; below `greedy_threshold` (schemes.py) a line of `why` says so, and the gate stands.
    """

    model_config = ConfigDict(frozen=True)

    token_ids: bool
    chat_template: bool
    special_tokens: bool
    greedy_match: float | None
    greedy_threshold: float | None
    mean_kld: float | None = None
    top1_agreement: float | None = None
    ppl_ratio: float | None = None
    passed: bool
    why: list[str]
    strings: int
    differing_string: str | None
    answers_model: list[str]
    answers_file: list[str]


class _Vocabulary(BaseModel):
    """What the file says of its tokens."""

    token_ids: list[list[int]]
    chat_template: str | None
    ftype: int | None
    bos: int
    eos: int
    adds_bos: bool
    ends: list[int]


def check(
    folder: Path,
    file: Path,
    strings: Sequence[str],
    conversations: Sequence[list[Message]],
    prompts: Sequence[str],
    max_tokens: int = 32,
    threads: int | None = None,
) -> Parity:
    """Compares `file` with the model in `folder`; the torch model runs here, in float32, the file in child processes.

    `strings` and the rendered `conversations` are tokenised by both. `prompts` are rendered already; each is continued
    by `max_tokens` greedy tokens.

    Raises BadModel where either cannot be read, ChildDied.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    if conversations and not tokenizer.chat_template:
        raise BadModel(f"{folder}: its tokenizer has no chat template; save one with the tokenizer")
    rendered = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in conversations]
    texts = [*strings, *rendered]
    found = child.run(partial(_vocabulary, file.resolve(), texts), holding=file, limit_s=LIMIT_S).result

    why = []
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    differing = next((i for i, ids in enumerate(expected) if ids != found.token_ids[i]), None)
    if differing is not None:
        count = sum(ids != other for ids, other in zip(expected, found.token_ids, strict=True))
        why.append(
            f"token_ids: {count} of {len(texts)} texts differ, first {texts[differing][:80]!r}: "
            f"{_around(expected[differing], found.token_ids[differing])}"
        )
    template = tokenizer.chat_template == found.chat_template
    if not template:
        why.append(f"chat_template: {_template_difference(tokenizer.chat_template, found.chat_template)}")
    special = _special_differences(tokenizer, found)
    why += [f"special_tokens: {line}" for line in special]

    match, model_answers, file_answers = _greedy(folder, file, tokenizer, prompts, max_tokens, threads, found.ends)
    scheme = schemes.of_ftype(found.ftype) if found.ftype is not None else None
    threshold = scheme.greedy_match if scheme else None
    if match is not None and threshold is not None and match < threshold:
        why.append(
            f"greedy_match: {match:.2f} of {len(prompts)} prompts, expected {threshold:.2f} (does not fail the gate)"
        )
    return Parity(
        token_ids=differing is None,
        chat_template=template,
        special_tokens=not special,
        greedy_match=match,
        greedy_threshold=threshold,
        passed=differing is None and template and not special,
        why=why,
        strings=len(texts),
        differing_string=None if differing is None else texts[differing],
        answers_model=model_answers,
        answers_file=file_answers,
    )


def _vocabulary(file: Path, texts: list[str]) -> _Vocabulary:
    from arte_export import runtime

    with runtime.load(file, vocabulary_only=True) as model:
        lib = model.lib
        ftype = model.metadata("general.file_type")
        return _Vocabulary(
            token_ids=[model.tokenise(text) for text in texts],
            chat_template=model.metadata("tokenizer.chat_template"),
            ftype=None if ftype is None else int(ftype),
            bos=lib.llama_vocab_bos(model.vocabulary),
            eos=lib.llama_vocab_eos(model.vocabulary),
            adds_bos=lib.llama_vocab_get_add_bos(model.vocabulary),
            ends=[token for token in range(model.tokens) if model.ends(token)],
        )


def _around(expected: list[int], found: list[int]) -> str:
    """The first place where two lists of ids part."""
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    return f"from token {at} on {expected[at : at + 4]} in the model, {found[at : at + 4]} in the file"


def _template_difference(expected: str | None, found: str | None) -> str:
    if not expected or not found:
        return f"{'none' if not expected else 'one'} in the model, {'none' if not found else 'one'} in the file"
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    return f"differs at character {at}: {expected[at : at + 30]!r} in the model, {found[at : at + 30]!r} in the file"


def _special_differences(tokenizer: Any, found: _Vocabulary) -> list[str]:
    lines = []
    if tokenizer.eos_token_id != found.eos:
        lines.append(f"EOS is {tokenizer.eos_token_id} in the model, {found.eos} in the file")
    elif found.eos not in found.ends:
        lines.append(f"EOS {found.eos} does not end a generation in the file")
    # llama.cpp has a default where the file names no BOS; it matters only where it would be put in front
    if tokenizer.bos_token_id is not None and tokenizer.bos_token_id != found.bos:
        lines.append(f"BOS is {tokenizer.bos_token_id} in the model, {found.bos} in the file")
    adds = converter.adds_bos(tokenizer)
    if adds != found.adds_bos:
        lines.append(
            f"BOS is {'' if adds else 'not '}put in front by the model, {'' if found.adds_bos else 'not '}by the file"
        )
    return lines


def _greedy(
    folder: Path,
    file: Path,
    tokenizer: Any,
    prompts: Sequence[str],
    max_tokens: int,
    threads: int | None,
    ends: list[int],
) -> tuple[float | None, list[str], list[str]]:
    """Share of prompts with equal ids, the torch model's texts, the file's texts."""
    if not prompts:
        return None, [], []
    answered = generate.answers(file, prompts, max_tokens, threads=threads)
    expected = _torch_greedy(folder, tokenizer, prompts, max_tokens, ends)
    equal = sum(ids == other for ids, other in zip(expected, answered.token_ids, strict=True))
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]
    return equal / len(prompts), texts, answered.texts


def _torch_greedy(
    folder: Path, tokenizer: Any, prompts: Sequence[str], max_tokens: int, ends: list[int]
) -> list[list[int]]:
    """The model's own greedy continuations in float32, each up to and with its first end token."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True).eval()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    settings = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=ends, pad_token_id=pad)
    asked = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    width = max(map(len, asked))
    made = []
    for start in range(0, len(asked), 32):
        part = asked[start : start + 32]
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in part])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, generation_config=settings)
        for row in out[:, width:].tolist():
            end = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
            made.append(row[: end + 1])
    return made
