"""Which validation items tell students apart: two-parameter item response theory.

    P(respondent i answers item j) = 1 / (1 + exp(-a_j (theta_i - b_j)))

a is the item's discrimination, b its difficulty, theta the respondent's ability. ARTE (arXiv 2406.19227, section 4.1
and appendix E) takes the items of highest a as probes. Here a and b are at the maximum of their posterior, with
abilities integrated out over N(0, 1) (Bock and Aitkin 1981): with some 20 respondents, as in the paper, an item's a
would run away to infinity without a prior. log a ~ N(0, 0.5²), b ~ N(0, 2²).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
QUADRATURE = 41
LOG_A_SD = 0.5
B_SD = 2.0


class Fit(NamedTuple):
    """discrimination, difficulty [items]; ability [respondents], the mean of its posterior."""

    discrimination: Floats
    difficulty: Floats
    ability: Floats


def fit(right: NDArray[np.bool_]) -> Fit:
    """`right` [respondents, items]: which respondent answered which item. At least one of each."""
    from scipy.optimize import minimize

    count = right.shape[1]
    share = (right.sum(axis=0) + 0.5) / (len(right) + 1)
    start = np.concatenate([np.zeros(count), -np.log(share / (1 - share))])
    found = minimize(_loss, start, args=(right.astype(float),), jac=True, method="L-BFGS-B")
    discrimination, difficulty = np.exp(found.x[:count]), found.x[count:]
    theta, _ = _nodes()
    posterior = _posterior(discrimination, difficulty, right.astype(float))[0]
    return Fit(discrimination, difficulty, posterior @ theta)


def most_discriminating(fitted: Fit, right: NDArray[np.bool_], count: int) -> list[int]:
    """Places of the `count` items of highest discrimination, in rising order of place.

    An item that all answered, or none, has told nobody apart: its a is the prior's, and it comes last.
    """
    answered = right.sum(axis=0)
    told = (answered > 0) & (answered < len(right))
    order = sorted(range(right.shape[1]), key=lambda place: (not told[place], -fitted.discrimination[place], place))
    return sorted(order[:count])


def _nodes() -> tuple[Floats, Floats]:
    """Abilities and their weights: Gauss-Hermite quadrature of N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    return nodes, weights / weights.sum()


def _posterior(a: Floats, b: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
    """Posterior of abilities [respondents, nodes], log evidence [respondents], P(right) [nodes, items]."""
    theta, weights = _nodes()
    logits = a * (theta[:, None] - b)
    log_right, log_wrong = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    joint = right @ log_right.T + (1 - right) @ log_wrong.T + np.log(weights)
    evidence = np.logaddexp.reduce(joint, axis=1)
    return np.exp(joint - evidence[:, None]), evidence, np.exp(log_right)


def _loss(parameters: Floats, right: Floats) -> tuple[float, Floats]:
    """Minus the log posterior of (log a, b), up to a constant, and its gradient."""
    theta, _ = _nodes()
    log_a, b = np.split(parameters, 2)
    a = np.exp(log_a)
    posterior, evidence, chance = _posterior(a, b, right)
    # d log P / d logit is right - chance, weighted by the posterior of the ability
    weight = posterior.sum(axis=0)
    surplus = posterior.T @ right - weight[:, None] * chance  # [nodes, items]
    by_log_a = (surplus * (theta[:, None] - b)).sum(axis=0) * a
    by_b = -surplus.sum(axis=0) * a
    value = evidence.sum() - (log_a**2).sum() / (2 * LOG_A_SD**2) - (b**2).sum() / (2 * B_SD**2)
    gradient = np.concatenate([by_log_a - log_a / LOG_A_SD**2, by_b - b / B_SD**2])
    return -float(value), -gradient
