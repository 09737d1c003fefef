"""The stages of the teacher: it drafts, is aligned with the student's preference, and drafts again (paper 3.1 to 3.4).

prefer is done once a score, align and tailor once a teacher: as most arms share one, their folders have no more name
than the stage's; `align-shuffled_pairs` is the teacher of another arm.
"""

import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from arte import adapters as reused
from arte import engines, launched
from arte.arms import (
    MADE,
    PairsUsed,
    drafts_folder,
    pairs_folder,
    score_of,
    scores_folder,
    stage_name,
    tailored_scores_folder,
)
from arte.errors import StageError
from arte.generation import Engine
from arte.models import ModelFolder, resolve
from arte.one_run import Run
from arte.preference.pairs_used import shuffled, weighted
from arte.provenance import digest
from arte.recipe import Arm, Model, PreferenceScore, Recipe
from arte.rows import Pair, Rationale, read_rows
from arte.stage_record import Finished
from arte.stages.elicit import elicit as draft
from arte.workspace import Figures, StageFolder


def elicit(run: Run) -> None:
    """Questions and rationales from the teacher as it is."""
    settings = run.recipe.elicit

    def work(folder: StageFolder) -> Figures:
        engines.look(run.recipe)
        return draft(
            folder,
            run.teacher("elicit", folder),
            run.task,
            run.splits.seeds,
            run.held_out,
            settings,
            styles=settings.styles,
            explained=settings.explained,
            rationale_temperature=settings.temperature,
            seed=run.recipe.seed,
        )

    given = {
        "elicit": settings,
        "teacher": run.models.teacher_identity,
        "drafts_in": run.recipe.teacher.drafts_in,
        **run.models.teacher_engine,
        "seeds": digest(run.splits.seeds),
        "held_out": digest(run.held_out),
        "seed": run.recipe.seed,
    }
    run.stage("elicit", given, work)


def choose_probes(run: Run) -> None:
    """Once for all scores: the validation items that tell respondents apart best, where the recipe asks for them."""
    from arte.stages.probing import discriminating_probes

    recipe = run.recipe
    if recipe.prefer.probes == "random":
        return
    models, here = respondents(run), run.models.teacher is not None
    name = "prefer-probes"

    def asked(model: ModelFolder) -> Engine:
        return run.metered(name, run.models.engine(model.path), model.name)

    def work(folder: StageFolder) -> Figures:
        respond: dict[str, Callable[[], Engine]] = {model.name: partial(asked, model) for model in models}
        if not here:
            respond[run.recipe.teacher.name] = lambda: run.teacher(name, folder)
        discriminating_probes(
            folder.path, run.splits.probes, recipe.task.probes, run.splits.seeds, run.task, respond,
            recipe.evaluate.batch_size, recipe.evaluate.max_tokens,
        )  # fmt: skip
        return Figures()

    given = {
        "respondents": [*(model.sha256 for model in models), *([] if here else [run.models.teacher_identity])],
        "validation": digest(run.splits.probes),
        "probes": recipe.task.probes,
        "seeds": digest(run.splits.seeds),
        "max_tokens": recipe.evaluate.max_tokens,
    }
    run.stage(name, given, work)
    chosen = json.loads((run.done[name].path / "probes.json").read_text(encoding="utf-8"))["items"]
    run.probes = [item for item, row in zip(run.splits.probes, chosen, strict=True) if row["chosen"]]


def respondents(run: Run) -> list[ModelFolder]:
    """The models of this machine that answer the validation items, one of a name. Raises ModelError where one cannot
    be had."""
    here = [run.models.student, *([run.models.teacher] if run.models.teacher is not None else [])]
    here += [resolve(Model(name=name)) for name in run.recipe.prefer.respondents]
    return list({model.name: model for model in here}.values())


def prefer(run: Run, score: PreferenceScore) -> None:
    """The student's preference among the drafts, by a score."""
    prefer_among(run, score, scores_folder(score, run.recipe), run.done["elicit"], run.student.path, run.student.sha256)


def prefer_among(
    run: Run, score: PreferenceScore, name: str, drafted: Finished, student: Path, student_digest: str
) -> None:
    """The stage `name`: a student's preference among the drafts of an elicit or tailor stage, and the pairs."""
    from arte.stages.prefer import prefer as collect
    from arte.stages.scoring import scorer

    settings = run.recipe.prefer.model_copy(update={"score": score})
    recipe = run.recipe.model_copy(update={"prefer": settings})

    def work(folder: StageFolder) -> Figures:
        scored = scorer(run, name, settings, student)
        per_prompt = recipe.elicit.questions_per_prompt
        return collect(folder, drafted.path, scored, run.probes, run.task, settings, per_prompt, recipe.seed)

    given = scored_with(run, recipe) | {"student": student_digest, "drafted": drafted.fingerprint}
    run.stage(name, given, work)


def align(run: Run, arm: Arm, turn: int = 1) -> None:
    """The teacher, as aligned in the rounds before, trained on the student's preference, or on what the arm makes of
    it; or its alignment by another run, taken over."""
    if run.adapter is not None:
        _take_over(run, run.adapter)
        return
    from arte.stages.align import align as train
    from arte.stages.align import merge_adapter

    preferred = run.done[pairs_folder(arm, run.recipe, turn)]
    used: PairsUsed = MADE[arm].pairs
    teacher, name = run.models.teacher, stage_name("align", arm, "arte", turn)
    assert teacher is not None, "the recipe's own checks want weights for what is aligned"

    def work(folder: StageFolder) -> Figures:
        pairs = pairs_of(preferred.path, used, run.recipe.seed)
        if run.recipe.align.weighting == "margin":
            pairs = weighted(pairs, run.recipe.seed)
        before = adapters(run, arm, turn - 1)
        if run.launch is not None:
            launched.launch(
                run.launch, folder.path, launched.job(run, name, run.recipe.align, teacher.path, before), pairs
            )
            return Figures()
        # Frozen weights need no finer type than their products; PEFT keeps the adapter's in float32.
        model, tokenizer = run.models.load(teacher.path, run.models.dtype)
        for adapter in before:
            model = merge_adapter(model, adapter)
        bf16 = run.models.dtype == "bfloat16"
        around = run.around(name)
        return train(folder, pairs, model, tokenizer, run.recipe.align, bf16=bf16, seed=run.recipe.seed, around=around)

    given = {
        "align": run.recipe.align.model_dump(exclude={"adapter"}),
        "prefer": preferred.fingerprint,
        "pairs": used,
        "teacher": teacher.sha256,
        "seed": run.recipe.seed,
    }
    if turn > 1:
        given["aligned"] = run.done[stage_name("align", arm, "arte", turn - 1)].fingerprint
    run.stage(name, given, work)


def _take_over(run: Run, adapter: Path) -> None:
    teacher = run.models.teacher
    assert teacher is not None, "the recipe's own checks want weights for what is aligned"

    def work(folder: StageFolder) -> Figures:
        reused.copy(adapter, folder.path / "adapter")
        return Figures()

    run.stage("align", {"adapter": reused.digest(adapter), "teacher": teacher.sha256}, work)


def adapters(run: Run, arm: Arm, turn: int) -> list[Path]:
    """What the rounds up to this one taught a teacher, in order."""
    return [run.done[stage_name("align", arm, "arte", each)].path / "adapter" for each in range(1, turn + 1)]


def pairs_of(preferred: Path, used: PairsUsed, seed: int) -> list[Pair]:
    """The pairs of a prefer folder that a teacher is aligned by. Raises StageError where none is left."""
    pairs = read_rows(preferred / "pairs.jsonl", Pair)
    if used == "shuffled":
        return shuffled(pairs, seed)
    level = {"questions": "question", "rationales": "rationale"}.get(used)
    kept = [pair for pair in pairs if level in (None, pair.level)]
    if not kept:
        raise StageError(
            f"{preferred}: holds no pairs of {used}, which an arm is to be aligned by; raise prefer.question_pairs and "
            "prefer.rationale_pairs, or leave the arm out"
        )
    return kept


def tailor(run: Run, arm: Arm, turn: int = 1) -> None:
    """Questions and rationales from the aligned teacher, under the naive prompt; scored, where they are chosen from."""
    settings, elicit_settings = run.recipe.tailor, run.recipe.elicit
    questions = round(elicit_settings.questions * settings.over)
    elicit_settings = elicit_settings.model_copy(update={"questions": questions})
    # Not that of another run's elicit, whose draws would be the same.
    seed = zlib.crc32(f"tailor-{run.recipe.seed}-{turn}".encode())
    name = drafts_folder(arm, turn)

    def work(folder: StageFolder) -> Figures:
        return draft(
            folder,
            run.teacher(name, folder, adapters(run, arm, turn)),
            run.task,
            run.splits.seeds,
            run.held_out,
            elicit_settings,
            styles=[None] * settings.rationales,
            explained=None,
            rationale_temperature=settings.temperature,
            seed=seed,
        )

    given = {
        "rationales": settings.rationales,
        "temperature": settings.temperature,
        "elicit": elicit_settings,
        "align": run.done[stage_name("align", arm, "arte", turn)].fingerprint,
        "drafts_in": run.recipe.teacher.drafts_in,
        **run.models.teacher_engine,
        "seeds": digest(run.splits.seeds),
        "held_out": digest(run.held_out),
        "seed": run.recipe.seed,
    }
    run.stage(name, given, work)
    if settings.choose != "random":
        _score_tailored(run, arm, turn)


def _score_tailored(run: Run, arm: Arm, turn: int) -> None:
    """Every accepted draft of an aligned teacher, by the score that it was aligned with."""
    from arte.stages.prefer import score as value
    from arte.stages.scoring import scorer

    score = score_of(arm, run.recipe)
    assert score is not None
    settings = run.recipe.prefer.model_copy(update={"score": score})
    recipe = run.recipe.model_copy(update={"prefer": settings})
    drafted = run.done[drafts_folder(arm, turn)]
    name = tailored_scores_folder(arm, turn)

    def work(folder: StageFolder) -> Figures:
        scored = scorer(run, name, settings, run.student.path)
        drafts = [row for row in read_rows(drafted.path / "rationales.jsonl", Rationale) if row.check.accepted]
        value(folder, drafted.path, drafts, scored, run.probes, settings, recipe.seed)
        return Figures()

    given = scored_with(run, recipe) | {"drafted": drafted.fingerprint}
    run.stage(name, given, work)


def scored_with(run: Run, recipe: Recipe) -> dict[str, object]:
    """What a score depends on besides the drafts."""
    settings = recipe.prefer
    given: dict[str, object] = {
        "prefer": settings,
        "student": run.student.sha256,
        "probes": digest(run.probes),
        "seed": recipe.seed,
        **(run.models.student_engine if settings.score.startswith("icl") else {}),
    }
    if settings.score == "icl_accuracy":  # answers of this length, in these batches
        given["answers"] = recipe.evaluate.model_dump(include={"max_tokens", "batch_size"})
    if settings.score.startswith("influence"):  # a step of the student's own training, warmed up on the seeds
        given |= {"distill": recipe.distill, "seeds": digest(run.splits.seeds)}
    return given
