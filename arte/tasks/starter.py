"""School arithmetic in GSM8K's format, made by this project's templates.

Test and unseen items are the same in every run, whatever its seed, so that runs can be compared item by item; a run's
seed draws its seeds and probes. Numbers are small, mostly below 30: with larger ones a student of 135M failed more than
half of all problems on a sum, whatever its drafts had taught it (LOG.md, 2026-11-27). The test items are a third
edition: on the first the recipe had been tuned, and the second had those larger numbers.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from arte import recipe
from arte.errors import DataError
from arte.rows import Item
from arte.tasks.arithmetic import Arithmetic
from arte.tasks.starter_templates_one import ONE_STEP, ONE_STEP_UNSEEN
from arte.tasks.starter_templates_three import THREE_STEPS, THREE_STEPS_UNSEEN
from arte.tasks.starter_templates_two import TWO_STEPS, TWO_STEPS_UNSEEN
from arte.tasks.starter_work import Draws, Template
from arte.tasks.task import Splits

TEST = 400
MOST_UNSEEN = 120
ATTEMPTS = 200
"""Draws of one item before the templates count as used up."""


class Templates(NamedTuple):
    """Templates by the number of steps."""

    one: Sequence[Template]
    two: Sequence[Template]
    three: Sequence[Template]


SEEN = Templates(ONE_STEP, TWO_STEPS, THREE_STEPS)
UNSEEN = Templates(ONE_STEP_UNSEEN, TWO_STEPS_UNSEEN, THREE_STEPS_UNSEEN)


class Starter(Arithmetic):
    """The starter task."""

    name = "starter"
    about = "School arithmetic in 1 to 3 steps, made by this project from templates; needs no hub."
    data_source = "templates written by this project (arte.tasks.starter)"
    licence = "Apache-2.0"

    def test_items(self) -> int:
        return TEST

    def splits(self, settings: recipe.Task, seed: int) -> Splits:
        """The items; one, two and three steps take turns in each list.

        `test` has settings.test items (400 by default), `unseen` 3 for every 10 of them, from 8 to 120. Raises
        DataError where more problems are asked for than the templates can make, or where task.data is set.
        """
        if settings.data is not None:
            raise DataError(
                f"task.data is {settings.data!r}, but the starter task makes its own problems: leave it out"
            )
        size = TEST if settings.test is None else settings.test
        used: set[str] = set()
        test = _items("test3", size, SEEN, "starter-test3", used)
        unseen = _items("unseen", min(MOST_UNSEEN, max(8, size * 3 // 10)), UNSEEN, "starter-unseen", used)
        probes = _items("probe", settings.held_out, SEEN, f"starter-probe-{seed}", used)
        seeds = _items("seed", settings.seeds, SEEN, f"starter-seed-{seed}", used)
        return Splits(seeds, probes, test, unseen)


def _items(split: str, count: int, templates: Templates, stream: str, used: set[str]) -> list[Item]:
    """`count` problems whose questions are not in `used`, and are added to it. A shorter list starts a longer one."""
    numbers = random.Random(stream)
    draws = Draws(numbers)
    orders = [numbers.sample(kind, len(kind)) for kind in templates]
    items = []
    for place in range(count):
        turn, steps = divmod(place, len(orders))
        template = orders[steps][turn % len(orders[steps])]
        for _ in range(ATTEMPTS):
            problem = template(draws)
            if problem.question not in used:
                break
        else:
            raise DataError(
                f"the starter task has no more new problems for item {place + 1} of its {split} split "
                f"({len(used)} made so far): ask for fewer with task.seeds, task.validation, task.probes or task.test"
            )
        used.add(problem.question)
        items.append(
            Item(
                id=f"starter-{split}-{place:04d}",
                question=problem.question,
                rationale=problem.rationale,
                answer=str(problem.answer),
                steps=problem.steps,
                template=template.__name__,
            )
        )
    return items
