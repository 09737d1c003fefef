"""What an arm makes of the pairs before its teacher is aligned by them: labels shuffled, or pairs weighted."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from arte.rows import Pair


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """The same pairs, half of them (drawn at random) with chosen and rejected exchanged: what pairs are worth whose
    labels say nothing."""
    turned = set(random.Random(f"shuffled-pairs-{seed}").sample(range(len(pairs)), len(pairs) // 2))
    return [_turned(pair) if place in turned else pair for place, pair in enumerate(pairs)]


def weighted(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """As many pairs, each as often as its share of all margins asks for, up or down to a whole number.

    One systematic draw, so that in expectation a pair weighs exactly in proportion to the size of its margin (which is
    negative where labels were exchanged).
    """
    sizes = [abs(pair.margin) for pair in pairs]
    if not sum(sizes):
        return list(pairs)
    ends = list(accumulate(size / sum(sizes) * len(pairs) for size in sizes))
    start = random.Random(f"weighted-pairs-{seed}").random()
    return [pairs[min(bisect_right(ends, start + turn), len(pairs) - 1)] for turn in range(len(pairs))]


def _turned(pair: Pair) -> Pair:
    low, high = pair.interval or (0.0, 0.0)
    return pair.model_copy(
        update={
            "chosen": pair.rejected,
            "rejected": pair.chosen,
            "chosen_id": pair.rejected_id,
            "rejected_id": pair.chosen_id,
            "margin": -pair.margin,
            "interval": None if pair.interval is None else (-high, -low),
        }
    )
