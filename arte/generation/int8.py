"""Linear layers with 8-bit weights, for a teacher that writes on a CPU.

Decoding a few dozen rows is limited by products and by reading the weights; with 8 bits both are cheaper. Weights are
rounded per output channel, inputs per row (as LLM.int8() does, arXiv 2208.07339). Rounding all inputs of a call
alike is a fifth faster and costs the drafts their arithmetic: a few rows of a Qwen2.5 hold values hundreds of times as
large as all others', and false equations went from 7 to 23 of 120. A student is never measured this way.
"""

from typing import Any

import torch

from arte import machine

ROWS, WIDTH = 64, 1024
"""Of the products that are timed."""
ROWS_AT_ONCE = 256
"""More at once are slower: whole-numbered results are turned into floats while a CPU's cache still holds them."""


class Int8Linear(torch.nn.Module):
    """y = x·Wᵀ + b with W in int8 [inputs, outputs] and each row of x rounded to 8 bits."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = _scales(weight)
        self.weight = (weight / scales).round_().to(torch.int8).t()
        self.scales = scales[:, 0]
        self.bias = None if linear.bias is None else linear.bias.detach().float()
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., inputs] to [..., outputs], float32."""
        rows = x.reshape(-1, self.in_features)
        made = rows.new_empty((len(rows), self.out_features), dtype=torch.float32)
        for some, out in zip(torch.split(rows, ROWS_AT_ONCE), torch.split(made, ROWS_AT_ONCE), strict=True):
            self._product(some, out)
        return made.view(*x.shape[:-1], self.out_features)

    def _product(self, rows: torch.Tensor, out: torch.Tensor) -> None:
        scales = _scales(rows)
        whole = torch._int_mm((rows / scales).round_().to(torch.int8), self.weight)
        torch.mul(whole, self.scales, out=out).mul_(scales)
        if self.bias is not None:
            out.add_(self.bias)


def _scales(rows: torch.Tensor) -> torch.Tensor:
    """What 1 of 127 stands for, [rows, 1]; a row of zeros stays zero."""
    return (rows.abs().amax(1, keepdim=True) / 127).clamp_(min=1e-12)


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
