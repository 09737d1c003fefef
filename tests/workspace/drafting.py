"""A stage like the product's, in small: seven batches of rows, each row from a seed of its own, then a summary.

Run as a program it is the process that the tests kill: `drafting.py ROOT BATCHES SECONDS_PER_BATCH JOURNAL`. Each
batch that is computed is written down in the journal, so that what was done twice can be counted.
"""

import functools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arte import config
from arte.jsonl import RowLog
from arte.recipe import Recipe
from arte.rows import Row
from arte.workspace import Figures, Finished, StageFolder, Workspace

ROWS_PER_BATCH = 5


class Draft(Row):
    id: str
    text: str
    value: float


@functools.cache
def recipe() -> Recipe:
    return config.load_recipe("gsm8k", "smoke")


def draft(batch: int, number: int, seed: int) -> Draft:
    chance = random.Random(f"{seed}/{batch}/{number}")
    words = "".join(chance.choice("abcé\n\u2028 ") for _ in range(chance.randrange(40)))
    return Draft(id=f"{batch}-{number}", text=words, value=chance.random())


def work(
    batches: int, seed: int, before: Callable[[int], None] = lambda _: None
) -> Callable[[StageFolder], Figures | None]:
    def write_rows(folder: StageFolder) -> Figures:
        log = RowLog(folder.path / "drafts.jsonl", Draft)
        for batch in range(log.batches_done, batches):
            before(batch)
            log.append_batch([draft(batch, number, seed) for number in range(ROWS_PER_BATCH)])
        (folder.path / "summary.txt").write_text(f"{len(log.rows)} rows of seed {seed}", encoding="utf-8")
        return Figures(tokens_in=3, tokens_out=len(log.rows))

    return write_rows


def run(root: Path, batches: int, seed: int = 0, before: Callable[[int], None] = lambda _: None) -> Finished:
    """Two stages, the second given the first one's fingerprint."""
    with Workspace.open(root, recipe()) as workspace:
        given: dict[str, Any] = {"batches": batches, "seed": seed}
        first = workspace.stage("elicit", given, work(batches, seed, before))
        return workspace.stage("prefer", {"elicit": first.fingerprint}, work(1, seed))


if __name__ == "__main__":
    _, root, batches, seconds, journal = sys.argv

    def write_down(batch: int) -> None:
        with Path(journal).open("a", encoding="utf-8") as file:
            file.write(f"{batch}\n")
        time.sleep(float(seconds))

    run(Path(root), int(batches), before=write_down)
