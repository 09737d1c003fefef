"""A LoRA adapter merged into its base model, tensor by tensor, and the result checked against both.

The merge is arithmetic of ours over the files, not PEFT's: no model is loaded, so that memory holds one tensor at a
time in float64, each tensor is rounded once, to the base's own precision, and every other byte is the base's. PEFT's
own forward pass and merge are what the tests compare with. `check` reads what was written and computes it anew.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from arte_export import lora, model_folder, rounding, safetensors_file
from arte_export.errors import BadModel, ExportError
from arte_export.lora import Adapter, Change
from arte_export.safetensors_file import Tensor

if TYPE_CHECKING:
    import torch

OUTPUT = "lm_head.weight"
INPUTS = (".embed_tokens.weight", ".wte.weight", ".embed_in.weight", ".word_embeddings.weight")
ROUNDING = 0.501
"""torch rounds float64 to 16 bits by way of float32."""
CHUNK_BYTES = 1 << 22


class Merge(NamedTuple):
    """`checked` tensors, `adapted` of them by the adapter; the others are the base's, byte for byte.

    `largest_deviation` of the adapted from W + scale·B·A is in units of the last place of `dtype`, the safetensors name
    of the precision that most adapted tensors have; correct rounding gives at most 0.5.
    """

    checked: int
    adapted: int
    largest_deviation: float
    dtype: str


class _Place(NamedTuple):
    """A tensor of the merged model: what it is made from, and what is done to it."""

    source: str
    change: Change | None
    dtype: str
    shape: tuple[int, ...]


class _Plan(NamedTuple):
    """The merged model by weight file, and where the base's tensors are."""

    adapter: Adapter
    files: dict[str, dict[str, _Place]]
    base: dict[str, tuple[Path, Tensor]]
    config: dict[str, Any]

    def before(self, place: _Place) -> "torch.Tensor":
        """The base's tensor in float64."""
        file, tensor = self.base[place.source]
        return lora.read(file, place.source, tensor)

    def merged(self, place: _Place) -> "torch.Tensor":
        """The adapted tensor in float64, before it is rounded."""
        assert place.change is not None
        return self.adapter.apply(place.change, self.before(place))


def base_name(adapter: Path) -> str:
    """The hub id or folder of the model that the adapter was trained on. Raises BadModel where it names none."""
    name = model_folder.read_json(
        adapter / model_folder.ADAPTER_CONFIG, "an adapter folder has its settings there"
    ).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise BadModel(f"{adapter / model_folder.ADAPTER_CONFIG}: names no base model (base_model_name_or_path)")
    return name


def require_base(adapter: Path, base: Path) -> None:
    """Raises BadModel where the adapter does not fit the base, by names and shapes; no weights are read."""
    plan = _plan(adapter, base)
    tensors = plan.adapter.tensors
    for name, place in ((name, place) for places in plan.files.values() for name, place in places.items()):
        change = place.change
        if change is None or change.a is None or change.b is None:
            continue
        shape = (tensors[change.b].shape[0], tensors[change.a].shape[1])
        if place.shape not in (shape, shape[::-1] if change.transposed else shape):
            raise _other_base(plan.adapter, base, f"{name} is {list(shape)} there, {list(place.shape)} in the base")


def merge(adapter: Path, base: Path, out: Path) -> Merge:
    """Writes the merged model folder `out`, whole or not at all, and checks it.

    Weights are in the base's own precision; the tokenizer and its chat template are the adapter's where it brings a
    tokenizer, otherwise the base's. Where training untied the output matrix from the embedding, so does `out`.

    Raises BadModel (no LoRA, one that is not merged here, another base), ExportError (`out` exists, too little space).
    """
    if out.exists():
        raise ExportError(f"{out}: exists already; choose another folder, or remove it")
    plan = _plan(adapter, base)
    out.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(file.stat().st_size for file in model_folder.weight_files(base))
    free = shutil.disk_usage(out.parent).free
    if free < needed * 1.02:
        raise ExportError(f"{out.parent}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed to merge")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir()
    try:
        for name, places in plan.files.items():
            _write(plan, places, partial / name)
        _write_rest(plan, base, partial)
        merged = check(adapter, base, partial)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return merged


def check(adapter: Path, base: Path, out: Path) -> Merge:
    """Whether every adapted tensor of `out` is W + scale·B·A, rounded once, and every other tensor the base's.

    Raises BadModel, naming the first tensor that is not.
    """
    plan = _plan(adapter, base)
    config = model_folder.read_config(out)
    files = model_folder.weight_files(out)
    found = {name: (file, tensor) for file in files for name, tensor in safetensors_file.tensors(file).items()}
    expected = {name: place for places in plan.files.values() for name, place in places.items()}
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            raise BadModel(f"{out}: {name} is {'missing' if name in expected else 'of no tensor of the base'}")
    if config.get("tie_word_embeddings") != plan.config.get("tie_word_embeddings"):
        raise BadModel(
            f"{out}: config.json says tie_word_embeddings={config.get('tie_word_embeddings')}, by base and adapter it "
            f"is {plan.config.get('tie_word_embeddings')}"
        )
    deviations: dict[str, list[float]] = {}
    for name, place in expected.items():
        file, tensor = found[name]
        if (tensor.dtype, tensor.shape) != (place.dtype, place.shape):
            raise BadModel(
                f"{out}: {name} is {tensor.dtype} {list(tensor.shape)}; expected {place.dtype} {list(place.shape)}"
            )
        if place.change is None:
            if not _same_bytes(file, tensor, *plan.base[place.source]):
                raise BadModel(f"{out}: {name} is not the base's, though the adapter does not touch it")
        else:
            deviations.setdefault(place.dtype, []).append(_deviation(plan, name, place, out, file, tensor))
    dtype = max(deviations, key=lambda kind: len(deviations[kind]))
    adapted = [value for values in deviations.values() for value in values]
    return Merge(len(expected), len(adapted), max(adapted), dtype)


def _deviation(plan: _Plan, name: str, place: _Place, out: Path, file: Path, tensor: Tensor) -> float:
    """The largest deviation of one adapted tensor. Raises BadModel beyond rounding, with the likely cause."""
    base, expected, stored = plan.before(place), plan.merged(place), lora.read(file, name, tensor)
    # what float64 itself may lose where base and change nearly cancel
    lost = 1e-14 * float(base.abs().max()) if base.numel() else 0.0
    deviation = rounding.units(stored, expected, tensor.dtype, lost)
    if deviation <= ROUNDING:  # not: `> ROUNDING`, so that a NaN is no match
        return deviation
    cause = ""
    rounded_between = float(expected.abs().max()) * 2.0 ** (2 - rounding.DIGITS[tensor.dtype])
    if base.shape == expected.shape:
        if rounding.units(stored, base, tensor.dtype, lost) <= ROUNDING:
            cause = ": it is the base's, so the adapter was not merged into it"
        elif rounding.units(stored, 2 * expected - base, tensor.dtype, rounded_between) <= ROUNDING:
            cause = ", but as if the adapter had been merged into it twice"
    raise BadModel(
        f"{out}: {name} is not what base and adapter give{cause} (largest deviation {deviation:.3g} units of the last "
        f"place of {tensor.dtype}; correct rounding gives 0.5)"
    )


def _same_bytes(file: Path, tensor: Tensor, other_file: Path, other: Tensor) -> bool:
    pairs = zip(_chunks(file, tensor), _chunks(other_file, other), strict=True)
    return tensor.size == other.size and all(left == right for left, right in pairs)


def _chunks(file: Path, tensor: Tensor) -> Iterator[bytes]:
    with file.open("rb") as stream:
        stream.seek(tensor.start)
        for start in range(0, tensor.size, CHUNK_BYTES):
            yield stream.read(min(CHUNK_BYTES, tensor.size - start))


def _write(plan: _Plan, places: dict[str, _Place], file: Path) -> None:
    import torch

    def data(name: str, stream: IO[bytes]) -> None:
        place = places[name]
        if place.change is None:
            for chunk in _chunks(*plan.base[place.source]):
                stream.write(chunk)
        else:
            rounded = plan.merged(place).to(getattr(torch, lora.FLOATS[place.dtype])).contiguous()
            stream.write(rounded.reshape(-1).view(torch.uint8).numpy().data)

    safetensors_file.write(file, {name: (place.dtype, place.shape) for name, place in places.items()}, data)


def _write_rest(plan: _Plan, base: Path, out: Path) -> None:
    """Index, configuration and tokenizer."""
    if list(plan.files) != [model_folder.SINGLE]:
        size = sum(
            math.prod(place.shape) * safetensors_file.DTYPE_BITS[place.dtype] // 8
            for places in plan.files.values()
            for place in places.values()
        )
        weight_map = {name: file for file, places in plan.files.items() for name in places}
        _write_json(out / model_folder.INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})
    _write_json(out / "config.json", plan.config)
    if (base / "generation_config.json").is_file():
        shutil.copyfile(base / "generation_config.json", out / "generation_config.json")
    own = plan.adapter.folder
    brings_tokenizer = any((own / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    for name in model_folder.TOKENIZER_FILES:
        sources = [own] if brings_tokenizer else [own, base] if name == "chat_template.jinja" else [base]
        source = next((folder for folder in sources if (folder / name).is_file()), None)
        if source is not None:
            shutil.copyfile(source / name, out / name)


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _plan(folder: Path, base: Path) -> _Plan:
    """What the merged model is to be. Raises BadModel where adapter and base do not fit."""
    adapter = lora.open_adapter(folder)
    config = model_folder.read_config(base)
    files = model_folder.weight_files(base)
    stored = {file: safetensors_file.tensors(file) for file in files}
    tensors = {name: (file, tensor) for file, found in stored.items() for name, tensor in found.items()}
    changes = _on_base(adapter, base, tensors)
    embedding = next((name for name in tensors if f".{name}".endswith(INPUTS)), None)
    sources = {name: name for name in tensors}
    if embedding is not None and OUTPUT not in tensors and _untied(adapter, changes, embedding):
        sources[OUTPUT] = embedding
        config = {**config, "tie_word_embeddings": False}
    places: dict[str, dict[str, _Place]] = {file.name: {} for file in files}
    for name, source in sources.items():
        file, tensor = tensors[source]
        change = changes.get(name)
        shape = tensor.shape
        if change is not None and change.replacement is not None:
            shape = adapter.tensors[change.replacement].shape
            resized = name in (embedding, OUTPUT) and shape[1:] == tensor.shape[1:]
            if shape != tensor.shape and not resized:
                raise _other_base(adapter, base, f"{name} is {list(shape)} there, {list(tensor.shape)} in the base")
        places[file.name][name] = _Place(source, change, tensor.dtype, shape)
    rows = {place.shape[0] for found in places.values() for name, place in found.items() if name in (embedding, OUTPUT)}
    if len(rows) > 1:
        raise BadModel(
            f"{folder}: embedding and output matrix would have {' and '.join(map(str, sorted(rows)))} rows: the "
            "vocabulary was resized, but only one of the two was saved; save the adapter with both "
            "(save_embedding_layers=True)"
        )
    return _Plan(adapter, places, tensors, _with_rows(config, rows))


def _on_base(adapter: Adapter, base: Path, tensors: dict[str, tuple[Path, Tensor]]) -> dict[str, Change]:
    """The adapter's changes by the base's names. A base saved without its head lacks the first part ("model.")."""
    changes, absent = {}, []
    for name, change in adapter.changes.items():
        short = name.split(".", 1)[-1]
        known = name if name in tensors or name == OUTPUT else short if short in tensors else None
        if known is None:
            absent.append(name)
        else:
            changes[known] = change
    if absent:
        raise _other_base(adapter, base, f"{len(absent)} of its tensors are not in the base, first {absent[0]}")
    return changes


def _other_base(adapter: Adapter, base: Path, found: str) -> BadModel:
    trained_on = adapter.config.base_model_name_or_path
    return BadModel(
        f"{adapter.folder}: this adapter does not belong to the base {base}: {found}. "
        f"It was trained on {trained_on or 'a base that it does not name'}; give that model as its base"
    )


def _untied(adapter: Adapter, changes: dict[str, Change], embedding: str) -> bool:
    """Whether the output matrix, tied in the base, is one of its own after training."""
    if OUTPUT not in changes:
        return embedding in changes and not adapter.config.ensure_weight_tying
    output, own = changes[OUTPUT], changes.get(embedding)
    if own is None or output.replacement is None or own.replacement is None or output.a or own.a:
        return True
    same = adapter.read(output.replacement).equal(adapter.read(own.replacement))
    return not same


def _with_rows(config: dict[str, Any], rows: set[int]) -> dict[str, Any]:
    if not rows:
        return config
    if "vocab_size" in config or not isinstance(config.get("text_config"), dict):
        return {**config, "vocab_size": rows.pop()}
    return {**config, "text_config": {**config["text_config"], "vocab_size": rows.pop()}}
