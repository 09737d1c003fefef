"""The tensors of a GGUF file, one by one, against the same model at its own precision.

Distributions say that something is wrong; this says which tensor. For each tensor m of the source and f of the file:
the scale that f has beside m, ⟨f, m⟩ / ⟨m, m⟩, and the relative error ‖f − m‖ / ‖m‖. Rounding leaves the scale near 1
and an error that the format's bits fix; a tensor that was multiplied, belongs to another model, or lacks an adapter
shows in one or the other.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arte_export import child
from arte_export.errors import BadModel

LIMIT_S = 4 * 3600.0
BLOCK = 1 << 24  # numbers held at once


class Limit(NamedTuple):
    """What a tensor of some type may be: the scale that llama.cpp's rounding gives it, the largest distance from that
    scale, and the largest relative error."""

    centre: float
    scale: float
    error: float


LIMITS = {
    "F32": Limit(1.0, 1e-5, 1e-5),
    "F16": Limit(1.0, 1e-3, 2e-3),
    "BF16": Limit(1.0, 1e-3, 4e-3),
    "Q8_0": Limit(1.0, 0.003, 0.012),
    "Q6_K": Limit(1.0, 0.005, 0.035),
    **dict.fromkeys(("Q5_0", "Q5_1", "Q5_K"), Limit(1.0, 0.03, 0.09)),
    **dict.fromkeys(("Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4"), Limit(1.0, 0.03, 0.16)),
    "Q3_K": Limit(1.0, 0.03, 0.25),
    **dict.fromkeys(("IQ3_S", "IQ3_XXS"), Limit(1.03, 0.03, 0.3)),
    "Q2_K": Limit(0.98, 0.04, 0.45),
}
"""Measured on normally distributed weights (LOG.md): relative error 0.0054 for Q8_0, 0.018 Q6_K, 0.043 Q5_0, 0.087
Q4_0, 0.072 Q4_K, 0.15 Q3_K, 0.17 IQ3_S, 0.30 Q2_K; scale within 0.004 of 1, but 1.03 for IQ3_S and 0.98 for Q2_K.
Q5_1 gives a scale of 1.02 to weights that had 16 levels before. Limits are one and a half times the error at least."""
LOOSEST = Limit(0.9, 0.3, 0.95)
"""Of types with fewer than two bits, which keep little more than signs."""


class Deviation(BaseModel):
    """One tensor and how far it is from its source."""

    model_config = ConfigDict(frozen=True)

    tensor: str
    type: str
    scale: float
    error: float


class Weights(BaseModel):
    """`deviating` are the tensors beyond their type's limit, the worst first; `unchecked` those whose type gguf cannot
    read back; `missing` those that only one side has."""

    model_config = ConfigDict(frozen=True)

    tensors: int
    largest_error: Deviation | None
    largest_scale: Deviation | None
    deviating: list[Deviation]
    unchecked: list[str]
    missing: list[str]


def compare(source: Path, file: Path) -> Weights:
    """Every tensor of `file` against that of `source`. Raises BadModel where one cannot be read, ChildDied."""
    call = partial(_compare, source.resolve(), file.resolve())
    return child.run(call, holding=file, limit_s=LIMIT_S).result


def limit(kind: str) -> Limit:
    """The limit for a GGML type such as "Q4_K"."""
    return LIMITS.get(kind, LOOSEST)


def _compare(source: Path, file: Path) -> Weights:
    expected, found = _tensors(source), _tensors(file)
    deviations, unchecked = [], []
    if found is None or expected is None:
        return Weights(tensors=0, largest_error=None, largest_scale=None, deviating=[], unchecked=["all"], missing=[])
    for name in expected.keys() & found.keys():
        m, f = expected[name], found[name]
        if list(m.shape) != list(f.shape):
            raise BadModel(f"{file}: tensor {name} has shape {list(f.shape)}, in the model {list(m.shape)}")
        try:
            deviations.append(_deviation(name, m, f))
        except NotImplementedError:  # gguf-py packs this type but does not unpack it
            unchecked.append(name)
    beyond = [each for each in deviations if _excess(each) > 1.0]
    return Weights(
        tensors=len(deviations),
        largest_error=max(deviations, key=lambda each: each.error, default=None),
        largest_scale=max(deviations, key=lambda each: abs(each.scale - 1.0), default=None),
        deviating=sorted(beyond, key=_excess, reverse=True),
        unchecked=sorted(unchecked),
        missing=sorted(expected.keys() ^ found.keys()),
    )


def _excess(found: Deviation) -> float:
    bound = limit(found.type)
    return max(abs(found.scale - bound.centre) / bound.scale, found.error / bound.error)


def _tensors(file: Path) -> dict[str, Any] | None:
    """By name; None where the file holds a type that gguf-py has no name for (Q2_0, of version 0.19)."""
    from gguf import GGUFReader

    try:
        return {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    except ValueError as error:
        if "GGMLQuantizationType" in str(error):
            return None
        raise


def _deviation(name: str, m: Any, f: Any) -> Deviation:
    mm = fm = ee = 0.0
    for ours, theirs in zip(_blocks(m), _blocks(f), strict=True):
        mm += float(np.dot(ours, ours))
        fm += float(np.dot(theirs, ours))
        error = theirs - ours
        ee += float(np.dot(error, error))
    scale = fm / mm if mm else 1.0
    return Deviation(tensor=name, type=f.tensor_type.name, scale=scale, error=(ee / mm) ** 0.5 if mm else float(ee > 0))


def _blocks(tensor: Any) -> Iterator[NDArray[np.float32]]:
    """The numbers of a tensor, flat, the same count in each block whatever its type."""
    from gguf import dequantize

    width = int(tensor.shape[0])
    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, BLOCK // width)
    for start in range(0, len(data), step):
        block: NDArray[np.float32] = dequantize(data[start : start + step], tensor.tensor_type)
        yield block.astype(np.float32, copy=False).reshape(-1)
