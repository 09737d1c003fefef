"""The whole of ARTE in the order it happens.

elicit     the teacher drafts questions and rationales           (paper 3.1)
prefer     each draft is shown to the student as an example      (paper 3.2)
align      the teacher learns what the student learns from       (paper 3.3)
tailor     the aligned teacher drafts again                      (paper 3.4)
distill    a student is trained on each arm's drafts             (paper 3.4)
evaluate   every arm answers the same test items
export     the student becomes device files, checked against it
bench      the files are measured, on this machine and the task
report     what came out, with intervals
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arte import preflight, report, tasks
from arte.provenance import describe, digest, plain
from arte.recipe import STAGES, Recipe, StageName
from arte.report.contract import Report
from arte.rows import Example, Item, Pair, read_rows
from arte.run_models import RunModels
from arte.stages.evaluate import Slice, chats, evaluate
from arte.workspace import Figures, Finished, StageFolder, Workspace

if TYPE_CHECKING:
    from arte_export.student_files import Calibrating

TRAINED: tuple[Literal["unaligned", "arte"], ...] = ("unaligned", "arte")
"""The arms that train a student, in order."""


def run(
    recipe: Recipe,
    out: Path | str,
    *,
    until: StageName = "report",
    redo: Iterable[StageName] = (),
    say: Callable[[str], None] = print,
) -> Report | None:
    """Runs the recipe in the folder `out`, or goes on where an earlier run of it stopped, and returns its report.

    Stops after the stage `until`; the report is made only at the end of a whole run. `say` gets one line a stage.
    Raises the errors of arte.errors; what was done stays on disk.
    """
    preflight.check(recipe)
    with Workspace.open(Path(out), recipe, redo=frozenset(redo)) as workspace:
        whole = _Run(recipe, workspace, say)
        for name, stage in whole.stages().items():
            if STAGES.index(name) > STAGES.index(until):
                return None
            whole.tell(name, stage())
        return report.write(workspace.root) if until == "report" else None


class _Run:
    """One run: what its stages are given and what they leave behind."""

    def __init__(self, recipe: Recipe, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.workspace = workspace
        self.say = say
        self.task = tasks.load(recipe.task.name)
        self.splits = self.task.splits(recipe.task, recipe.seed)
        self.models = RunModels(recipe)
        self.done: dict[str, Finished] = {}
        describe(workspace.root, recipe, self.models.teacher, self.models.student, self.models.dtype)

    def stages(self) -> dict[StageName, Callable[[], Finished]]:
        """The stages in front of the report, in order; without the arm that needs them, some are left out."""
        drafted: dict[StageName, Callable[[], Finished]] = {"elicit": self.elicit}
        aligned: dict[StageName, Callable[[], Finished]] = {
            "prefer": self.prefer,
            "align": self.align,
            "tailor": self.tailor,
        }
        measured: dict[StageName, Callable[[], Finished]] = {
            "evaluate": self.evaluate,
            "export": self.export,
            "bench": self.bench,
        }
        if not self._trained_arms():
            return measured
        if "arte" not in self.recipe.arms:
            aligned = {}
        return drafted | aligned | {"distill": self.distill} | measured

    def tell(self, name: StageName, finished: Finished) -> None:
        """One line for the terminal."""
        self.done[name] = finished
        kept = " (kept from before)" if finished.kept else ""
        self.say(f"{name:9s} {finished.seconds:7.1f} s{kept}")
        (self.workspace.root / "kept.json").write_text(json.dumps([n for n, f in self.done.items() if f.kept]))

    def elicit(self) -> Finished:
        """Questions and rationales from the teacher as it is."""
        from arte.stages.elicit import elicit

        def work(folder: StageFolder) -> Figures:
            return elicit(
                folder,
                self.models.engine(self.models.teacher.path),
                self.task,
                self.splits.seeds,
                self._held_out(),
                self.recipe.elicit,
                styles=self.recipe.elicit.styles,
                explained=self.recipe.elicit.explained,
                rationale_temperature=self.recipe.elicit.temperature,
                seed=self.recipe.seed,
            )

        given = {
            "elicit": self.recipe.elicit,
            "teacher": self.models.teacher.sha256,
            "drafts_in": self.recipe.teacher.drafts_in,
            "seeds": digest(self.splits.seeds),
            "held_out": digest(self._held_out()),
            "seed": self.recipe.seed,
        }
        return self.workspace.stage("elicit", plain(given), work)

    def prefer(self) -> Finished:
        """The student's preference among the drafts."""
        from arte.stages.prefer import prefer
        from arte.stages.scoring import respondents, scorer

        settings = self.recipe.prefer

        def work(folder: StageFolder) -> Figures:
            score = scorer(folder.path, self.recipe, self.models, self.task, self.splits)
            elicited = self.done["elicit"].path
            per_prompt = self.recipe.elicit.questions_per_prompt
            return prefer(folder, elicited, score, self.task, settings, per_prompt, self.recipe.seed)

        given: dict[str, object] = {
            "prefer": settings,
            "elicit": self.done["elicit"].fingerprint,
            "student": self.models.student.sha256,
            "probes": digest(self.splits.probes[: self.recipe.task.probes if settings.probes == "random" else None]),
            "seed": self.recipe.seed,
        }
        if settings.probes == "irt":
            given |= {
                "respondents": [model.sha256 for model in respondents(self.recipe, self.models).values()],
                "most": self.recipe.task.probes,
                "seeds": digest(self.splits.seeds),
            }
        if settings.score.startswith("influence"):  # a step of the student's own training, warmed up on the seeds
            given |= {"distill": self.recipe.distill, "seeds": digest(self.splits.seeds)}
        return self.workspace.stage("prefer", plain(given), work)

    def align(self) -> Finished:
        """The teacher, trained on the student's preference."""
        from arte.stages.align import align

        def work(folder: StageFolder) -> Figures:
            # Frozen weights need no finer type than their products; PEFT keeps the adapter's in float32.
            model, tokenizer = self.models.load(self.models.teacher.path, self.models.dtype)
            bf16 = self.models.dtype == "bfloat16"
            pairs = read_rows(self.done["prefer"].path / "pairs.jsonl", Pair)
            return align(folder, pairs, model, tokenizer, self.recipe.align, bf16=bf16, seed=self.recipe.seed)

        given = {
            "align": self.recipe.align,
            "prefer": self.done["prefer"].fingerprint,
            "teacher": self.models.teacher.sha256,
            "seed": self.recipe.seed,
        }
        return self.workspace.stage("align", plain(given), work)

    def tailor(self) -> Finished:
        """Questions and rationales from the aligned teacher, under the naive prompt."""
        from arte.stages.elicit import elicit

        settings = self.recipe.tailor

        def work(folder: StageFolder) -> Figures:
            return elicit(
                folder,
                self.models.engine(self.models.teacher.path, adapter=self.done["align"].path / "adapter"),
                self.task,
                self.splits.seeds,
                self._held_out(),
                self.recipe.elicit,
                styles=[None] * settings.rationales,
                explained=None,
                rationale_temperature=settings.temperature,
                seed=self.recipe.seed + 1,
            )

        given = {
            "tailor": settings,
            "elicit": self.recipe.elicit,
            "align": self.done["align"].fingerprint,
            "drafts_in": self.recipe.teacher.drafts_in,
            "seeds": digest(self.splits.seeds),
            "held_out": digest(self._held_out()),
            "seed": self.recipe.seed,
        }
        return self.workspace.stage("tailor", plain(given), work)

    def distill(self) -> Finished:
        """One student for each arm that trains, on equally many examples."""
        from arte.stages.distill import accepted_examples, distill, equal_share, item_as_example

        source: dict[str, StageName] = {"unaligned": "elicit", "arte": "tailor"}
        drafted = {arm: self.done[source[arm]] for arm in self._trained_arms()}

        def work(folder: StageFolder) -> Figures:
            every: dict[str, list[Example]] = {arm: accepted_examples(stage.path) for arm, stage in drafted.items()}
            shares = equal_share(every, self.recipe.distill.examples, self.recipe.seed)
            seeds = [item_as_example(item) for item in self.splits.seeds] * self.recipe.distill.seeds
            arms = {arm: [*seeds, *drafts] for arm, drafts in shares.items()}
            tokens = 0
            for arm, examples in arms.items():
                whole = folder.path / arm / "tokens.json"
                if whole.exists():
                    tokens += int(whole.read_text())
                    continue
                model, tokenizer = self.models.load(self.models.student.path, self.models.trained_dtype)
                trained_on = distill(
                    folder.path / arm,
                    examples,
                    self.task,
                    model,
                    tokenizer,
                    self.recipe.distill,
                    bf16=self.models.dtype == "bfloat16",
                    seed=self.recipe.seed,
                )
                whole.write_text(str(trained_on))
                tokens += trained_on
            return Figures(tokens_in=tokens)

        given = {
            "distill": self.recipe.distill,
            "drafted": {arm: stage.fingerprint for arm, stage in drafted.items()},
            "student": self.models.student.sha256,
            "seed": self.recipe.seed,
        }
        return self.workspace.stage("distill", plain(given), work)

    def evaluate(self) -> Finished:
        """Every arm's student on the same test items."""
        from arte.stages.answering import Answering

        def work(folder: StageFolder) -> Figures:
            tokens_in = tokens_out = 0
            for arm in self.recipe.arms:
                if (folder.path / arm / "samples.jsonl").exists():
                    continue
                engine = self.models.engine(self._student_folder(arm))
                settings = self.recipe.evaluate
                replies = folder.path / f"{arm}.replies.jsonl"
                answering = Answering(engine, replies, settings.batch_size, settings.max_tokens)
                slices = self._slices(None)
                asked = chats(slices, self.splits.seeds[: settings.shots], self.task)
                prompts = [engine.render(chat) for chat in asked]
                evaluate(folder.path / arm, slices, prompts, self.task, answering, settings)
                tokens_in, tokens_out = tokens_in + answering.tokens_in, tokens_out + answering.tokens_out
            return Figures(tokens_in=tokens_in, tokens_out=tokens_out)

        given = {
            "evaluate": self.recipe.evaluate,
            "students": self._students(),
            "arms": self.recipe.arms,
            "test": digest([*self.splits.test, *self.splits.unseen]),
        }
        return self.workspace.stage("evaluate", plain(given), work)

    def export(self) -> Finished:
        """Device files of the shipped student, each with its parity."""
        from arte_export import targets

        from arte.stages.export import export
        from arte.stages.export_model import described

        def work(folder: StageFolder) -> Figures:
            student, settings = self._shipped(), self.recipe.export
            name = f"{self.recipe.name}-{self.recipe.scale}"
            base = self.recipe.student.name
            return export(
                folder.path,
                student,
                targets.parse(settings.targets),
                described(student, name, base, self.task.data_source),
                self.task,
                self._slices(settings.test),
                self.splits.seeds,
                self._calibrating(),
                self.recipe.evaluate,
                self.say,
            )

        given = {
            "export": self.recipe.export,
            "students": self._students(),
            "test": digest([*self.splits.test, *self.splits.unseen]),
        }
        return self.workspace.stage("export", plain(given), work)

    def _calibrating(self) -> "Calibrating | None":
        """Drafts of the shipped student's teacher, for the importance matrix."""
        from arte.stages import calibration

        if "distill" not in self.done:
            return None
        arm = self._shipped_arm()
        return calibration.of_run(
            self.done["tailor" if arm == "arte" else "elicit"].path,
            self.done["distill"].path / arm,
            self.recipe.export.calibration,
            self.task,
            self._shipped(),
        )

    def bench(self) -> Finished:
        """Speed, memory and accuracy of each file on this machine."""
        from arte.stages.bench import bench

        def work(folder: StageFolder) -> Figures:
            return bench(
                folder.path,
                self.done["export"].path,
                self.recipe.bench,
                self.recipe.devices,
                self.task,
                self.splits.test,
                self.say,
            )

        given = {
            "bench": self.recipe.bench,
            "export": self.done["export"].fingerprint,
            "devices": self.recipe.devices,
        }
        return self.workspace.stage("bench", plain(given), work)

    def _held_out(self) -> list[Item]:
        return [*self.splits.probes, *self.splits.test, *self.splits.unseen]

    def _slices(self, most: int | None) -> dict[Slice, Sequence[Item]]:
        if most is not None:
            return {"test": self.splits.test[:most]}
        return {"test": self.splits.test, "unseen": self.splits.unseen}

    def _trained_arms(self) -> list[Literal["unaligned", "arte"]]:
        return [arm for arm in TRAINED if arm in self.recipe.arms]

    def _shipped_arm(self) -> str:
        return [arm for arm in ("untrained", *TRAINED) if arm in self.recipe.arms][-1]

    def _students(self) -> list[str]:
        """Fingerprints of the students that are there to be measured."""
        trained = [self.done["distill"].fingerprint] if "distill" in self.done else []
        return [self.models.student.sha256, *trained]

    def _student_folder(self, arm: str) -> Path:
        return self.models.student.path if arm == "untrained" else self.done["distill"].path / arm / "model"

    def _shipped(self) -> Path:
        return self._student_folder(self._shipped_arm())
