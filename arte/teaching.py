"""The stages of the students: each arm's is trained on its examples, and all answer the same test items."""

from pathlib import Path

from arte.arms import (
    MADE,
    choice_of,
    drafts_folder,
    score_of,
    scores_folder,
    tailored_scores_folder,
    teacher_of,
    trained,
)
from arte.one_run import Run
from arte.provenance import digest
from arte.recipe import Arm
from arte.rows import Example
from arte.stages.evaluate import chats
from arte.stages.evaluate import evaluate as ask
from arte.workspace import Figures, StageFolder


def student_folder(run: Run, arm: Arm) -> Path:
    """The weights of an arm's student."""
    return run.models.student.path if arm == "untrained" else run.done[f"distill/{arm}"].path / "model"


def student_fingerprint(run: Run, arm: Arm) -> str:
    """Of what an arm's student was made from."""
    return run.models.student.sha256 if arm == "untrained" else run.done[f"distill/{arm}"].fingerprint


def examples(run: Run) -> dict[Arm, list[Example]]:
    """Each arm's examples: the seeds, as often as the recipe says, then equally many drafts."""
    from arte.stages.choosing import candidates, equal_share, item_as_example

    settings = run.recipe.distill
    drafted = {}
    for arm in trained(run.recipe.arms):
        choice, teacher = choice_of(arm, run.recipe), teacher_of(arm, run.recipe)
        scored = run.done[_scores_of(run, arm)].path if choice != "random" else None
        folder = run.done[drafts_folder(teacher)].path
        drafted[arm] = (choice, candidates(folder, scored, choice, checked=MADE[arm].checked))
    shares = equal_share(drafted, settings.examples, run.recipe.seed)
    seeds = [item_as_example(item) for item in run.splits.seeds] * settings.seeds
    return {arm: [*seeds, *share] for arm, share in shares.items()}


def _scores_of(run: Run, arm: Arm) -> str:
    """Name of the stage that scored the drafts that an arm chooses from."""
    if (teacher := teacher_of(arm, run.recipe)) is not None:
        return tailored_scores_folder(teacher)
    score = score_of(arm, run.recipe)
    assert score is not None
    return scores_folder(score, run.recipe)


def distill(run: Run) -> None:
    """A student for each arm that trains, on equally many examples, in equally many steps of equally many tokens."""
    from arte.models.load import load_tokenizer
    from arte.stages.distill import distill as train
    from arte.stages.distill import steps_of

    settings = run.recipe.distill
    every = examples(run)
    tokenizer = load_tokenizer(run.models.student.path, run.recipe.student.trust_remote_code)
    steps = max(steps_of(those, run.task, tokenizer, settings) for those in every.values())
    for arm, those in every.items():

        def work(folder: StageFolder, those: list[Example] = those) -> Figures:
            model, tokenizer = run.models.load(run.models.student.path, run.models.trained_dtype)
            bf16 = run.models.dtype == "bfloat16"
            tokens = train(
                folder.path, those, run.task, model, tokenizer, settings, steps=steps, bf16=bf16, seed=run.recipe.seed
            )
            return Figures(tokens_in=tokens)

        given = {
            "distill": settings,
            "examples": digest(those),
            "steps": steps,
            "student": run.models.student.sha256,
            "seed": run.recipe.seed,
        }
        run.stage(f"distill/{arm}", given, work)


def evaluate(run: Run, arm: Arm) -> None:
    """An arm's student on the test items."""
    from arte.stages.answering import Answering

    settings = run.recipe.evaluate

    def work(folder: StageFolder) -> Figures:
        engine = run.models.engine(student_folder(run, arm))
        answering = Answering(engine, folder.path / "replies.jsonl", settings.batch_size, settings.max_tokens)
        slices = run.slices(None)
        asked = chats(slices, run.splits.seeds[: settings.shots], run.task)
        ask(folder.path, slices, [engine.render(chat) for chat in asked], run.task, answering, settings)
        return Figures(tokens_in=answering.tokens_in, tokens_out=answering.tokens_out)

    given = {
        "evaluate": settings,
        "student": student_fingerprint(run, arm),
        "test": digest([*run.splits.test, *run.splits.unseen]),
    }
    run.stage(f"evaluate/{arm}", given, work)
