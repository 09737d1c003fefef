import numpy as np
import pytest

from arte.preference_check import Checked, Result, _subsets, lines, rank_correlation
from arte.rows import Example
from arte.stages.choosing import Candidate


def test_rank_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15) = 0.8
    found, (low, high) = rank_correlation(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.6, 0.5, 0.9]), seed=0)
    assert found == pytest.approx(0.8)
    assert low < 0.8 < high == 1.0
    many = np.arange(40.0)
    noisy = many + np.random.default_rng(0).normal(0, 4, 40)
    found, (low, high) = rank_correlation(many, noisy, seed=0)
    assert 0.8 < low < found < high <= 1
    none, (low, high) = rank_correlation(many, np.random.default_rng(1).normal(size=40), seed=0)
    assert low < 0 < high
    assert low < none < high


def test_subsets_are_the_highest_the_lowest_and_random_ones() -> None:
    drafts = [
        Candidate(Example(id=f"d{n}", question=f"{n}?", rationale="r", answer="1"), "steps", {}) for n in range(8)
    ]
    table = np.array([[0.0, n % 5] for n in range(8)])  # means 0, .5, 1, 1.5, 2, 0, .5, 1
    chosen = _subsets(drafts, {"icl_logprob": table}, size=3, subsets=4, seed=0)
    assert chosen["top-icl_logprob"] == [4, 3, 2]
    assert chosen["bottom-icl_logprob"] == [6, 0, 5]
    others = [chosen[f"random-{number}"] for number in range(4)]
    assert all(len(set(those)) == 3 for those in others)
    assert len({tuple(those) for those in others}) > 1
    assert chosen == _subsets(drafts, {"icl_logprob": table}, size=3, subsets=4, seed=0)


def test_what_is_printed() -> None:
    found = Result([Checked("likelihood", 0.5, (-0.1, 0.9), 0.4, 0.25, 0.02)], [0.3, 0.35], 0.1, 48, 100)
    assert lines(found) == [
        "accuracy on 100 test items after training on 48 drafts:",
        "  untrained 10.0%; random subsets 30.0%, 35.0%",
        "  score                  rank correlation with accuracy      highest   lowest  s a draft",
        "  likelihood             +0.50 (-0.10 to +0.90)                40.0%    25.0%       0.02",
    ]
