"""Seeds, probes and tests of published data: how many there are, drawn by the run's seed."""

import random
from collections.abc import Sequence

from arte import recipe
from arte.errors import DataError
from arte.rows import Item


def seeds_and_probes(
    source: str, free: Sequence[Item], settings: recipe.Task, stream: str
) -> tuple[list[Item], list[Item]]:
    """Disjoint draws of the items that no test holds. Raises DataError where there are too few."""
    held_out = settings.held_out
    wanted = settings.seeds + held_out
    if wanted > len(free):
        name = "task.validation" if settings.validation else "task.probes"
        raise DataError(
            f"{source}: task.seeds={settings.seeds} and {name}={held_out} need {wanted} train items, "
            f"but there are {len(free)}; ask for fewer"
        )
    drawn = random.Random(stream).sample(free, len(free))
    return drawn[held_out:wanted], drawn[:held_out]


def tested(source: str, items: list[Item], settings: recipe.Task) -> list[Item]:
    """The first so many test items, or all. Raises DataError where there are not so many."""
    if settings.test is not None and settings.test > len(items):
        raise DataError(
            f"{source}: task.test={settings.test} is more than its {len(items)} test items; ask for fewer, or "
            "leave task.test out to use all"
        )
    return items[: settings.test]
