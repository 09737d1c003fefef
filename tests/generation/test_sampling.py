import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arte.generation.sampling import NUCLEUS, draw

PROBABILITIES = (0.5, 0.3, 0.2)
DRAWS = 8_000


def logits(probabilities: tuple[float, ...] = PROBABILITIES, rows: int = 1) -> torch.Tensor:
    return torch.tensor([[math.log(p) for p in probabilities]]).expand(rows, -1)


def frequencies(temperature: float, top_p: float) -> list[float]:
    streams = [np.random.default_rng(seed) for seed in range(DRAWS)]
    tokens = draw(logits(rows=DRAWS), streams, temperature, top_p)
    return [(tokens == token).float().mean().item() for token in range(len(PROBABILITIES))]


class Fixed(np.random.Generator):
    """A stream whose every uniform number is the given one."""

    def __init__(self, uniform: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.fixed = uniform

    def random(self, *_arguments: object, **_names: object) -> float:  # type: ignore[override]
        return self.fixed


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, (0.5, 0.3, 0.2)),
        # 0.5 stands before the second token and is short of 0.7; 0.8 before the third is not: .5/.8 and .3/.8 are left
        (1.0, 0.7, (0.625, 0.375, 0.0)),
        (1.0, 0.4, (1.0, 0.0, 0.0)),
        # temperature 0.5 squares the probabilities: .25, .09, .04 of .38
        (0.5, 1.0, (0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38)),
        # then .658 stands before the second token, .895 before the third
        (0.5, 0.7, (0.25 / 0.34, 0.09 / 0.34, 0.0)),
    ],
)
def test_frequencies(temperature: float, top_p: float, expected: tuple[float, ...]) -> None:
    found = frequencies(temperature, top_p)
    for frequency, probability in zip(found, expected, strict=True):
        if probability in (0.0, 1.0):
            assert frequency == probability
        else:  # 4.5 standard errors of a binomial: one run in 10,000 would fall outside, and the seeds are fixed
            assert abs(frequency - probability) < 4.5 * math.sqrt(probability * (1 - probability) / DRAWS)


def test_which_token_a_uniform_number_takes() -> None:
    for uniform, token in ((0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.99, 2)):
        assert draw(logits(), [Fixed(uniform)], 1.0, 1.0).tolist() == [token]
    for uniform, token in ((0.0, 0), (0.62, 0), (0.63, 1), (0.99, 1)):
        assert draw(logits(), [Fixed(uniform)], 1.0, 0.7).tolist() == [token]


def test_the_largest_uniform_number_stays_in_the_nucleus() -> None:
    largest = math.nextafter(1.0, 0.0)  # 1.0 once it is rounded to float32
    assert draw(logits(), [Fixed(largest)], 1.0, 0.7).tolist() == [1]
    assert draw(logits(), [Fixed(largest)], 1.0, 1.0).tolist() == [2]
    assert draw(torch.tensor([[0.0, 9.0, -200.0]]), [Fixed(largest)], 1.0, 1.0).tolist() == [0]


def test_temperature_zero_takes_the_likeliest_and_no_random_number() -> None:
    rows = torch.tensor([[0.1, 0.3, 0.2], [9.0, -1.0, 8.9]])
    stream = np.random.default_rng(0)
    assert draw(rows, [stream, stream], 0.0, 0.5).tolist() == [1, 0]
    assert stream.random() == np.random.default_rng(0).random()


def test_ids_are_those_of_the_vocabulary_not_of_the_order_by_likelihood() -> None:
    rows = logits((0.2, 0.5, 0.3))
    assert [draw(rows, [Fixed(uniform)], 1.0, 1.0).item() for uniform in (0.1, 0.6, 0.9)] == [1, 2, 0]


@given(st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=6), st.integers(0, 2**32 - 1), st.floats(0.05, 1.0))
def test_each_row_uses_one_number_of_its_own_stream(values: list[float], seed: int, top_p: float) -> None:
    row = torch.tensor([values])
    alone = draw(row, [np.random.default_rng(seed)], 1.0, top_p)
    streams = [np.random.default_rng(number) for number in (seed + 1, seed, seed + 2)]
    together = draw(torch.cat([row.flip(1), row, row]), streams, 1.0, top_p)
    assert together[1] == alone[0]
    for number, stream in zip((seed + 1, seed, seed + 2), streams, strict=True):
        assert stream.random() == np.random.default_rng(number).random(2)[1]


def test_a_vocabulary_larger_than_the_nucleus_that_is_looked_at() -> None:
    row = torch.zeros(1, 4 * NUCLEUS)
    row[0, 3 * NUCLEUS] = 20.0  # all but certain
    assert draw(row, [np.random.default_rng(1)], 1.0, 1.0).tolist() == [3 * NUCLEUS]
