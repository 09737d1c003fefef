"""A run: what its stages are given, and what they left behind."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arte import adapters, arms, engines, tasks
from arte.generation import Engine
from arte.generation.metered import Billed, Metered, MeteredScoring
from arte.ledger import Ledger
from arte.provenance import describe, plain
from arte.recipe import Recipe
from arte.rows import Item
from arte.run_models import RunModels
from arte.stage_record import Finished
from arte.stages.evaluate import Slice
from arte.tasks import located
from arte.tasks.mixture import first_of_each
from arte.workspace import Figures, StageFolder, Work, Workspace

if TYPE_CHECKING:
    from arte.generation.transformers import TransformersEngine
    from arte.stages.training import Around


class Run:
    """One run. Stages are kept by the name of their folder, below the run's."""

    def __init__(
        self, recipe: Recipe, workspace: Workspace, say: Callable[[str], None], launch: Path | None = None
    ) -> None:
        """`launch`: the accelerate configuration that trainings are started with; None: in this process."""
        self.recipe = recipe
        self.launch = launch
        self.workspace = workspace
        self.say = say
        self.task = tasks.taught(recipe.task.name)
        with located.noted() as read:
            self.splits = self.task.splits(recipe.task, recipe.seed)
        self.models = RunModels(recipe)
        self.adapter = self._adapter()
        """Of a teacher that another run aligned, where the recipe has one."""
        self.student = self.models.student
        """What is asked, and trained by each arm; teaching.practise may put a practised one in its place."""
        self.probes = first_of_each(self.splits.probes, recipe.task.probes)
        """What a score asks of; drafting.choose_probes may choose others of the validation items."""
        self.done: dict[str, Finished] = {}
        self.ledger = Ledger(workspace.root, recipe.limits)
        describe(workspace.root, recipe, self.models, self.task, read)

    def _adapter(self) -> Path | None:
        """Looked at first, as the stage that takes it over comes late. Raises ModelError."""
        name, teacher = self.recipe.align.adapter, self.models.teacher
        if name is None or not arms.teachers(self.recipe):
            return None
        assert teacher is not None, "the recipe's own checks want weights for what is aligned"
        return adapters.found(name, teacher)

    def stage(self, name: str, given: Mapping[str, Any], work: Work) -> None:
        """Does a stage, or keeps it, and says so in one line."""

        def within_limits(folder: StageFolder) -> Figures | None:
            self.ledger.allow(name)
            return work(folder)

        task = {"task": self.task.identity} if self.task.identity else {}
        finished = self.workspace.stage(name, plain({**given, **task}), within_limits)
        self.done[name] = finished
        kept = " (kept from before)" if finished.kept else ""
        self.say(f"{name:9s} {finished.seconds:7.1f} s{kept}")

    def teacher(self, name: str, folder: StageFolder, adapters: Sequence[Path] = ()) -> Engine:
        """The teacher, aligned by these adapters, drafting for the stage `name`. Raises EngineError, ModelError."""
        settings = self.recipe.teacher
        made = engines.teacher(self.recipe, self.models, folder.path, adapters)
        if made.name != settings.engine:
            self.say(f"{name}: this server takes no adapters, so the aligned teacher drafts here, with {made.name}")
        prices = (settings.server.price_in / 1e6, settings.server.price_out / 1e6)
        billed = Billed(name, made.name, settings.name, *(prices if made.name == "openai" else (0.0, 0.0)))
        return Metered(made.engine, self.ledger, billed, made.kept)

    def asked(self, name: str, folder: Path) -> MeteredScoring:
        """A student in its folder, asked in the stage `name`. Raises EngineError, ModelError."""
        engine = engines.student(self.recipe, self.models, folder)
        return MeteredScoring(engine, self.ledger, Billed(name, self.recipe.student.engine, self.recipe.student.name))

    def around(self, name: str) -> "Around":
        """What the training of the stage `name` answers to."""
        from arte.stages.training import Around

        return Around(name, self.recipe.trackers, self.workspace.root / "tensorboard", self.ledger.seconds_left)

    def metered(self, name: str, engine: "TransformersEngine", model: str) -> MeteredScoring:
        """An engine of this process in the stage `name`."""
        return MeteredScoring(engine, self.ledger, Billed(name, "transformers", model))

    def note_kept(self) -> None:
        """Writes kept.json: which stages an earlier process had done."""
        kept = [name for name, finished in self.done.items() if finished.kept]
        (self.workspace.root / "kept.json").write_text(json.dumps(kept))

    @property
    def held_out(self) -> list[Item]:
        """Items that no draft may be near to."""
        return [*self.splits.probes, *self.splits.test, *self.splits.unseen]

    @property
    def shots(self) -> list[Item]:
        """Gold items that stand in front of what is asked in evaluation: seeds of the same task."""
        return first_of_each(self.splits.seeds, self.recipe.evaluate.shots)

    def slices(self, most: int | None) -> dict[Slice, Sequence[Item]]:
        """What is asked in evaluation: all items, or so many of each task's test items."""
        if most is not None:
            return {"test": first_of_each(self.splits.test, most)}
        return {"test": self.splits.test, "unseen": self.splits.unseen}
