"""Whether a folder is a whole model, told from its headers alone: no weight is read.

The safetensors format: 8 bytes of little-endian header length, a JSON header that gives dtype, shape and byte range of
every tensor, then exactly the bytes that the ranges span (huggingface/safetensors, README "Format").
"""

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from arte_export.errors import BadModel


class Weights(NamedTuple):
    """`dtype` is the safetensors name ("BF16") that most parameters have; `parameters` are counted as stored."""

    parameters: int
    dtype: str
    bytes: int


def inspect(folder: Path) -> Weights:
    """What the folder's weights are. Raises BadModel where a part is missing, cut short or of a refused kind."""
    if not folder.is_dir():
        raise BadModel(
            f"{folder}: no such folder; expected a model folder (config.json, *.safetensors, tokenizer.json)"
        )
    if (folder / "adapter_config.json").is_file():
        raise BadModel(f"{folder}: this is a LoRA adapter; merge it into its base model and export the merged folder")
    config = _json(folder / "config.json", "a model folder has its architecture there")
    if not config.get("architectures"):
        raise BadModel(f"{folder / 'config.json'}: names no architecture; expected for instance LlamaForCausalLM")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise BadModel(
            f"{folder}: no tokenizer (tokenizer.json or tokenizer.model); save the model's tokenizer into this folder"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_json(index, "it lists the parts").get("weight_map", {}).values()))
    else:
        names = sorted(file.name for file in folder.glob("*.safetensors"))
    if not names:
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
        found = f"only {', '.join(pickled)}, which may run code when read" if pickled else "none"
        raise BadModel(f"{folder}: weights must be *.safetensors; found {found}")
    parameters: Counter[str] = Counter()
    size = 0
    for name in names:
        file = folder / name
        for tensor in _header(file).values():
            parameters[tensor["dtype"]] += prod(tensor["shape"])
        size += file.stat().st_size
    return Weights(parameters.total(), parameters.most_common(1)[0][0], size)


def _json(file: Path, purpose: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadModel(f"{file}: missing; {purpose}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadModel(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadModel(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _header(file: Path) -> dict[str, Any]:
    """The tensors of one safetensors file, checked against the file's length."""
    if not file.is_file():
        raise BadModel(f"{file}: missing, but model.safetensors.index.json lists it; fetch or save the model again")
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise BadModel(f"{file}: not a whole safetensors file ({size} bytes); fetch or save the model again")
        try:
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
            shapes = [(tensor["dtype"], [int(side) for side in tensor["shape"]]) for tensor in header.values()]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise BadModel(f"{file}: its safetensors header is broken ({type(error).__name__}: {error})") from None
    if not shapes or size != 8 + length + end:
        raise BadModel(
            f"{file}: cut short or damaged: {size} bytes, its header says {8 + length + end} for {len(shapes)} "
            "tensors; fetch or save the model again"
        )
    return dict(header)
