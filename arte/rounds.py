"""Later rounds: the student as trained so far is asked about the drafts of the round before.

Montessori-Instruct (arXiv 2410.14208) does two: what a student can learn from changes as it learns.
"""

from arte.arms import drafts_folder, pairs_folder, score_of, stage_name
from arte.drafting import scored_with
from arte.one_run import Run
from arte.recipe import Arm
from arte.teaching import drafts_of, gold, lesson, steps_of, train
from arte.workspace import Figures, StageFolder


def prefer(run: Run, arm: Arm, turn: int) -> None:
    """Trains the student on an aligned teacher's drafts of the round before, and asks it about these drafts.

    In the folders `distill-round-N` and `prefer-round-N`, with the arm's name in between where it is not arte.
    """
    from arte.stages.prefer import prefer as collect
    from arte.stages.scoring import scorer

    score = score_of(arm, run.recipe)
    assert score is not None
    settings = run.recipe.prefer.model_copy(update={"score": score})
    recipe = run.recipe.model_copy(update={"prefer": settings})
    drafted = run.done[drafts_folder(arm, turn - 1)]
    student = _student(run, arm, turn)
    trained = run.done[student]

    def work(folder: StageFolder) -> Figures:
        scored = scorer(recipe, run.models, trained.path / "model", run.task, run.splits.seeds, run.probes)
        return collect(
            folder, drafted.path, scored, run.task, settings, recipe.elicit.questions_per_prompt, recipe.seed
        )

    given = scored_with(run, recipe) | {"student": trained.fingerprint, "drafted": drafted.fingerprint}
    run.stage(pairs_folder(arm, recipe, turn), given, work)


def _student(run: Run, arm: Arm, turn: int) -> str:
    """Trains a student as if the round before were the last; gives the name of its stage."""
    from arte.stages.choosing import equal_share

    share = equal_share({arm: drafts_of(run, arm, turn - 1)}, run.recipe.distill.examples, run.recipe.seed)[arm]
    those = lesson(run, [*gold(run), *share])
    name = stage_name("distill", arm, "arte", turn)
    train(run, name, those, steps_of(run, those))
    return name
