"""The torch model that device files are held against: its vocabulary, its logits, its greedy answers."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arte_export import child, converter, model_folder
from arte_export.answers import Answers
from arte_export.errors import BadModel
from arte_export.vocabulary import Conversation, Vocabulary

LIMIT_S = 6 * 3600.0
MEMORY_SHARE = 0.6
BATCH = 64


def vocabulary(folder: Path, texts: Sequence[str], conversations: Sequence[Conversation]) -> Vocabulary:
    """What the folder's transformers tokenizer makes of texts and conversations.

    Raises BadModel where there is no tokenizer, or no chat template although there are conversations.
    """
    tokenizer = tokenizer_of(folder)
    if conversations and not tokenizer.chat_template:
        raise BadModel(f"{folder}: its tokenizer has no chat template; save one with the tokenizer")
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    declared = tokenizer.added_tokens_decoder
    return Vocabulary(
        token_ids=[tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts],
        rendered=[_render(tokenizer, conversation) for conversation in conversations],
        chat_template=tokenizer.chat_template,
        tokens=["" if token is None else token for token in tokens],
        control=sorted(token for token, added in declared.items() if added.special),
        added=sorted(token for token, added in declared.items() if not added.special),
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        adds_bos=converter.adds_bos(tokenizer),
        ends=ends(folder, tokenizer),
    )


def ends(folder: Path, tokenizer: Any) -> list[int]:
    """The ids that end a generation: the tokenizer's EOS and those of generation_config.json."""
    from transformers import GenerationConfig

    found = {tokenizer.eos_token_id} - {None}
    if (folder / "generation_config.json").is_file():
        declared = GenerationConfig.from_pretrained(str(folder)).eos_token_id
        found |= {declared} - {None} if not isinstance(declared, list) else set(declared)
    return sorted(found)


def tokenizer_of(folder: Path) -> Any:
    """The folder's tokenizer. Raises BadModel where transformers cannot read it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise BadModel(
            f"{folder}: transformers cannot read its tokenizer: {error}; save the tokenizer into this folder"
        ) from None


def logits(folder: Path) -> tuple[Callable[[Sequence[int]], NDArray[np.float32]], str]:
    """The model as a function from token ids to logits (tokens, vocabulary), and the arithmetic it computes in."""
    import torch

    model = _load(folder)

    def of(ids: Sequence[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]
        array: NDArray[np.float32] = found.float().cpu().numpy()
        return array

    return of, str(model.dtype).removeprefix("torch.")


def answers(folder: Path, prompts: Sequence[str], max_tokens: int, progress: child.Progress | None = None) -> Answers:
    """Greedy continuations of prompts that are already rendered, from a child process that gives its memory back.

    Raises BadModel, ChildDied.
    """
    call = partial(_answers, folder.resolve(), list(prompts), max_tokens)
    finished = child.run(call, holding=folder, limit_s=LIMIT_S, progress=progress)
    return finished.result.model_copy(update={"peak_rss_bytes": finished.peak_rss_bytes})


def _render(tokenizer: Any, conversation: Conversation) -> str | None:
    from jinja2.exceptions import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            conversation.messages, tokenize=False, add_generation_prompt=conversation.generation_prompt
        )
    except TemplateError:  # what raise_exception() of a template becomes
        return None
    return text


def _load(folder: Path) -> Any:
    """In float32 where that takes a fair share of the free memory at most, else as stored."""
    import psutil
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    wide = 4 * model_folder.parameters(folder) <= MEMORY_SHARE * free
    dtype = torch.float32 if wide else "auto"
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, local_files_only=True)
    return model.to(device).eval()


def _answers(folder: Path, prompts: list[str], max_tokens: int) -> Answers:
    import time

    import torch
    from transformers import GenerationConfig

    start = time.perf_counter()
    tokenizer = tokenizer_of(folder)
    stops = ends(folder, tokenizer)
    model = _load(folder)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    settings = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=stops, pad_token_id=pad)
    asked = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    loaded = time.perf_counter()
    made: dict[int, list[int]] = {}
    order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for first in range(0, len(order), BATCH):
        part = order[first : first + BATCH]
        width = max(len(asked[index]) for index in part)
        ids = torch.tensor([[pad] * (width - len(asked[index])) + asked[index] for index in part])
        mask = torch.tensor([[0] * (width - len(asked[index])) + [1] * len(asked[index]) for index in part])
        with torch.inference_mode():
            out = model.generate(ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings)
        for index, row in zip(part, out[:, width:].tolist(), strict=True):
            end = next((i for i, token in enumerate(row) if token in stops), len(row) - 1)
            made[index] = row[: end + 1]
        child.tell(len(made), len(asked))
    token_ids = [made[index] for index in range(len(asked))]
    return Answers(
        texts=[tokenizer.decode(ids, skip_special_tokens=True) for ids in token_ids],
        token_ids=token_ids,
        seconds=time.perf_counter() - loaded,
        load_s=loaded - start,
        tokens_in=sum(map(len, asked)),
        tokens_out=sum(map(len, token_ids)),
    )
