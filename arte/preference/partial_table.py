"""Spending evaluations where they matter: a part of the drafts × probes table, and what it says of the whole.

Probes are alike: what a draft gains on one tells much of what it gains on others. A pilot of drafts is asked of every
probe; from it come the probes' means and covariances. All other drafts are asked of the few probes that leave least
unknown about a draft's mean over all of them (the conditional variance of a Gaussian), and that mean is predicted.

Dropping drafts in the middle and asking the rest further (successive halving from both ends) was tried, and was worse
at the same price (LOG.md, 2026-11-27).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PILOT = 0.3
"""Share of the evaluations that goes into the pilot; 0.1 and 0.2 told less on a measured table."""


class Predicted(NamedTuple):
    """For each draft: the mean over all probes as it is predicted, the standard error of that, and which probes were
    asked [drafts, probes]."""

    mean: Floats
    error: Floats
    asked: NDArray[np.bool_]


def ask(
    evaluate: Callable[[int, list[int]], Sequence[float]], drafts: int, probes: int, share: float, seed: int
) -> Predicted:
    """`evaluate(draft, places)` gives a draft's values on some probes, and is called once a draft.

    At most `share` of the whole table is asked, but never fewer than three drafts in full.
    """
    generator = np.random.default_rng(seed)
    budget = int(share * drafts * probes)
    values = np.full((drafts, probes), np.nan)
    order = generator.permutation(drafts).tolist()
    size = max(3, round(PILOT * budget / probes)) if share < 1 else drafts
    pilot, others = order[:size], order[size:]
    everything = list(range(probes))
    for draft in pilot:
        values[draft] = evaluate(draft, everything)
    mean, covariance = moments(values[pilot])
    if others and (count := max(0, budget - len(pilot) * probes) // len(others)):
        places = telling(covariance, min(count, probes))
        for draft in others:
            values[draft, places] = evaluate(draft, places)
    predicted, error = predict(values, mean, covariance)
    return Predicted(predicted, error, ~np.isnan(values))


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


def predict(values: Floats, mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Each row's mean over all probes, given those that are not NaN, and its standard error."""
    probes = len(mean)
    weights = np.full(probes, 1 / probes)
    whole = float(weights @ covariance @ weights)
    predicted, error = np.full(len(values), mean.mean()), np.full(len(values), whole**0.5)
    for row, those in enumerate(values):
        seen = np.flatnonzero(~np.isnan(those))
        if len(seen) == probes:
            predicted[row], error[row] = those.mean(), 0.0
        elif len(seen):
            with_mean = covariance[seen] @ weights
            slope = np.linalg.solve(covariance[np.ix_(seen, seen)], with_mean)
            predicted[row] = mean.mean() + slope @ (those[seen] - mean[seen])
            error[row] = max(0.0, whole - float(slope @ with_mean)) ** 0.5
    return predicted, error
