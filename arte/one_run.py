"""A run: what its stages are given, and what they left behind."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arte import tasks
from arte.provenance import describe, plain
from arte.recipe import Recipe
from arte.rows import Item
from arte.run_models import RunModels
from arte.stage_record import Finished
from arte.stages.evaluate import Slice
from arte.workspace import Work, Workspace


class Run:
    """One run. Stages are kept by the name of their folder, below the run's."""

    def __init__(self, recipe: Recipe, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.workspace = workspace
        self.say = say
        self.task = tasks.load(recipe.task.name)
        self.splits = self.task.splits(recipe.task, recipe.seed)
        self.models = RunModels(recipe)
        self.student = self.models.student
        """What is asked, and trained by each arm; teaching.practise may put a practised one in its place."""
        self.probes = self.splits.probes[: recipe.task.probes]
        """What a score asks of; drafting.choose_probes may choose others of the validation items."""
        self.done: dict[str, Finished] = {}
        describe(workspace.root, recipe, self.models.teacher, self.models.student, self.models.dtype)

    def stage(self, name: str, given: Mapping[str, Any], work: Work) -> None:
        """Does a stage, or keeps it, and says so in one line."""
        finished = self.workspace.stage(name, plain(given), work)
        self.done[name] = finished
        kept = " (kept from before)" if finished.kept else ""
        self.say(f"{name:9s} {finished.seconds:7.1f} s{kept}")

    def note_kept(self) -> None:
        """Writes kept.json: which stages an earlier process had done."""
        kept = [name for name, finished in self.done.items() if finished.kept]
        (self.workspace.root / "kept.json").write_text(json.dumps(kept))

    @property
    def held_out(self) -> list[Item]:
        """Items that no draft may be near to."""
        return [*self.splits.probes, *self.splits.test, *self.splits.unseen]

    def slices(self, most: int | None) -> dict[Slice, Sequence[Item]]:
        """What is asked in evaluation: all items, or so many of the test items."""
        if most is not None:
            return {"test": self.splits.test[:most]}
        return {"test": self.splits.test, "unseen": self.splits.unseen}
