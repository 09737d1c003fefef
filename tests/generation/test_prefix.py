import torch
from hypothesis import given
from hypothesis import strategies as st

from arte.generation.prefix import Starts, common_prefix, pad_left, run_prefix, starts_of
from arte.generation.transformers import TransformersEngine

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5)


@given(ROWS, st.lists(st.integers(0, 2), max_size=4))
def test_common_prefix_is_the_obvious_one(rests: list[list[int]], start: list[int]) -> None:
    rows = [start + rest for rest in rests]
    most = min(len(row) for row in rows) - 1
    obvious = max(count for count in range(most + 1) if all(row[:count] == rows[0][:count] for row in rows))
    assert common_prefix(rows) == obvious
    assert min(len(row) for row in rows) - 1 >= obvious >= min(len(start), most)


def test_common_prefix_by_hand() -> None:
    assert common_prefix([[7, 8, 9, 1], [7, 8, 2], [7, 8, 9]]) == 2
    assert common_prefix([[7, 8], [7, 8]]) == 1  # each row keeps a token of its own to be asked with
    assert common_prefix([[7, 8, 9]]) == 2
    assert common_prefix([[7], [8]]) == 0
    assert common_prefix([[7], [7, 8]]) == 0


def test_pad_left_behind_a_shared_start() -> None:
    batch = pad_left([[11], [12, 13, 14], [15, 16]], torch.ones((3, 2), dtype=torch.long))
    assert batch.ids.tolist() == [[0, 0, 11], [12, 13, 14], [0, 15, 16]]
    assert batch.mask.tolist() == [
        [1, 1, 0, 0, 1],  # the shared start, two of padding, the token
        [1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1],
    ]
    # Two tokens stand in the shared start, so every first real token is at position 2. Padding repeats the position
    # before it, where nobody looks.
    assert batch.position.tolist() == [[1, 1, 2], [2, 3, 4], [1, 2, 3]]


def test_pad_left_without_a_shared_start() -> None:
    batch = pad_left([[11], [12, 13]], torch.ones((2, 0), dtype=torch.long))
    assert batch.ids.tolist() == [[0, 11], [12, 13]]
    assert batch.mask.tolist() == [[0, 1], [1, 1]]
    assert batch.position.tolist() == [[0, 0], [0, 1]]


@torch.inference_mode()
def test_rows_behind_a_shared_start_are_computed_as_if_each_stood_alone(student_engine: TransformersEngine) -> None:
    model = student_engine.model
    start, rests = [20, 21, 22, 23], [[30], [40, 41, 42], [50, 51]]
    cache, before = run_prefix(model, [start]).rows([0] * len(rests))
    batch = pad_left(rests, before)
    logits = model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.position, past_key_values=cache
    ).logits
    for row, rest in enumerate(rests):
        alone = model(input_ids=torch.tensor([start + rest]), use_cache=False).logits[0, len(start) :]
        torch.testing.assert_close(logits[row, -len(rest) :], alone, rtol=1e-4, atol=1e-5)


def test_the_cache_of_no_tokens_is_empty(student_engine: TransformersEngine) -> None:
    cache, mask = run_prefix(student_engine.model, [[]])
    assert cache.get_seq_length() == 0
    assert mask.shape == (1, 0)


def test_starts_of_groups_by_hand() -> None:
    rows = [[7, 8, 9, 1], [7, 5, 5, 2], [7, 8, 9, 2], [7, 5, 5]]
    assert starts_of(rows, [0, 1, 0, 1]) == Starts([[7, 8, 9], [7, 5]], [0, 1, 0, 1])
    assert starts_of(rows, [3, 3, 3, 3]) == Starts([[7]], [0, 0, 0, 0])
    assert starts_of(rows, [0, 0, 0, 1]) == Starts([[7], [7, 5]], [0, 0, 0, 1])
    # The second group shares nothing: all rows have one start, here the empty one.
    assert starts_of([[7, 8, 9], [1, 2], [3, 4]], [0, 1, 1]) == Starts([[]], [0, 0, 0])


@torch.inference_mode()
def test_rows_behind_several_starts_are_computed_as_if_each_stood_alone(student_engine: TransformersEngine) -> None:
    model = student_engine.model
    starts = [[20, 21, 22, 23, 24], [25, 26], [27, 28, 29]]
    of, rests = [1, 0, 2, 0, 1], [[30], [40, 41, 42], [50, 51], [60], [70, 71, 72, 73]]
    cache, before = run_prefix(model, starts).rows(of)
    assert before.tolist() == [[0, 0, 0, 1, 1], [1] * 5, [0, 0, 1, 1, 1], [1] * 5, [0, 0, 0, 1, 1]]
    batch = pad_left(rests, before)
    assert batch.position[0].tolist() == [1, 1, 1, 2]
    logits = model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.position, past_key_values=cache
    ).logits
    for row, (start, rest) in enumerate(zip(of, rests, strict=True)):
        alone = model(input_ids=torch.tensor([starts[start] + rest]), use_cache=False).logits[0, len(starts[start]) :]
        torch.testing.assert_close(logits[row, -len(rest) :], alone, rtol=1e-4, atol=1e-5)
