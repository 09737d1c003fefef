"""How far a stored number is from what it should be, in units of the last place of its number type (IEEE 754)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DIGITS = {"F64": 53, "F32": 24, "F16": 11, "BF16": 8}
"""Binary digits of the significand (IEEE 754; bfloat16: 8)."""
SMALLEST = {"F64": -969, "F32": -126, "F16": -14, "BF16": -126}
"""Binary exponents of the smallest normal numbers; of F64, so that its last place is one."""
NUMBERS = 1 << 18


def units(stored: "torch.Tensor", wanted: "torch.Tensor", dtype: str, lost: float) -> float:
    """The largest difference of two float64 tensors of one shape, less `lost`, in units of the last place that `dtype`
    (as safetensors calls it) has at the wanted value. NaN where either holds one.
    """
    import torch

    largest = torch.zeros((), dtype=torch.float64)
    # in parts, or an embedding would be held ten times over
    for start in range(0, wanted.numel(), NUMBERS):
        value = wanted.reshape(-1)[start : start + NUMBERS]
        other = stored.reshape(-1)[start : start + NUMBERS]
        # a power of two made of its bits: frexp and ldexp take many times as long
        exponent = (value.view(torch.int64) >> 52 & 0x7FF).clamp_(min=SMALLEST[dtype] + 1023)
        unit = (exponent - (DIGITS[dtype] - 1) << 52).view(torch.float64)
        largest = torch.maximum(largest, ((other - value).abs_() - lost).clamp_(min=0).div_(unit).max())
    return float(largest)
