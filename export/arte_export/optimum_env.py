"""What runs inside the environment of optimum-onnx, with transformers 4: called through `child.run(python=...)`."""

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from arte_export import child, onnx_int8
from arte_export.answers import Answers
from arte_export.errors import BadModel, ExportError
from arte_export.vocabulary import Conversation, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

GRAPH = "onnx/model_quantized.onnx"
LOGITS_BYTES = 1 << 28  # of one step of a prompt: the graph gives the logits of all its positions
TASK = "text-generation-with-past"
ROPE_KEYS = (
    "rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq", "rotary_emb_base", "rotary_pct",
)  # fmt: skip


def export(folder: Path, work: Path, out: Path) -> None:
    """Traces the model folder in transformers 4's terms into `work`, and writes its 8-bit form as `out`/onnx/.

    Raises BadModel where the exporter does not know the architecture, or transformers 4 reads another model.
    """
    _offline()
    import torch
    from optimum.exporters.onnx import onnx_export_from_model  # type: ignore[import-not-found]
    from optimum.exporters.tasks import TasksManager  # type: ignore[import-not-found]
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = _json(folder / "config.json")["model_type"]
    known = sorted(
        name
        for name in TasksManager._SUPPORTED_MODEL_TYPE
        if "onnx" in TasksManager._SUPPORTED_MODEL_TYPE[name]
        and TASK in TasksManager.get_supported_tasks_for_model_type(name, "onnx", library_name="transformers")
    )
    if kind not in known:
        raise BadModel(
            f"{folder / 'config.json'}: optimum-onnx has no exporter for the architecture {kind!r}; export to onnx or "
            f"gguf (it knows {', '.join(known)})"
        )
    config = AutoConfig.from_pretrained(str(folder))
    check_rope(folder, config)
    child.tell(1, 5)
    # transformers 4 would take sdpa for Gemma 2, which leaves out the soft cap of the attention's logits
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else None
    model, loaded = AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, use_safetensors=True, output_loading_info=True, attn_implementation=attention
    )
    odd = [f"{kind} {sorted(map(str, loaded[kind]))[:3]}" for kind in loaded if loaded[kind]]
    if odd:
        raise BadModel(f"{folder}: transformers 4 reads other weights than this folder holds: {'; '.join(odd)}")
    child.tell(2, 5)
    model.config.use_cache = True
    try:
        with torch.no_grad():
            onnx_export_from_model(model, work, task=TASK, do_validation=False)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        # a tracer stumbles in many ways over an architecture that it does not fit
        raise BadModel(f"{folder}: optimum-onnx could not trace it: {type(error).__name__}: {error}") from None
    del model
    child.tell(3, 5)
    (out / "onnx").mkdir()
    beside = onnx_int8.quantise(work / "model.onnx", out / GRAPH)
    _say_to_transformers_js(out / "config.json", beside)
    child.tell(5, 5)


def check_rope(folder: Path, config: Any) -> None:
    """Raises BadModel where transformers 4 overlooks what config.json says of RoPE; it would take its defaults."""
    written = _json(folder / "config.json")
    for key in ROPE_KEYS:
        # keys may be added (a default), none may be lost or changed
        wanted, found = written.get(key), getattr(config, key, None)
        pairs = wanted.items() if isinstance(wanted, dict) else ()
        same = all((found or {}).get(name) == value for name, value in pairs) if pairs else wanted in (None, found)
        if not same:
            raise BadModel(f"{folder / 'config.json'}: transformers 4 reads {key} as {found}, written is {wanted}")


def _say_to_transformers_js(file: Path, beside: bool) -> None:
    """Has transformers.js take the 8-bit file without being told, and look for the weights where they are."""
    written = _json(file)
    written["transformers.js_config"] = {"dtype": "q8", "use_external_data_format": {Path(GRAPH).name: int(beside)}}
    file.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def vocabulary(folder: Path, texts: list[str], conversations: list[Conversation]) -> Vocabulary:
    """What transformers 4 makes of the folder's tokenizer, template and special tokens."""
    _offline()
    import jinja2

    from arte_export.converter import adds_bos

    tokenizer = _tokenizer(folder)
    added = tokenizer.added_tokens_decoder
    tokens = [tokenizer.convert_ids_to_tokens(token) for token in range(len(tokenizer))]

    def render(conversation: Conversation) -> str | None:
        try:
            text: str = tokenizer.apply_chat_template(
                conversation.messages, tokenize=False, add_generation_prompt=conversation.generation_prompt
            )
        except (jinja2.TemplateError, TypeError):  # its raise_exception, or arithmetic on what is not there
            return None
        return text

    return Vocabulary(
        token_ids=[tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts],
        rendered=[render(conversation) if tokenizer.chat_template else None for conversation in conversations],
        chat_template=tokenizer.chat_template,
        tokens=["" if token is None else token for token in tokens],
        control=sorted(token for token, entry in added.items() if entry.special),
        added=sorted(token for token, entry in added.items() if not entry.special),
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        adds_bos=adds_bos(tokenizer),
        ends=_ends(folder, tokenizer),
    )


class _Row(BaseModel):
    """One prompt on its way."""

    prompt: int
    room: int
    ids: list[int] = []
    text: str = ""


def answers(folder: Path, prompts: list[str], max_tokens: int, stop: list[str], threads: int, parallel: int) -> Answers:
    """Greedy continuations through ORTModelForCausalLM, `parallel` prompts of like length at a time."""
    _offline()
    if not prompts:
        return Answers(texts=[], token_ids=[], seconds=0.0, load_s=0.0, tokens_in=0, tokens_out=0)
    start = time.perf_counter()
    if not (folder / GRAPH).is_file():
        raise BadModel(f"{folder / GRAPH}: no such file; expected the folder of an onnx-optimum export")
    tokenizer = _tokenizer(folder)
    asked: list[list[int]] = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    with _model(folder, threads) as model:
        context = model.config.max_position_embeddings
        for index, ids in enumerate(asked):
            if not 0 < len(ids) < context:
                raise ExportError(
                    f"{folder}: prompt {index} has {len(ids)} tokens; expected 1 to {context - 1} "
                    "(the model's context, less one token of answer)"
                )
        loaded = time.perf_counter()
        ends = set(_ends(folder, tokenizer))
        order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
        done: dict[int, _Row] = {}
        for first in range(0, len(order), parallel):
            rows = [
                _Row(prompt=index, room=min(max_tokens, context - len(asked[index])))
                for index in order[first : first + parallel]
            ]
            _generate(model, tokenizer, [asked[row.prompt] for row in rows], rows, ends, stop)
            done |= {row.prompt: row for row in rows}
            child.tell(len(done), len(asked))
        seconds = time.perf_counter() - loaded
    answered = [done[index] for index in range(len(asked))]
    return Answers(
        texts=[row.text for row in answered],
        token_ids=[row.ids for row in answered],
        seconds=seconds,
        load_s=loaded - start,
        tokens_in=sum(map(len, asked)),
        tokens_out=sum(len(row.ids) for row in answered),
    )


def _generate(
    model: Any, tokenizer: Any, asked: list[list[int]], rows: list[_Row], ends: set[int], stop: list[str]
) -> None:
    """Fills the rows, padded on the left to one length; a row that has ended leaves the batch."""
    import torch

    width = max(map(len, asked))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in asked])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in asked])
    step = max(1, LOGITS_BYTES // (4 * model.config.vocab_size * len(rows)))
    past: Any = None
    active = rows
    position = 0
    while active:
        part = ids[:, position : position + step]
        position += part.shape[1]
        positions = (mask[:, :position].cumsum(1) - 1).clamp(min=0)[:, -part.shape[1] :]
        out = model(
            input_ids=part, attention_mask=mask[:, :position], position_ids=positions, past_key_values=past,
            use_cache=True,
        )  # fmt: skip
        past = out.past_key_values
        if position < ids.shape[1]:
            continue
        tokens = out.logits[:, -1].argmax(-1).tolist()
        kept = [
            at
            for at, (row, token) in enumerate(zip(active, tokens, strict=True))
            if not _take(tokenizer, row, token, ends, stop)
        ]
        if len(kept) < len(active):
            past = tuple(tuple(state[kept] for state in layer) for layer in past)
            ids, mask = ids[kept], mask[kept]
        active = [active[at] for at in kept]
        ids = torch.cat([ids, torch.tensor([[row.ids[-1]] for row in active], dtype=torch.long).view(-1, 1)], 1)
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], 1)


def _take(tokenizer: Any, row: _Row, token: int, ends: set[int], stop: list[str]) -> bool:
    """Adds the token; whether the row has ended with it."""
    row.ids.append(token)
    ended = token in ends or len(row.ids) >= row.room
    if ended or stop:
        # all of it each time: a character may take several tokens, and a stop string may begin in those before
        row.text = tokenizer.decode(row.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = [at for text in stop if (at := row.text.find(text)) >= 0]
        if found:
            row.text = row.text[: min(found)]
            return True
    return ended


@contextmanager
def _model(folder: Path, threads: int) -> "Iterator[Any]":
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states
    from optimum.onnxruntime import ORTModelForCausalLM  # type: ignore[import-not-found]

    file = folder / GRAPH
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        model = ORTModelForCausalLM.from_pretrained(
            str(folder), subfolder="onnx", file_name=file.name, session_options=options, local_files_only=True,
            use_io_binding=False,
        )  # fmt: skip
    except (states.Fail, states.InvalidProtobuf, states.InvalidGraph, states.NotImplemented) as error:
        raise BadModel(
            f"{file}: onnxruntime cannot load this file ({file.stat().st_size} bytes): {error}. It may be cut short, "
            "or newer than the installed onnxruntime; make or fetch it again"
        ) from None
    if getattr(model.config, "head_dim", None):
        model.embed_size_per_head = model.config.head_dim  # optimum-onnx 0.1.0 takes hidden size / heads for it
    yield model


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        raise BadModel(f"{folder / 'tokenizer.json'}: no such file; expected the folder of an onnx-optimum export")
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _ends(folder: Path, tokenizer: Any) -> list[int]:
    """The ids that end a generation: of generation_config.json, else of config.json, else the tokenizer's EOS."""
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        found = _json(file).get("eos_token_id") if file.is_file() else None
        if found is not None:
            return sorted(found) if isinstance(found, list) else [found]
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _offline() -> None:
    """To be called before transformers is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
