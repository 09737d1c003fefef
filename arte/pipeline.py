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

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from arte import preflight, report
from arte.arms import elicits, in_order, scores, teachers, trained
from arte.launched import config_file
from arte.one_run import Run
from arte.recipe import STAGES, Recipe, StageName
from arte.report.contract import Report
from arte.workspace import Workspace


def run(
    recipe: Recipe,
    out: Path | str,
    *,
    until: StageName = "report",
    redo: Iterable[StageName] = (),
    launch: str | None = None,
    say: Callable[[str], None] = print,
) -> Report | None:
    """Runs the recipe in the folder `out`, or goes on where an earlier run of it stopped, and returns its report.

    Stops after the stage `until`; the report is made only at the end of a whole run. `launch`: `accelerate:CONFIG`, by
    which alignment and distillation train in the processes of an accelerate configuration (a YAML file, or ddp, fsdp
    or deepspeed, which come with ARTE). `say` gets one line a stage.
    Raises the errors of arte.errors; what was done stays on disk.
    """
    preflight.check(recipe)
    config = None if launch is None else config_file(launch)
    with Workspace.open(Path(out), recipe, redo=frozenset(redo)) as workspace:
        whole = Run(recipe, workspace, say, config)
        for name, stage in stages(whole):
            if STAGES.index(name) > STAGES.index(until):
                return None
            stage()
            whole.note_kept()
        return report.write(workspace.root) if until == "report" else None


def stages(whole: Run) -> Iterator[tuple[StageName, Callable[[], None]]]:
    """The stages in front of the report, in order; those that no arm needs are left out."""
    from arte import drafting, rounds, shipping, teaching

    arms = whole.recipe.arms
    if elicits(whole.recipe):
        yield "elicit", partial(drafting.elicit, whole)
    if trained(arms):
        yield "prefer", partial(teaching.practise, whole)
    if scores(whole.recipe) or (teachers(whole.recipe) and whole.recipe.tailor.choose != "random"):
        yield "prefer", partial(drafting.choose_probes, whole)
    for score in scores(whole.recipe):
        yield "prefer", partial(drafting.prefer, whole, score)
    for turn in range(1, whole.recipe.rounds + 1):
        for arm in teachers(whole.recipe) if turn > 1 else []:
            yield "prefer", partial(rounds.prefer, whole, arm, turn)
        for arm in teachers(whole.recipe):
            yield "align", partial(drafting.align, whole, arm, turn)
        for arm in teachers(whole.recipe):
            yield "tailor", partial(drafting.tailor, whole, arm, turn)
    if trained(arms):
        yield "distill", partial(teaching.distill, whole)
    for arm in in_order(arms):
        yield "evaluate", partial(teaching.evaluate, whole, arm)
        if whole.recipe.evaluate.tasks:
            yield "evaluate", partial(teaching.ask_lm_tasks, whole, arm)
    yield "export", partial(shipping.export, whole)
    yield "bench", partial(shipping.bench, whole)
