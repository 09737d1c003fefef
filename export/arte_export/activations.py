"""Sums of squared inputs of every weight matrix in a torch model's blocks, by the names that GGUF has for them."""

import itertools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arte_export import child, gguf_header, lean_transformers
from arte_export.errors import BadModel, ExportError

BATCH_TOKENS = 2048


class Sum(NamedTuple):
    """`squares`: float64, shape (experts, columns), one expert where there are none; `counts`: tokens of each."""

    squares: NDArray[np.float64]
    counts: NDArray[np.int64]


def squared(folder: Path, header: gguf_header.Header, rows: Sequence[Sequence[int]]) -> dict[str, Sum]:
    """The model of `folder` run over the rows (token ids, none empty) in float32; for use in a child process only.

    Raises BadModel (a folder that transformers cannot load, an architecture that has no names in `gguf`), ExportError
    (token ids that the model does not have, activations that are not finite).
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    lean_transformers.prepare()
    import torch
    from transformers import AutoModelForCausalLM

    name_of = _names(folder, header)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        ).eval()
    except (OSError, ValueError) as error:
        raise BadModel(f"{folder}: transformers cannot load it: {error}") from None
    embedded = len(model.get_input_embeddings().weight)
    highest = max(map(max, rows))
    if highest >= embedded or min(map(min, rows)) < 0:
        raise ExportError(
            f"{folder}: its embedding has {embedded} rows, the rows to calibrate on have token ids up to {highest}; "
            "tokenise them with this model's tokenizer"
        )
    sums: dict[str, Sum] = {}
    _attach(model, header, name_of, sums)
    done = 0
    for batch in _batches(rows):
        with torch.inference_mode():
            model.base_model(input_ids=torch.tensor(batch), use_cache=False)
        done += len(batch)
        child.tell(done, len(rows))
    for name, found in sums.items():
        if not np.isfinite(found.squares).all():
            raise ExportError(f"{folder}: the inputs of {name} are not all finite; the model computes nonsense")
    return sums


def _batches(rows: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Rows of equal length together, so that nothing needs padding; the longest first, for they need most memory."""
    batches = []
    ordered = sorted((list(row) for row in rows), key=len, reverse=True)
    for length, group in itertools.groupby(ordered, key=len):
        same = list(group)
        size = max(1, BATCH_TOKENS // length)
        batches += [same[start : start + size] for start in range(0, len(same), size)]
    return batches


def _names(folder: Path, header: gguf_header.Header) -> Callable[[str], str | None]:
    """From a torch module's name to its tensor in the GGUF file; None for what has none."""
    import gguf

    architecture = header.keys.get("general.architecture")
    known = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        raise BadModel(f"{folder}: the installed gguf package has no tensor names for {architecture!r}; update it")
    blocks = int(header.keys[f"{architecture}.block_count"])
    table = gguf.get_tensor_name_map(known[architecture], blocks)

    def name_of(module: str) -> str | None:
        plain = module.replace(".language_model.", ".").removeprefix("language_model.")
        name = table.get_name(plain)
        return None if name is None else f"{name}.weight"

    return name_of


def _attach(model: Any, header: gguf_header.Header, name_of: Callable[[str], str | None], sums: dict[str, Sum]) -> None:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        tensor = name_of(name)
        if isinstance(module, (Linear, Conv1D)) and tensor is not None:
            columns = module.in_features if isinstance(module, Linear) else module.nx
            if tensor.startswith("blk.") and _shape(header, tensor) == (columns, 1):
                sums[tensor] = _zeros(1, columns)
                module.register_forward_pre_hook(_Dense(sums[tensor]))
        elif _fused_experts(module):
            block = re.search(r"\.(\d+)\.", name)
            if block is not None:
                _attach_experts(module, f"blk.{block[1]}.ffn_{{}}_exps.weight", header, sums)


def _shape(header: gguf_header.Header, tensor: str) -> tuple[int, int] | None:
    """Columns and experts of a tensor in the file; None where it has none of that name."""
    if tensor not in header.tensors:
        return None
    columns, _rows, experts = (*header.tensors[tensor].shape, 1, 1)[:3]
    return columns, experts


def _zeros(experts: int, columns: int) -> Sum:
    return Sum(np.zeros((experts, columns)), np.zeros(experts, np.int64))


class _Dense:
    """Adds up the inputs of one linear layer."""

    def __init__(self, into: Sum) -> None:
        self.into = into

    def __call__(self, _module: Any, inputs: tuple[Any, ...]) -> None:
        _add(self.into, 0, inputs[0])


def _add(into: Sum, expert: int, inputs: Any) -> None:
    """`inputs`: a tensor of shape (..., columns)."""
    tokens = inputs.reshape(-1, inputs.shape[-1]).numpy()
    into.squares[expert] += np.einsum("tc,tc->c", tokens, tokens)  # by torch it takes as long as the layer itself
    into.counts[expert] += len(tokens)


def _fused_experts(module: Any) -> bool:
    """Whether it is a transformers 5 experts module (integrations/moe.py) in its plain form: all experts' gate and up
    matrices in one tensor, no biases. The others' weights count as uncalibrated."""
    return bool(
        getattr(module, "has_gate", False)
        and not module.has_bias
        and not module.is_transposed
        and getattr(module, "gate_up_proj", None) is not None
    )


def _attach_experts(module: Any, names: str, header: gguf_header.Header, sums: dict[str, Sum]) -> None:
    experts, both, columns = module.gate_up_proj.shape
    found = {
        part: (names.format(part), width)
        for part, width in (("gate", columns), ("up", columns), ("gate_up", columns), ("down", both // 2))
        if _shape(header, names.format(part)) == (width, experts)
    }
    for tensor, width in found.values():
        sums[tensor] = _zeros(experts, width)
    inner = [sums[tensor] for part, (tensor, _) in found.items() if part == "down"]
    outer = [sums[tensor] for part, (tensor, _) in found.items() if part != "down"]
    module.register_forward_pre_hook(_Experts(outer, inner))


class _Experts:
    """Adds up the inputs of every expert: those of gate and up are given, that of down is computed again."""

    def __init__(self, outer: list[Sum], inner: list[Sum]) -> None:
        self.outer, self.inner = outer, inner

    def __call__(self, module: Any, inputs: tuple[Any, ...]) -> None:
        from torch.nn.functional import linear

        hidden, chosen = inputs[:2]
        tokens = hidden.reshape(-1, hidden.shape[-1])
        chosen = chosen.reshape(len(tokens), -1)
        for expert in chosen.unique().tolist():
            own = tokens[(chosen == expert).any(-1)]
            for into in self.outer:
                _add(into, expert, own)
            activated = module._apply_gate(linear(own, module.gate_up_proj[expert])) if self.inner else own
            for into in self.inner:
                _add(into, expert, activated)
