"""Spending evaluations where they matter: a part of the drafts × probes table, and what it says of the whole.

Probes are alike: what a draft gains on one tells much of what it gains on others. A pilot of drafts is asked of every
probe; from it come the probes' means and covariances. All other drafts are asked of the few probes that leave least
unknown about a draft's mean over all of them (the conditional variance of a Gaussian), and that mean is predicted.

Dropping drafts in the middle and asking the rest further (successive halving from both ends) was tried, and was worse
at the same price (LOG.md, 2026-11-27).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PILOT = 0.3
"""Share of the evaluations that goes into the pilot; 0.1 and 0.2 told less on a measured table."""


class Spending(NamedTuple):
    """Which drafts are asked of every probe, which of a few, and of how many."""

    pilot: list[int]
    others: list[int]
    each: int


class Predicted(NamedTuple):
    """The whole table [drafts, probes], what was not asked as it is expected, and the standard error of each row's
    mean [drafts]."""

    values: Floats
    error: Floats


def spend(drafts: int, probes: int, share: float, seed: int) -> Spending:
    """At most `share` of the whole table, but never fewer than three drafts in full.

    With one probe there is nothing to predict from: everything is asked.
    """
    if share == 1 or probes == 1:
        return Spending(list(range(drafts)), [], 0)
    budget = int(share * drafts * probes)
    order = np.random.default_rng(seed).permutation(drafts).tolist()
    size = min(drafts, max(3, round(PILOT * budget / probes)))
    others = drafts - size
    each = min(probes, max(0, budget - size * probes) // others) if others else 0
    return Spending(order[:size], order[size:], each)


def moments(pilot: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of the probes [probes], [probes, probes] from a few whole rows, the covariance drawn towards
    one of equal correlations (Ledoit and Wolf 2004), more the fewer rows there are."""
    rows, probes = pilot.shape
    sample = np.cov(pilot.T).reshape(probes, probes) + 1e-12 * np.eye(probes)
    sd = np.sqrt(np.diag(sample))
    correlation = sample / np.outer(sd, sd)
    equal = (correlation.sum() - probes) / (probes * (probes - 1)) if probes > 1 else 0.0
    target = np.outer(sd, sd) * (equal + (1 - equal) * np.eye(probes))
    weight = probes / (probes + 2 * rows)
    return pilot.mean(axis=0), (1 - weight) * sample + weight * target


def telling(covariance: Floats, count: int) -> list[int]:
    """Probes in the order in which each next one leaves least variance of the mean over all."""
    probes = len(covariance)
    weights = np.full(probes, 1 / probes)
    chosen: list[int] = []
    residual = covariance.copy()  # of all probes, given the chosen
    for _ in range(count):
        with_mean = residual @ weights
        spread = np.diag(residual)
        gain = np.where(spread > 1e-9 * np.diag(covariance), with_mean**2 / np.maximum(spread, 1e-300), -1.0)
        gain[chosen] = -2.0
        best = int(gain.argmax())
        chosen.append(best)
        if residual[best, best] > 0:
            residual = residual - np.outer(residual[:, best], residual[best]) / residual[best, best]
    return chosen


def predict(values: Floats, mean: Floats, covariance: Floats) -> Predicted:
    """What is NaN in `values` [drafts, probes], given the rest of its row."""
    probes = len(mean)
    weights = np.full(probes, 1 / probes)
    whole, error = values.copy(), np.zeros(len(values))
    for row, those in enumerate(values):
        open_ = np.isnan(those)
        seen = np.flatnonzero(~open_)
        slope = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen])  # [seen, probes]
        whole[row, open_] = (mean + (those[seen] - mean[seen]) @ slope)[open_]
        left = weights @ (covariance - covariance[:, seen] @ slope) @ weights
        error[row] = max(0.0, float(left)) ** 0.5 if open_.any() else 0.0
    return Predicted(whole, error)
