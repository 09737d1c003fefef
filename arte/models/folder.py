"""A model folder as transformers writes it, checked without loading it: config.json, safetensors, tokenizer.

The safetensors format (huggingface/safetensors, README "Format"): 8 bytes of little-endian header size, a JSON header
{name: {dtype, shape, data_offsets}}, then the data, without holes, to the end of the file.
"""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arte_export.package_index import file_sha256

from arte.errors import ModelError

Source = Literal["hub", "folder", "index"]

LARGEST_HEADER_BYTES = 100_000_000
DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}
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


class ModelFolder(NamedTuple):
    """A checked model folder."""

    path: Path
    name: str
    """As the recipe has it."""
    source: Source
    sha256: str
    """Digest over name and digest of every weight, configuration and tokenizer file."""
    parameters: int


def inspect(path: Path, name: str, source: Source) -> ModelFolder:
    """Checks a folder and describes it. Reads every byte once, for the digest; loads nothing.

    Raises ModelError where it is no model folder, lacks a tokenizer, has pickled weights only, or a file is cut short
    or is not the one that the hub has.
    """
    config = path / "config.json"
    if not config.is_file():
        adapter = (
            " It is a PEFT adapter: merge it into its base model." if (path / "adapter_config.json").exists() else ""
        )
        raise ModelError(
            f"{path}: holds no config.json; expected a model folder (config, safetensors, tokenizer).{adapter}"
        )
    _json_object(config)
    weights = inspect_weights(path)
    if not any((path / file).is_file() for file in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ModelError(f"{path}: holds no tokenizer (tokenizer.json or tokenizer.model); copy it from the same model")
    described = [config, path / "generation_config.json", *(path / file for file in TOKENIZER_FILES)]
    files = sorted([*weights.files, *(file for file in described if file.is_file())])
    digest = hashlib.sha256("".join(f"{file.name} {_verified_sha256(file)}\n" for file in files).encode()).hexdigest()
    return ModelFolder(path, name, source, digest, weights.parameters)


class Weights(NamedTuple):
    """The weight files of a model folder and how many numbers they hold together."""

    files: list[Path]
    parameters: int


def inspect_weights(path: Path) -> Weights:
    """Checks the headers of all weight files. Raises ModelError as `weight_files` and `tensor_shapes` do."""
    files = weight_files(path)
    return Weights(files, sum(math.prod(shape) for file in files for shape in tensor_shapes(file).values()))


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that make up the model: one, or the shards that its index names."""
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        shards = _json_object(index).get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(file, str) for file in shards.values()):
            raise ModelError(f"{index}: has no weight_map of tensor names to files; download the model again")
        names = sorted(set(shards.values()))
        if strange := [file for file in names if Path(file).name != file]:
            raise ModelError(f"{index}: names {strange[0]!r}; expected files of the same folder")
        if missing := [file for file in names if not (path / file).is_file()]:
            raise ModelError(
                f"{path}: {len(missing)} of {len(names)} weight files are missing ({missing[0]}); "
                "download the model again"
            )
        return [path / file for file in names]
    if pickled := [file.name for pattern in PICKLED for file in path.glob(pattern)]:
        raise ModelError(
            f"{path}: holds pickled weights only ({pickled[0]}), which can run code when opened and are never loaded; "
            "use a copy in safetensors, or save it as one with model.save_pretrained(...) where you trust it"
        )
    raise ModelError(f"{path}: holds no weights; expected model.safetensors or model.safetensors.index.json")


def _verified_sha256(file: Path) -> str:
    """The file's digest. In the hub's cache, large files are links to one that is named by the digest the hub gave."""
    found, stored = file_sha256(file), file.resolve()
    if re.fullmatch("[0-9a-f]{64}", stored.name) and stored.name != found:
        stored.unlink()
        raise ModelError(f"{file}: has SHA-256 {found}, the hub says {stored.name}; it was removed: try again")
    return found


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """The shape of every tensor of a safetensors file, from its header.

    Raises ModelError where the header is broken, or the data has not the size that the header says.
    """

    def broken(found: str) -> ModelError:
        return ModelError(f"{file}: broken safetensors file: {found}; download or save it again")

    size = file.stat().st_size
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(8), "little")
        if size < 8 or header_bytes > min(LARGEST_HEADER_BYTES, size - 8):
            raise broken(f"{size} bytes cannot hold a header of {header_bytes} bytes")
        try:
            header = json.loads(opened.read(header_bytes).decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            raise broken("its header is not JSON") from None
    if not isinstance(header, dict):
        raise broken("its header is not a JSON object")
    shapes = {}
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        match entry:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
                pass
            case _:
                raise broken(f"tensor {name!r} lacks dtype, shape or data_offsets")
        if not all(isinstance(length, int) and length >= 0 for length in shape) or not 0 <= start <= end:
            raise broken(f"tensor {name!r} has shape {shape} at {start} to {end}")
        bits = DTYPE_BITS.get(dtype)
        if bits is not None and math.prod(shape) * bits != 8 * (end - start):
            raise broken(f"tensor {name!r}, {dtype} {shape}, has {end - start} bytes")
        shapes[name] = shape
        spans.append((start, end))
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise broken(f"tensors overlap or leave a hole at byte {position}")
        position = end
    if position != size - 8 - header_bytes:
        raise broken(f"{size - 8 - header_bytes} bytes of data, the header says {position}")
    return shapes


def _json_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes().decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"{file}: is not a JSON object; download or save the model again")
    return value
