"""What a PEFT LoRA adapter does to each tensor of its base model, from the adapter's files alone.

Hu et al. 2022 (LoRA): W' = W + scale·B·A with scale = alpha/r; Kalajdzievski 2023 (rsLoRA): alpha/√r; Liu et al. 2024
(DoRA): W' = m·V/‖V‖ by output row, V = W + scale·B·A. File layout: PEFT documentation, "PEFT checkpoint format".
"""

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from arte_export import safetensors_file
from arte_export.errors import BadModel
from arte_export.model_folder import ADAPTER_CONFIG, read_json
from arte_export.safetensors_file import Tensor

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode",
    "eva_config", "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type", "bias",
}  # fmt: skip
"""Settings that change nothing once training is over: what was trained shows in the tensors."""
PARTS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
    ".lora_magnitude_vector": "magnitude",
}


TRAINED_WHOLE = re.compile(r"\.(base_layer|modules_to_save)\.")


class Config(BaseModel):
    """The settings of adapter_config.json that merging needs."""

    peft_type: str
    base_model_name_or_path: str | None = None
    r: int = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    ensure_weight_tying: bool = False
    init_lora_weights: bool | str | None = True
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None


class Change(NamedTuple):
    """What the adapter holds for one tensor of the model: keys of its file. Without `a`, `replacement` is all of it."""

    replacement: str | None = None
    a: str | None = None
    b: str | None = None
    magnitude: str | None = None
    scale: float = 0.0
    transposed: bool = False


class Adapter(NamedTuple):
    """A read adapter: `changes` by the name of the tensor in the training's model ("model.norm.weight")."""

    folder: Path
    config: Config
    tensors: dict[str, Tensor]
    changes: dict[str, Change]

    def read(self, key: str) -> "torch.Tensor":
        """A tensor of the adapter in float64."""
        return read(self.folder / WEIGHTS, key, self.tensors[key])

    def apply(self, change: Change, base: "torch.Tensor") -> "torch.Tensor":
        """The model's tensor in float64, from the base's in float64. Raises BadModel where the shapes do not fit."""
        import torch

        weight = base if change.replacement is None else self.read(change.replacement)
        if change.a is None or change.b is None:
            return weight
        a, b = self.read(change.a), self.read(change.b)
        delta = change.scale * (b @ a)
        # PEFT takes the setting for the layers that are stored so (GPT-2's), and ignores it for others of the model
        transposed = change.transposed and delta.T.shape == weight.shape
        if transposed:
            delta = delta.T
        if delta.shape != weight.shape:
            raise BadModel(
                f"{self.folder}: {change.b} and {change.a} give a matrix of {list(delta.shape)}, the base's is "
                f"{list(weight.shape)}; this adapter was trained on another base"
            )
        merged = weight + delta
        if change.magnitude is None:
            return merged
        norm = torch.linalg.vector_norm(merged, dim=0 if transposed else 1, keepdim=True)
        scaled: torch.Tensor = self.read(change.magnitude).reshape(norm.shape) * merged / norm
        return scaled


def read(file: Path, name: str, tensor: Tensor) -> "torch.Tensor":
    """A tensor of a safetensors file in float64. Raises BadModel where it holds no floating-point numbers."""
    import torch

    if tensor.dtype not in FLOATS:
        raise BadModel(f"{file}: {name} is of {tensor.dtype}; expected one of {', '.join(FLOATS)}")
    with file.open("rb") as stream:
        stream.seek(tensor.start)
        data = bytearray(stream.read(tensor.size))
    dtype = getattr(torch, FLOATS[tensor.dtype])
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    whole: torch.Tensor = flat.reshape(tensor.shape).double()
    return whole


def open_adapter(folder: Path) -> Adapter:
    """Reads configuration and header. Raises BadModel for what is no LoRA, or a LoRA of a kind that is not merged."""
    config = _config(folder)
    file = folder / WEIGHTS
    if not file.is_file():
        pickled = "; pickled weights (adapter_model.bin) can run code when opened and are never loaded"
        raise BadModel(
            f"{file}: missing{pickled if (folder / 'adapter_model.bin').is_file() else ''}; "
            "save the adapter with save_pretrained()"
        )
    tensors = safetensors_file.tensors(file)
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    embeddings = set()
    for key in tensors:
        name = key.removeprefix(PREFIX)
        suffix = next((suffix for suffix in PARTS if name.endswith(suffix)), None)
        if suffix is None and ".original_module." not in name:  # of a module trained whole, PEFT may save it as it was
            parts[TRAINED_WHOLE.sub(".", name)]["replacement"] = key
        elif suffix is None:
            continue
        else:
            target = name.removesuffix(suffix) + ".weight"
            parts[target][PARTS[suffix]] = key
            if "embedding" in suffix:
                embeddings.add(target)
    if not parts:
        raise BadModel(f"{file}: holds no tensors; save the adapter again")
    changes = {name: _change(folder, config, tensors, name, found, name in embeddings) for name, found in parts.items()}
    return Adapter(folder, config, tensors, changes)


def _config(folder: Path) -> Config:
    file = folder / ADAPTER_CONFIG
    raw = read_json(file, "an adapter folder has its settings there")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadModel(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}; save the adapter again") from None
    if config.peft_type != "LORA":
        raise BadModel(
            f"{file}: peft_type is {config.peft_type}; only LORA is merged here. Merge it with PEFT "
            "(merge_and_unload), where it can, and export the folder that save_pretrained() writes"
        )
    if config.init_lora_weights not in PLAIN_STARTS:
        raise BadModel(
            f"{file}: init_lora_weights is {config.init_lora_weights!r}: such an adapter belongs to an altered base. "
            "Save it with path_initial_model_for_weight_conversion, which makes a plain LoRA of it"
        )
    unknown = [name for name, value in raw.items() if value and name not in WITHOUT_EFFECT | Config.model_fields.keys()]
    if unknown:
        raise BadModel(
            f"{file}: {unknown[0]} is {str(raw[unknown[0]])[:80]}, which is not merged here; merge with PEFT "
            "(merge_and_unload), where it can, and export the folder that save_pretrained() writes"
        )
    return config


def _change(
    folder: Path, config: Config, tensors: dict[str, Tensor], name: str, found: dict[str, str], embedding: bool
) -> Change:
    if found.keys() == {"replacement"}:
        return Change(found["replacement"])
    expected = {"a", "b", "magnitude"} if config.use_dora else {"a", "b"}
    if found.keys() - {"replacement"} != expected:
        raise BadModel(f"{folder / WEIGHTS}: of {name} it holds only {', '.join(found.values())}; save it again")
    module = name.removesuffix(".weight")
    rank = _by_pattern(folder, config.rank_pattern, module, config.r)
    alpha = _by_pattern(folder, config.alpha_pattern, module, config.lora_alpha)
    a, b = tensors[found["a"]].shape, tensors[found["b"]].shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
        raise BadModel(f"{folder / WEIGHTS}: {found['a']} is {list(a)}, {found['b']} is {list(b)}; expected matrices")
    if a[0] != rank:
        raise BadModel(
            f"{folder}: {found['a']} has rank {a[0]}, {ADAPTER_CONFIG} says {rank}: configuration and weights are not "
            "of the same adapter"
        )
    if embedding and config.use_dora:
        raise BadModel(f"{folder}: DoRA of an embedding ({name}) is not merged here; merge it with PEFT")
    return Change(
        **found,
        scale=alpha / (math.sqrt(rank) if config.use_rslora else rank),
        transposed=embedding or config.fan_in_fan_out,
    )


def _by_pattern(folder: Path, patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first pattern that matches the end of the module's name, as PEFT looks it up."""
    for pattern, value in (patterns or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise BadModel(
                f"{folder / ADAPTER_CONFIG}: pattern {pattern!r} is no regular expression ({error})"
            ) from None
    return default
