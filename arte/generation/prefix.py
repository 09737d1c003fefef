"""Rows of tokens that start alike: the shared start is run once, the rest is padded on its left.

    row 0   s s s s | . . a b c        s: shared start, run as one row
    row 1   s s s s | d e f g h        .: padding, masked out and given no position

Positions count real tokens only, so every row is computed as if it stood alone.
"""

from typing import Any, NamedTuple

import torch

from arte.generation.cache import GrowingCache


def common_prefix(rows: list[list[int]]) -> int:
    """How many leading token ids all rows share, leaving every row at least one token of its own."""
    shortest, longest = min(rows), max(rows)
    shared = 0
    for a, b in zip(shortest, longest, strict=False):
        if a != b:
            break
        shared += 1
    return min(shared, min(len(row) for row in rows) - 1)


class Batch(NamedTuple):
    """The rests of some rows. `mask` covers the shared start too: [rows, shared + width]; the others [rows, width]."""

    ids: torch.Tensor
    mask: torch.Tensor
    position: torch.Tensor


def pad_left(rests: list[list[int]], shared: int, device: torch.device) -> Batch:
    """The rests of rows whose first `shared` tokens are in the cache already."""
    width = max(len(rest) for rest in rests)
    ids = torch.zeros((len(rests), width), dtype=torch.long, device=device)
    mask = torch.ones((len(rests), shared + width), dtype=torch.long, device=device)
    for place, rest in enumerate(rests):
        ids[place, width - len(rest) :] = torch.tensor(rest, device=device)
        mask[place, shared : shared + width - len(rest)] = 0
    position = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
    return Batch(ids, mask, position)


def run_prefix(model: Any, ids: list[int]) -> GrowingCache:
    """The cache of one row of tokens; empty where there are none."""
    cache = GrowingCache()
    if ids:
        model(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, logits_to_keep=1)
    return cache
