"""A key/value cache that grows in place.

transformers' DynamicCache concatenates at every step, which copies the whole cache for each token; on a CPU that costs
as much as the model. Here room grows by a quarter when it runs out, so most steps copy one token.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 64
"""Tokens of room added beyond what is needed, at least."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, each [rows, key-value heads, tokens, head size], as views of larger buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.key_buffer: torch.Tensor | None = None
        self.value_buffer: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends along the token axis and returns all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if self.key_buffer is None or self.value_buffer is None or self.key_buffer.shape[-2] < new:
            self._make_room(key_states, value_states, old, new)
        assert self.key_buffer is not None
        assert self.value_buffer is not None
        self.key_buffer[:, :, old:new] = key_states
        self.value_buffer[:, :, old:new] = value_states
        self.keys = self.key_buffer[:, :, :new]
        self.values = self.value_buffer[:, :, :new]
        return self.keys, self.values

    def _make_room(self, key_states: torch.Tensor, value_states: torch.Tensor, old: int, new: int) -> None:
        room = max(new + ROOM, old * 5 // 4)
        keys = key_states.new_empty((*key_states.shape[:2], room, key_states.shape[-1]))
        values = value_states.new_empty((*value_states.shape[:2], room, value_states.shape[-1]))
        if old:
            keys[:, :, :old] = self.keys
            values[:, :, :old] = self.values
        self.key_buffer, self.value_buffer = keys, values

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keeps these rows, in this order. Only those that change their place are copied, once there is a buffer."""
        if self.key_buffer is None or self.value_buffer is None:
            self.keys, self.values = self.keys[rows], self.values[rows]
            return
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        tokens = self.get_seq_length()
        self.key_buffer[moved, :, :tokens] = self.keys[rows[moved]]
        self.value_buffer[moved, :, :tokens] = self.values[rows[moved]]
        self.key_buffer, self.value_buffer = self.key_buffer[: len(rows)], self.value_buffer[: len(rows)]
        self.keys, self.values = self.key_buffer[:, :, :tokens], self.value_buffer[:, :, :tokens]

    def rows(self, index: torch.Tensor) -> "GrowingLayer":
        """A layer with a row for each of `index`, which this one has; of a single row nothing is copied until it
        grows."""
        layer = GrowingLayer()
        layer.lazy_initialization(self.keys, self.values)
        one = len(self.keys) == 1
        layer.keys = self.keys.expand(len(index), -1, -1, -1) if one else self.keys[index]
        layer.values = self.values.expand(len(index), -1, -1, -1) if one else self.values[index]
        return layer


class GrowingCache(Cache):  # type: ignore[misc]
    """A cache of GrowingLayers, for decoder models whose layers all attend to everything before them."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=GrowingLayer)

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keeps these rows of every layer, in this order."""
        for layer in self.layers:
            layer.select_rows(rows)

    def rows(self, index: torch.Tensor) -> "GrowingCache":
        """A cache with a row for each of `index`, which this one has and keeps."""
        cache = GrowingCache()
        cache.layers = [layer.rows(index) for layer in self.layers]
        return cache


def closed_up(stay: list[int]) -> list[int]:
    """The places that stay, in ascending order, rearranged so that few rows move: the last ones fill the gaps."""
    first, last = [], list(stay)
    for place in range(len(stay)):
        first.append(last.pop(0) if last[0] == place else last.pop())
    return first
