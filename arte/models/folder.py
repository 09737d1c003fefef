"""A model folder as transformers writes it, checked without loading it: config.json, safetensors, tokenizer."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arte_export import model_folder, safetensors_file
from arte_export.errors import BadModel
from arte_export.model_folder import TOKENIZER_FILES
from arte_export.package_index import file_sha256

from arte.errors import ModelError

Source = Literal["hub", "folder", "index"]


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


def context_tokens(path: Path) -> int | None:
    """Most tokens that the model was made to read, as its config.json has it; null where it names none."""
    found = _json_object(path / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) else None


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
    with _model_errors():
        return model_folder.weight_files(path)


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
    with _model_errors():
        return {name: list(tensor.shape) for name, tensor in safetensors_file.tensors(file).items()}


@contextmanager
def _model_errors() -> Iterator[None]:
    """Has what the export says of a folder be an error of this package."""
    try:
        yield
    except BadModel as error:
        raise ModelError(str(error)) from None


def _json_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError):  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"{file}: is not a JSON object; download or save the model again")
    return value
