"""The stages of the files: the shipped arm's student is exported, held against itself, and measured."""

from typing import TYPE_CHECKING

from arte.arms import drafts_folder, shipped, teacher_of
from arte.one_run import Run
from arte.provenance import digest
from arte.teaching import student_fingerprint, student_folder
from arte.workspace import Figures, StageFolder

if TYPE_CHECKING:
    from arte_export.student_files import Calibrating


def export(run: Run) -> None:
    """Device files of the shipped student, each with its parity."""
    from arte_export import targets

    from arte.stages.export import export as write
    from arte.stages.export_model import described

    arm, settings = shipped(run.recipe.arms), run.recipe.export
    student = student_folder(run, arm)

    def work(folder: StageFolder) -> Figures:
        name = f"{run.recipe.name}-{run.recipe.scale}"
        return write(
            folder.path,
            student,
            targets.parse(settings.targets),
            described(student, name, run.recipe.student.name, run.task.data_source),
            run.task,
            run.slices(settings.test),
            run.shots,
            _calibrating(run),
            run.recipe.evaluate,
            run.say,
        )

    given = {
        "export": settings,
        "student": student_fingerprint(run, arm),
        "test": digest([*run.splits.test, *run.splits.unseen]),
        **({"shots": digest(run.shots)} if run.shots else {}),
    }
    run.stage("export", given, work)


def _calibrating(run: Run) -> "Calibrating | None":
    """Drafts of the shipped student's teacher, for the importance matrix."""
    from arte.stages import calibration

    arm = shipped(run.recipe.arms)
    if arm == "untrained":
        return None
    return calibration.of_run(
        run.done[drafts_folder(teacher_of(arm, run.recipe), run.recipe.rounds)].path,
        run.done[f"distill/{arm}"].path,
        run.recipe.export.calibration,
        run.task,
        student_folder(run, arm),
    )


def bench(run: Run) -> None:
    """Speed, memory and accuracy of each file on this machine."""
    from arte.stages.bench import bench as measure

    def work(folder: StageFolder) -> Figures:
        return measure(
            folder.path,
            run.done["export"].path,
            run.recipe.bench,
            run.recipe.devices,
            run.task,
            run.splits.test,
            run.say,
        )

    given = {
        "bench": run.recipe.bench,
        "export": run.done["export"].fingerprint,
        "devices": run.recipe.devices,
    }
    run.stage("bench", given, work)
