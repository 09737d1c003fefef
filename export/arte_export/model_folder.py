"""Whether a folder is a whole model, told before hours are spent: no weight is read.

The headers of the weight files are checked here; names and shapes are compared with the architecture that config.json
declares (architecture.py).
"""

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from arte_export import architecture, safetensors_file
from arte_export.errors import BadModel
from arte_export.safetensors_file import Tensor

ADAPTER_CONFIG = "adapter_config.json"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
FULL_WEIGHTS = {
    "bitsandbytes": "load it in transformers, call model.dequantize() and save_pretrained()",
    "fp8": "load it with FineGrainedFP8Config(dequantize=True) and save_pretrained() it",
    "mxfp4": "load it with Mxfp4Config(dequantize=True) and save_pretrained() it",
}
"""How to come by full weights, by config.json's quant_method; all others: the model that was quantised."""


class Weights(NamedTuple):
    """`dtype` is the safetensors name ("BF16") that most parameters have; `parameters` are counted as stored."""

    parameters: int
    dtype: str
    bytes: int


def inspect(folder: Path) -> Weights:
    """What the folder's weights are.

    Raises BadModel where a part is missing, cut short or of a refused kind, or the tensors are not those of the
    architecture; ChildDied where the process that compared them was killed.
    """
    config = read_config(folder)
    ids = _highest_token_id(folder)
    files = weight_files(folder)
    found = tensors(folder, files)
    counts: Counter[str] = Counter()
    for tensor in found.values():
        counts[tensor.dtype] += prod(tensor.shape)
    rows = architecture.check(folder, files, config, len(found))
    if rows is not None and ids is not None and ids >= rows:
        raise BadModel(
            f"{folder}: the tokenizer has token ids up to {ids}, the model's embedding has {rows} rows; tokenizer and "
            "weights are not of the same model, or the embedding was not resized when tokens were added"
        )
    size = sum(file.stat().st_size for file in files)
    return Weights(counts.total(), counts.most_common(1)[0][0], size)


def parameters(folder: Path) -> int:
    """How many parameters are stored, from the headers alone. Raises BadModel where they are broken."""
    return sum(prod(tensor.shape) for tensor in tensors(folder, weight_files(folder)).values())


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a PEFT adapter, to be merged into its base model first (adapter.merge)."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder that may hold a full, unquantised model. Raises BadModel for anything else."""
    if folder.is_file():
        kind = "a GGUF file, exported already" if folder.suffix == ".gguf" else "a file"
        raise BadModel(f"{folder}: is {kind}; expected a model folder (config.json, *.safetensors, tokenizer.json)")
    if not folder.is_dir():
        raise BadModel(
            f"{folder}: no such folder; expected a model folder (config.json, *.safetensors, tokenizer.json)"
        )
    if is_adapter(folder):
        raise BadModel(f"{folder}: this is a LoRA adapter; merge it into its base model and export the merged folder")
    file = folder / "config.json"
    if not any(folder.glob("*.safetensors")) and (packed := sorted(folder.glob("*.gguf"))):
        raise BadModel(
            f"{folder}: holds GGUF files ({packed[0].name}), quantised already; export from the model they were made of"
        )
    config = read_json(file, "a model folder has its architecture there")
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadModel(f"{file}: names no architecture; expected for instance LlamaForCausalLM")
    _refuse_quantised(file, config)
    return config


def read_json(file: Path, purpose: str) -> dict[str, Any]:
    """The JSON object in a file. Raises BadModel where it is missing or no object; `purpose` says what it is for."""
    try:
        value = json.loads(file.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise BadModel(f"{file}: missing; {purpose}") from None
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        raise BadModel(f"{file}: not readable as JSON ({error}); download or save the model again") from None
    if not isinstance(value, dict):
        raise BadModel(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model: one, or the shards that its index names. Raises BadModel."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        names = sorted(set(_weight_map(index).values()))
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise BadModel(
                f"{folder}: {len(missing)} of {len(names)} weight files are missing ({missing[0]}); "
                "download the model again"
            )
        return [folder / name for name in names]
    if pickled := sorted(file.name for pattern in PICKLED for file in folder.glob(pattern)):
        raise BadModel(
            f"{folder}: holds pickled weights only ({pickled[0]}), which can run code when opened and are never "
            "loaded; use a copy in safetensors, or save it as one with model.save_pretrained(...) where you trust it"
        )
    raise BadModel(f"{folder}: holds no weights; expected {SINGLE} or {INDEX}")


def tensors(folder: Path, files: list[Path]) -> dict[str, Tensor]:
    """Every tensor of the weight files. Raises BadModel where a header is broken, or index and shards disagree."""
    found: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    for file in files:
        for name, tensor in safetensors_file.tensors(file).items():
            if name in found:
                raise BadModel(f"{file}: tensor {name!r} is in {places[name]} too; download or save the model again")
            found[name] = tensor
            places[name] = file.name
    if not found:
        raise BadModel(f"{files[0]}: holds no tensors; download or save the model again")
    if files != [folder / SINGLE]:
        wrong = [name for name, file in _weight_map(folder / INDEX).items() if places.get(name) != file]
        if wrong:
            raise BadModel(
                f"{folder / INDEX}: {len(wrong)} tensors are not in the file that it names (first {wrong[0]!r}); "
                "download or save the model again"
            )
    return found


def _weight_map(index: Path) -> dict[str, str]:
    shards = read_json(index, "it lists the parts").get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(file, str) for file in shards.values()):
        raise BadModel(f"{index}: has no weight_map of tensor names to files; download the model again")
    if strange := [file for file in shards.values() if Path(file).name != file]:
        raise BadModel(f"{index}: names {strange[0]!r}; expected files of the same folder")
    return shards


def _refuse_quantised(file: Path, config: dict[str, Any]) -> None:
    text = config.get("text_config")
    quantisation = config.get("quantization_config") or (text or {}).get("quantization_config")
    if not quantisation:
        return
    method = str(quantisation.get("quant_method", "unnamed")) if isinstance(quantisation, dict) else "unnamed"
    way_out = FULL_WEIGHTS.get(method, "export the model that it was quantised from")
    raise BadModel(f"{file}: the weights are quantised already ({method}); expected full weights: {way_out}")


def _highest_token_id(folder: Path) -> int | None:
    """The highest id in tokenizer.json; None where the tokenizer is of another kind. Raises BadModel for none."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        slow = [name for name in ("tokenizer.model", "vocab.json") if (folder / name).is_file()]
        if not slow:
            raise BadModel(
                f"{folder}: no tokenizer (tokenizer.json or tokenizer.model); save the model's tokenizer here"
            )
        if not (folder / slow[0]).stat().st_size:
            raise BadModel(f"{folder / slow[0]}: is empty; save the model's tokenizer again")
        return None
    read = read_json(file, "the tokenizer")
    model, added = read.get("model"), read.get("added_tokens", [])
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict | list) or not vocabulary or not isinstance(added, list):
        raise BadModel(f"{file}: holds no vocabulary (model.vocab); save the model's tokenizer again")
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    ids += [token.get("id") if isinstance(token, dict) else None for token in added]
    if not all(type(number) is int and number >= 0 for number in ids):
        raise BadModel(f"{file}: has token ids that are no numbers; save the model's tokenizer again")
    return max(ids)
