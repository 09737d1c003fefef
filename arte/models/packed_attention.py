"""Attention of packed rows on a CPU: each example by itself.

transformers' SDPA attention gives a packed row a dense mask, so that every token is held against every other of the row
and most of it is thrown away; the kernels that know where examples begin (flash attention) need a GPU. Here the row is
cut where examples begin. Products are in float32: torch's attention on a CPU takes twice as long in bfloat16.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

NAME = "arte_packed"


def attend_by_example(model: PreTrainedModel, row_tokens: int) -> None:
    """Has `model` attend so, where that is the same as what it does now: on a CPU, by SDPA, with no window in the way.

    Rows must then come with `cu_seq_lens_q` (as TRL's padding-free collator gives it) and without padding.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if (
        model.device.type == "cpu"
        and model.config._attn_implementation == "sdpa"
        and (window is None or window >= row_tokens)
    ):
        model.set_attn_implementation(NAME)


def _packed(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    *,
    cu_seq_lens_q: torch.Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_others: Any,
) -> tuple[torch.Tensor, None]:
    """`query` (1, heads, tokens, width), `key` and `value` (1, fewer heads or as many, tokens, width).

    `cu_seq_lens_q` (examples + 1): where each example begins, and the number of tokens. Gives (1, tokens, heads,
    width).
    """
    lengths = cu_seq_lens_q.diff().tolist()
    with torch.autocast("cpu", enabled=False):
        examples = zip(*(torch.split(states.float(), lengths, 2) for states in (query, key, value)), strict=True)
        heeded = [
            scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout, scale=scaling, enable_gqa=True)
            for q, k, v in examples
        ]
        return torch.cat(heeded, 2).transpose(1, 2).contiguous().to(query.dtype), None


def _no_mask(**_given: Any) -> None:
    """The cuts are the mask."""


AttentionInterface.register(NAME, _packed)
AttentionMaskInterface.register(NAME, _no_mask)
