"""Rows of tokens that start alike: a start is run once for all its rows, the rest is padded on its left.

    row 0   s s s s | . . a b c        s, t: starts, each run as one row
    row 1   s s s s | d e f g h        .: padding, masked out and given no position
    row 2   . . t t | . i j k l

Positions count real tokens only, so every row is computed as if it stood alone.
"""

from collections.abc import Sequence
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


class Starts(NamedTuple):
    """Starts of rows: `ids` of each, and which of them each row has."""

    ids: list[list[int]]
    of: list[int]


def starts_of(rows: list[list[int]], groups: Sequence[int]) -> Starts:
    """What the rows of each group share, in order of the groups' first rows; what all rows share, where a group shares
    nothing (a row that is all padding so far would attend to nothing)."""
    names = list(dict.fromkeys(groups))
    members = [[row for row, group in zip(rows, groups, strict=True) if group == name] for name in names]
    shared = [those[0][: common_prefix(those)] for those in members]
    if not all(shared):
        return Starts([rows[0][: common_prefix(rows)]], [0] * len(rows))
    return Starts(shared, [names.index(group) for group in groups])


class Batch(NamedTuple):
    """The rests of some rows. `mask` covers their starts too: [rows, start + width]; the others [rows, width]."""

    ids: torch.Tensor
    mask: torch.Tensor
    position: torch.Tensor


def pad_left(rests: list[list[int]], before: torch.Tensor) -> Batch:
    """The rests of rows whose starts are in the cache already; `before` is the starts' mask [rows, start]."""
    shared, device = before.shape[1], before.device
    width = max(len(rest) for rest in rests)
    ids = torch.zeros((len(rests), width), dtype=torch.long, device=device)
    mask = torch.cat([before, before.new_ones((len(rests), width))], dim=1)
    for place, rest in enumerate(rests):
        ids[place, width - len(rest) :] = torch.tensor(rest, device=device)
        mask[place, shared : shared + width - len(rest)] = 0
    position = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
    return Batch(ids, mask, position)


class Prefix(NamedTuple):
    """Starts that were run: a row of `cache` for each, and which of its columns are real, `mask` [starts, width]."""

    cache: GrowingCache
    mask: torch.Tensor

    def rows(self, of: Sequence[int]) -> "Prefix":
        """A row for each of `of`, which names its start; these rows themselves stay as they are."""
        index = torch.tensor(of, device=self.mask.device)
        return Prefix(self.cache.rows(index), self.mask[index])


def run_prefix(model: Any, starts: list[list[int]]) -> Prefix:
    """Runs each start once; the cache is empty where there is one and it is empty."""
    cache = GrowingCache()
    batch = pad_left(starts, torch.ones((len(starts), 0), dtype=torch.long, device=model.device))
    if batch.ids.shape[1]:
        model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.position,
            past_key_values=cache,
            logits_to_keep=1,
        )
    return Prefix(cache, batch.mask)
