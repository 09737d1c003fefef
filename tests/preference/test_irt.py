import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import spearmanr

from arte.preference import irt


def simulated(
    respondents: int, items: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Answers of the model itself, and the discriminations, difficulties and abilities that they come from."""
    draw = np.random.default_rng(seed)
    a = np.exp(draw.normal(0, 0.6, items))
    b = draw.normal(0, 1, items)
    theta = draw.normal(0, 1, respondents)
    chance = 1 / (1 + np.exp(-a * (theta[:, None] - b)))
    return draw.random((respondents, items)) < chance, a, b, theta


def test_the_loss_is_minus_the_log_posterior() -> None:
    """Two respondents and two items, the ability integrated by scipy over the whole line."""
    right = np.array([[True, False], [True, True]])
    log_a, b = np.array([0.3, -0.2]), np.array([-0.5, 0.8])

    def density(theta: float, row: NDArray[np.bool_]) -> float:
        p = [1 / (1 + math.exp(-math.exp(s) * (theta - d))) for s, d in zip(log_a, b, strict=True)]
        said = math.prod(q if told else 1 - q for q, told in zip(p, row, strict=True))
        return said * math.exp(-theta * theta / 2) / math.sqrt(2 * math.pi)

    evidence = sum(math.log(quad(density, -12, 12, args=(row,))[0]) for row in right)
    prior = sum(-(s**2) / (2 * 0.5**2) for s in log_a) + sum(-(d**2) / (2 * 2.0**2) for d in b)
    value, _ = irt._loss(np.concatenate([log_a, b]), right.astype(float))
    assert value == pytest.approx(-(evidence + prior), rel=1e-6)


def test_the_gradient_is_that_of_the_loss() -> None:
    right, *_ = simulated(15, 6, seed=1)
    at = np.random.default_rng(2).normal(0, 0.5, 12)
    _, gradient = irt._loss(at, right.astype(float))
    for place in range(12):
        step = np.eye(12)[place] * 1e-5
        above, below = (irt._loss(at + sign * step, right.astype(float))[0] for sign in (1, -1))
        assert gradient[place] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-6)


def test_with_many_respondents_the_truth_is_found() -> None:
    right, a, b, theta = simulated(2000, 40, seed=3)
    found = irt.fit(right)
    assert spearmanr(found.discrimination, a).statistic > 0.95
    assert np.sqrt(np.mean((np.log(found.discrimination) - np.log(a)) ** 2)) < 0.12
    usual = np.abs(b) < 2
    assert np.abs(found.difficulty - b)[usual].max() < 0.4
    assert spearmanr(found.ability, theta).statistic > 0.9


def test_as_many_respondents_as_the_paper_has_choose_better_than_chance() -> None:
    """20 respondents, 40 of 100 items, ten simulations: those chosen discriminate more than the average item, and hold
    more of the 40 best than the 16 that chance would give."""
    gains, hits = [], []
    for seed in range(10):
        right, a, *_ = simulated(20, 100, seed=10 + seed)
        chosen = irt.most_discriminating(irt.fit(right), right, 40)
        assert len(set(chosen)) == 40
        gains.append(a[chosen].mean() / a.mean())
        hits.append(len(set(chosen) & set(np.argsort(-a)[:40].tolist())))
    assert np.mean(gains) > 1.15
    assert min(gains) > 1
    assert np.mean(hits) > 20


def test_items_that_all_or_none_answer_come_last() -> None:
    right, *_ = simulated(12, 8, seed=4)
    right[:, 2], right[:, 5] = True, False
    right[:6, 0], right[6:, 0] = True, False
    chosen = irt.most_discriminating(irt.fit(right), right, 6)
    assert chosen == [0, 1, 3, 4, 6, 7]
    assert irt.most_discriminating(irt.fit(right), right, 8) == list(range(8))
