"""Exercises in the arithmetic alone: a small student's mistakes are sums, whatever it learnt about problems.

Of 390 problems that students of 128 drafts answered, 52 to 62 % failed on a false equation (LOG.md, 2026-11-27), so
that what one draft teaches better than another could hardly be seen.
"""

import random
from collections.abc import Sequence

from arte.rows import Example

A_PAGE = 10
"""Sums in an example."""
QUESTION = f"Work out {A_PAGE} sums."
MOST_PRODUCT = 2500
SMALLER_FACTOR = 25
MOST = 400
"""Numbers of a sum, where the task's own are as large; its results may be larger."""


def pages(count: int, usual: Sequence[int], draw: random.Random) -> list[Example]:
    """`count` sums, rounded up to whole examples of ten, one a line; the answer is that of the last.

    Numbers: near to one of `usual` (see arte.tasks.renumber) in seven of ten, else up to twice the largest of them.
    """
    found = []
    for page in range(-(-count // A_PAGE)):
        lines = [equation(usual, draw) for _ in range(A_PAGE)]
        answer = lines[-1].rpartition(" ")[2]
        found.append(Example(id=f"sums-{page}", question=QUESTION, rationale="\n".join(lines), answer=answer))
    return found


def equation(usual: Sequence[int], draw: random.Random) -> str:
    """`a op b = c`, all whole and positive."""
    while True:
        a, b = _number(usual, draw), _number(usual, draw)
        sign = draw.choice("++--***/")
        product = a * b if a * b <= MOST_PRODUCT and min(a, b) <= SMALLER_FACTOR else None
        if sign == "+":
            return f"{a} + {b} = {a + b}"
        if sign == "-" and a > b:
            return f"{a} - {b} = {a - b}"
        if sign == "*" and product:
            return f"{a} * {b} = {product}"
        if sign == "/" and product:
            return f"{product} / {b} = {a}"


def _number(usual: Sequence[int], draw: random.Random) -> int:
    if usual and draw.random() < 0.7:
        near = draw.choice(usual)
        return draw.randint(max(2, near * 3 // 4), max(2, near * 4 // 3))
    return draw.randint(2, min(MOST, max(10, 2 * max(usual, default=MOST))))
