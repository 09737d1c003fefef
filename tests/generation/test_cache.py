import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from arte.generation.cache import ROOM, GrowingCache, GrowingLayer, closed_up
from arte.generation.prefix import run_prefix
from arte.generation.transformers import TransformersEngine

ROWS, HEADS, SIZE = 3, 2, 4


def states(numbers: torch.Generator, tokens: int, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (rows, HEADS, tokens, SIZE)
    return torch.rand(shape, generator=numbers), torch.rand(shape, generator=numbers)


@pytest.mark.parametrize("first", [1, 5, ROOM, 3 * ROOM])
def test_a_growing_layer_holds_what_a_dynamic_layer_holds(first: int) -> None:
    numbers = torch.Generator().manual_seed(first)
    growing, dynamic = GrowingLayer(), DynamicLayer()
    moved = set()
    for tokens in [first, *[1] * (2 * ROOM + 3), 7]:
        keys, values = states(numbers, tokens)
        got, expected = growing.update(keys, values), dynamic.update(keys, values)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
        assert growing.get_seq_length() == dynamic.get_seq_length() == got[0].shape[-2]
        moved.add(growing.keys.data_ptr())
    # 138 tokens after the first ones need 2 or 3 buffers, where a concatenation makes a new one at each of 133 steps
    assert len(moved) <= 3


@pytest.mark.parametrize("kept", [[2, 0], [0, 2], [2, 1], [1, 0]])
def test_selected_rows_go_on_alone(kept: list[int]) -> None:
    numbers = torch.Generator().manual_seed(0)
    growing, dynamic = GrowingLayer(), DynamicLayer()
    rows = torch.tensor(kept)
    for tokens in (4, 1):
        keys, values = states(numbers, tokens)
        growing.update(keys, values)
        dynamic.update(keys, values)
    where = growing.keys.data_ptr()
    growing.select_rows(rows)
    dynamic.keys, dynamic.values = dynamic.keys[rows], dynamic.values[rows]
    assert growing.keys.data_ptr() == where
    for _ in range(2 * ROOM):
        keys, values = states(numbers, 1, rows=2)
        got, expected = growing.update(keys, values), dynamic.update(keys, values)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
    assert growing.keys.shape == (2, HEADS, 5 + 2 * ROOM, SIZE)


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_gaps_are_closed_by_the_last_rows(lives: list[bool]) -> None:
    stay = [place for place, lives_on in enumerate(lives) if lives_on]
    closed = closed_up(stay)
    assert sorted(closed) == stay
    assert sum(place != row for place, row in enumerate(closed)) == sum(row >= len(stay) for row in stay)


def test_a_repeated_row_is_shared_until_it_grows() -> None:
    numbers = torch.Generator().manual_seed(0)
    one = GrowingLayer()
    start_keys, start_values = states(numbers, 6, rows=1)
    one.update(start_keys, start_values)
    three, two = one.rows(torch.tensor([0, 0, 0])), one.rows(torch.tensor([0, 0]))
    assert three.keys.data_ptr() == one.keys.data_ptr()
    keys, values = states(numbers, 2, rows=3)
    got = three.update(keys, values)
    assert torch.equal(got[0], torch.cat([start_keys.expand(3, -1, -1, -1), keys], dim=2))
    assert torch.equal(got[1], torch.cat([start_values.expand(3, -1, -1, -1), values], dim=2))
    for layer, rows in ((one, 1), (two, 2)):  # what grew elsewhere is not seen here
        assert torch.equal(layer.keys, start_keys.expand(rows, -1, -1, -1))
        assert torch.equal(layer.values, start_values.expand(rows, -1, -1, -1))


def test_all_layers_of_a_model_follow(student_engine: TransformersEngine) -> None:
    cache = run_prefix(student_engine.model, [[20, 21, 22]]).cache
    repeated = cache.rows(torch.tensor([0, 0, 0, 0]))
    repeated.select_rows(torch.tensor([1, 3]))
    assert isinstance(repeated, GrowingCache)
    assert len(cache.layers) == len(repeated.layers) == student_engine.model.config.num_hidden_layers == 2
    for layer, those in zip(cache.layers, repeated.layers, strict=True):
        assert torch.equal(those.keys, layer.keys.expand(2, -1, -1, -1))
    assert (cache.get_seq_length(), repeated.get_seq_length()) == (3, 3)
