"""Linear layers with 8-bit weights, for a teacher that writes on a CPU.

Decoding a batch of a few dozen rows is limited by reading the weights; at 8 bits they are a quarter of float32. Weights
are rounded per output channel, activations per call (torch's fbgemm kernels). The text differs slightly from the
float32 model's, which matters little where it is sampled at temperature 1; a student is never measured this way.
"""

import warnings
from typing import Any

import torch

from arte import machine

ROWS, WIDTH = 64, 1024
"""Of the products that are timed."""


class Int8Linear(torch.nn.Module):
    """y = x·Wᵀ + b with W in int8 [outputs, inputs] and x rounded to 8 bits over the whole call."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its successor, which has no CPU kernel for this
            zeros = torch.zeros_like(scales, dtype=torch.long)
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(rounded, bias)
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., inputs] to [..., outputs], float32."""
        # reduce_range: without AVX512-VNNI the kernels add pairs of products in 16 bits, which full range overflows.
        made: torch.Tensor = torch.ops.quantized.linear_dynamic(x.contiguous(), self.packed, True)
        return made


def is_faster(dtype: str) -> bool:
    """Whether products of a batch of rows take less time here with 8-bit weights than in `dtype`, measured.

    A CPU with VNNI instructions has twice the speed of bfloat16 so; one with AMX is faster in bfloat16.
    """
    rows = torch.ones(ROWS, WIDTH)
    whole = torch.nn.Linear(WIDTH, WIDTH, bias=False)
    rounded = Int8Linear(whole)
    whole.to(getattr(torch, dtype))
    in_dtype = rows.to(getattr(torch, dtype))
    with torch.inference_mode():
        return machine.quickest_s(lambda: rounded(rows)) < machine.quickest_s(lambda: whole(in_dtype))


def to_int8(model: Any) -> Any:
    """The model with every linear layer replaced, the output layer too; the float32 weights are freed."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear:
                setattr(parent, name, Int8Linear(child))
    return model
