"""Later rounds: the student as trained so far is asked about the drafts of the round before.

Montessori-Instruct (arXiv 2410.14208) does two: what a student can learn from changes as it learns.
"""

from arte.arms import drafts_folder, pairs_folder, score_of, stage_name
from arte.drafting import prefer_among
from arte.one_run import Run
from arte.recipe import Arm
from arte.teaching import drafts_of, gold, lesson, steps_of, train


def prefer(run: Run, arm: Arm, turn: int) -> None:
    """Trains the student on an aligned teacher's drafts of the round before, and asks it about these drafts.

    In the folders `distill-round-N` and `prefer-round-N`, with the arm's name in between where it is not arte.
    """
    score = score_of(arm, run.recipe)
    assert score is not None
    student = run.done[_student(run, arm, turn)]
    drafted = run.done[drafts_folder(arm, turn - 1)]
    name = pairs_folder(arm, run.recipe, turn)
    prefer_among(run, score, name, drafted, student.path / "model", student.fingerprint)


def _student(run: Run, arm: Arm, turn: int) -> str:
    """Trains a student as if the round before were the last; gives the name of its stage."""
    from arte.stages.choosing import equal_share

    share = equal_share({arm: drafts_of(run, arm, turn - 1)}, run.recipe.distill.examples, run.recipe.seed)[arm]
    those = lesson(run, [*gold(run), *share])
    name = stage_name("distill", arm, "arte", turn)
    train(run, name, those, steps_of(run, those), run.recipe.distill)
    return name
