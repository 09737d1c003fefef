"""Which drafts to train on, by the table of drafts × probes [drafts, probes], more being better.

The highest means alone narrow the data: drafts that help the same probes in the same way crowd out those that help the
others. Coverage asks that every probe be taught by something.
"""

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Choice = Literal["random", "best", "covered", "clustered"]


def choose(table: Floats, count: int, how: Choice, seed: int) -> list[int]:
    """Places of `count` different drafts (all where there are fewer), in the order in which they were chosen."""
    drafts = len(table)
    count = min(count, drafts)
    if how == "random":
        return random.Random(f"choose-{seed}").sample(range(drafts), count)
    means = table.mean(axis=1)
    if how == "best":
        return sorted(range(drafts), key=lambda draft: (-means[draft], draft))[:count]
    return covered(table, count) if how == "covered" else clustered(table, count, seed)


def covered(table: Floats, count: int) -> list[int]:
    """Facility location: the sum over probes of the best gain among the chosen, raised by one draft at a time.

    Greedy is within 1 - 1/e of the best choice of a layer (Nemhauser, Wolsey and Fisher 1978). When no draft raises the
    sum any more, every probe has its best draft; then a new layer begins with the drafts that are left.
    """
    gains = table - table.min(axis=0)
    left = list(range(len(table)))
    chosen: list[int] = []
    reached = np.zeros(table.shape[1])
    while left and len(chosen) < count:
        raised = np.maximum(gains[left] - reached, 0).sum(axis=1)
        best = int(raised.argmax())
        if raised[best] <= 0:
            if not reached.any():  # all that is left is equal on every probe
                return chosen + left[: count - len(chosen)]
            reached = np.zeros(table.shape[1])
            gains = table - table[left].min(axis=0)
            continue
        reached = np.maximum(reached, gains[left[best]])
        chosen.append(left.pop(best))
    return chosen


def clustered(table: Floats, count: int, seed: int) -> list[int]:
    """The best of each cluster of drafts in turn; drafts are alike that help the same probes (k-means over rows from
    which their own mean and each probe's mean are taken; as many clusters as probes, or as different rows)."""
    from scipy.cluster.vq import kmeans2

    profile = table - table.mean(axis=0)
    profile = profile - profile.mean(axis=1, keepdims=True)
    clusters = min(table.shape[1], len(np.unique(profile.round(9), axis=0)))
    _, labels = kmeans2(profile, clusters, minit="++", rng=np.random.default_rng(seed))
    means = table.mean(axis=1)
    order = sorted(range(len(table)), key=lambda draft: (-means[draft], draft))
    return in_turns(order, labels.tolist())[:count]


def in_turns(order: Sequence[int], groups: Sequence[Hashable]) -> list[int]:
    """Places in the given order, but one of each group before the second of any; `groups` by place."""
    seen: Counter[Hashable] = Counter()
    turns = []
    for rank, place in enumerate(order):
        turns.append((seen[groups[place]], rank, place))
        seen[groups[place]] += 1
    return [place for _, _, place in sorted(turns)]
