"""The stages of the students: each arm's is trained on its examples, and all answer the same test items."""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from arte import launched
from arte.arms import (
    MADE,
    Choice,
    choice_of,
    drafts_folder,
    score_of,
    scores_folder,
    tailored_scores_folder,
    teacher_of,
    trained,
)
from arte.errors import DataError
from arte.one_run import Run
from arte.provenance import digest
from arte.recipe import Arm, Distill
from arte.rows import Example
from arte.stages import lm_tasks, overlap
from arte.stages.evaluate import chats
from arte.stages.evaluate import evaluate as ask
from arte.stages.held_out_loss import evaluate_open
from arte.tasks.mixture import by_task
from arte.workspace import Figures, StageFolder

if TYPE_CHECKING:
    from arte.stages.choosing import Candidate


WHICH_EXAMPLES = ("examples", "seeds", "exercises", "rehearsed", "variants")
"""Settings of distill that say what is trained on, not how."""
OVERLAP = "overlap.json"
PRACTISED = "distill-exercises"
"""Name of the stage that teaches exercises."""


def student_folder(run: Run, arm: Arm) -> Path:
    """The weights of an arm's student."""
    return run.models.student.path if arm == "untrained" else run.done[f"distill/{arm}"].path / "model"


def student_fingerprint(run: Run, arm: Arm) -> str:
    """Of what an arm's student was made from."""
    return run.models.student.sha256 if arm == "untrained" else run.done[f"distill/{arm}"].fingerprint


def examples(run: Run) -> dict[Arm, list[Example]]:
    """Each arm's examples: the seeds, as often as the recipe says, then equally many drafts."""
    from arte.stages.choosing import equal_share

    drafted = {arm: drafts_of(run, arm, run.recipe.rounds) for arm in trained(run.recipe.arms)}
    shares = equal_share(drafted, run.recipe.distill.examples, run.recipe.seed)
    return {arm: lesson(run, [*gold(run), *share]) for arm, share in shares.items()}


def lesson(run: Run, those: list[Example]) -> list[Example]:
    """What a student is trained on: these examples, the same with other numbers, and exercises among them."""
    settings = run.recipe.distill
    draw = random.Random(f"rehearsed-{run.recipe.seed}")
    return [*varied(run, those), *run.task.exercises(settings.rehearsed, run.splits.seeds, draw)]


def varied(run: Run, those: list[Example]) -> list[Example]:
    """Each example as often as distill.variants says, all of them in turn: as it is, then with other numbers."""
    known = {item.question for item in run.held_out}
    seeds = by_task(run.splits.seeds)
    out = list(those)
    for turn in range(1, run.recipe.distill.variants):
        for place, example in enumerate(those):
            draw = random.Random(f"variant-{run.recipe.seed}-{turn}-{place}")
            other = run.task.of(example).varied(example, seeds[example.task], draw)
            out.append(example if other.question in known else other)
    return out


def gold(run: Run) -> list[Example]:
    """The seeds as examples, as often as the recipe says."""
    from arte.stages.choosing import item_as_example

    return [item_as_example(item) for item in run.splits.seeds] * run.recipe.distill.seeds


def drafts_of(run: Run, arm: Arm, turn: int) -> "tuple[Choice, list[Candidate]]":
    """How an arm chooses its drafts, and among which, its teacher as aligned in a round."""
    from arte.stages.choosing import candidates

    choice, teacher = choice_of(arm, run.recipe), teacher_of(arm, run.recipe)
    scored = None
    if choice != "random":
        if teacher is not None:
            scored = run.done[tailored_scores_folder(teacher, turn)].path
        else:
            score = score_of(arm, run.recipe)
            assert score is not None
            scored = run.done[scores_folder(score, run.recipe)].path
    drafted = run.done[drafts_folder(teacher, turn)].path
    return choice, candidates(drafted, scored, choice, checked=MADE[arm].checked)


def to_practise(run: Run) -> list[Example]:
    """The exercises that come before all examples."""
    count = run.recipe.distill.exercises
    return run.task.exercises(count, run.splits.seeds, random.Random(f"exercises-{run.recipe.seed}")) if count else []


def practise(run: Run) -> None:
    """Teaches the student exercises, where the recipe asks for them; all that follows is of this student."""
    exercises = to_practise(run)
    if not exercises:
        return
    settings = run.recipe.distill
    settings = settings.model_copy(update={"learning_rate": settings.exercises_learning_rate})
    train(run, PRACTISED, exercises, steps_of(run, exercises), settings)
    done = run.done[PRACTISED]
    run.student = run.models.student._replace(path=done.path / "model", sha256=done.fingerprint)


def distill(run: Run) -> None:
    """A student for each arm that trains, on equally many examples, in equally many steps of equally many tokens."""
    every = examples(run)
    check_overlap(run, every)
    steps = max(steps_of(run, those) for those in every.values())
    for arm, those in every.items():
        train(run, f"distill/{arm}", those, steps, run.recipe.distill)


def check_overlap(run: Run, every: dict[Arm, list[Example]]) -> None:
    """Holds what is trained on against everything that students are judged by, and writes overlap.json.

    Raises DataError where an example holds a whole test item.
    """
    settings = run.recipe.evaluate
    trained = {str(arm): those for arm, those in every.items()}
    if exercises := to_practise(run):
        trained["exercises"] = exercises
    words = run.recipe.elicit.contamination_words
    tests = {str(name): overlap.items_of(items) for name, items in run.slices(None).items() if items}
    tests |= lm_tasks.passages(lm_tasks.load(settings), words, settings.tasks_limit)
    found = overlap.measure(trained, tests, run.splits.seeds, words)
    rows = [each.model_dump() for each in found]
    (run.workspace.root / OVERLAP).write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    if (problem := overlap.problem(found)) is not None:
        raise DataError(f"{run.workspace.root / OVERLAP}: {problem}")


def steps_of(run: Run, those: list[Example]) -> int:
    """Steps in which a student sees these examples as often as the recipe says."""
    from arte.models.load import load_tokenizer
    from arte.stages.distill import steps_of as counted

    tokenizer = load_tokenizer(run.student.path, run.recipe.student.trust_remote_code)
    return counted(those, run.task, tokenizer, run.recipe.distill)


def train(run: Run, name: str, those: list[Example], steps: int, settings: Distill) -> None:
    """The stage `name`: the run's student, trained on these examples in so many steps."""
    from arte.stages.distill import distill as teach

    def work(folder: StageFolder) -> Figures:
        if run.launch is not None:
            job = launched.job(run, name, settings, run.student.path, (), steps)
            return Figures(tokens_in=launched.launch(run.launch, folder.path, job, those).tokens)
        model, tokenizer = run.models.load(run.student.path, run.models.trained_dtype)
        bf16 = run.models.dtype == "bfloat16"
        tokens = teach(
            folder.path,
            those,
            run.task,
            model,
            tokenizer,
            settings,
            steps=steps,
            bf16=bf16,
            seed=run.recipe.seed,
            around=run.around(name),
        )
        return Figures(tokens_in=tokens)

    given = {
        # What the examples are is in their digest: a change of it must not undo the exercises, on which all rests.
        "distill": settings.model_dump(exclude={*WHICH_EXAMPLES, "exercises_learning_rate"}),
        "examples": digest(those),
        "steps": steps,
        "student": run.student.sha256,
        "seed": run.recipe.seed,
    }
    run.stage(name, given, work)


def evaluate(run: Run, arm: Arm) -> None:
    """An arm's student on the test items: its answers, or, where they are open, its loss on the gold replies too."""
    from arte.stages.answering import Answering, Scoring

    settings = run.recipe.evaluate
    name = f"evaluate/{arm}"

    def work(folder: StageFolder) -> Figures:
        engine = run.asked(name, student_folder(run, arm))
        answering = Answering(engine, folder.path / "replies.jsonl", settings.batch_size, settings.max_tokens)
        scoring = Scoring(engine, folder.path / "options.jsonl", settings.batch_size)
        slices = run.slices(None)
        prompts = [engine.render(chat) for chat in chats(slices, run.shots, run.task)]
        if run.task.open_ended:
            evaluate_open(folder.path, slices, prompts, run.task, answering, engine)
        else:
            ask(folder.path, slices, prompts, run.task, answering, settings, scoring)
        return Figures(tokens_in=answering.tokens_in + scoring.tokens_in, tokens_out=answering.tokens_out)

    given = {
        "evaluate": settings.model_dump(exclude=set(lm_tasks.SETTINGS)),
        "student": student_fingerprint(run, arm),
        "test": digest([*run.splits.test, *run.splits.unseen]),
        **({"shots": digest(run.shots)} if run.shots else {}),
        **({"options": "scored"} if _have_options(run) else {}),
        **run.models.student_engine,
    }
    run.stage(name, given, work)


def _have_options(run: Run) -> bool:
    return any(run.task.of(those[0]).options(those[0].question) for those in by_task(run.splits.test).values())


def ask_lm_tasks(run: Run, arm: Arm) -> None:
    """An arm's student on lm-eval's own tasks (evaluate.tasks)."""
    settings = run.recipe.evaluate
    name = f"evaluate-tasks/{arm}"

    def work(folder: StageFolder) -> Figures:
        from arte.models.folder import context_tokens
        from arte.models.load import load_tokenizer
        from arte.stages.lm_student import LmStudent

        path = student_folder(run, arm)
        engine = run.asked(name, path)
        tokenizer = load_tokenizer(path, run.recipe.student.trust_remote_code)
        made: list[LmStudent] = []

        def make(log: str) -> LmStudent:
            made.append(LmStudent(engine, tokenizer, context_tokens(path), folder.path / log, settings.batch_size))
            return made[-1]

        lm_tasks.ask(lm_tasks.load(settings), make, folder.path, settings.tasks_limit)
        return Figures(
            tokens_in=sum(student.tokens_in for student in made), tokens_out=sum(student.tokens_out for student in made)
        )

    given = {
        "tasks": settings.model_dump(include=set(lm_tasks.SETTINGS)),
        **lm_tasks.identity(settings),
        "student": student_fingerprint(run, arm),
        **run.models.student_engine,
    }
    run.stage(name, given, work)
