"""What a run will cost, before any model is loaded: tokens, time, memory and disk of each stage.

Tokens come from the recipe's counts and the typical lengths below, floating-point operations from tokens and
parameters (2 a token and parameter for a forward pass, 6 for training, 4 where only an adapter learns), seconds from
the speed of a matrix product measured here. On a GPU, decoding is limited by memory rather than by products, so an
estimate there is rough; the report sets each stage's plan beside what it took.
"""

import math
import re
from typing import TYPE_CHECKING, Any

from arte import arms
from arte.recipe import Model, PreferenceScore, Recipe, Teacher
from arte.stages.export import COMPARED_ROWS

if TYPE_CHECKING:
    from rich.table import Table

# Typical lengths in tokens, measured on starter runs (LOG.md).
SEED = 100
"""With its solution, as in the lists of questions."""
DRAFT = 80
"""A drafted question with its solution."""
QUESTION = 60
RATIONALE = 45
INSTRUCTION = 60
STUDENT_PROMPT = 70
ANSWER = 70
SUM = 17
ACCEPTED_QUESTIONS = 0.6
ACCEPTED_RATIONALES = 0.55

ENGINES_STAGES = ("elicit", "prefer", "tailor", "evaluate")
"""Those that ask engines."""

EFFICIENCY = 0.55
"""Share of a large matrix product's speed that a whole model reaches, measured on starter runs (LOG.md)."""
ACTIVATIONS = 140
"""Bytes that a training step holds for each token of this plan, over the root of the parameters (layers times width
grow like it from 0.1B to 7B): measured on a CPU, on the alignment of a 0.5B teacher (LOG.md)."""
CHECKPOINTED = 0.5
"""Share of it that is left with gradient checkpointing, there."""
NAMED_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z0-9])", re.IGNORECASE)


def parameters(model: Model) -> int | None:
    """How many parameters a model has, by its files or its name; None where neither says."""
    from arte import models

    known = models.known_parameters(model)
    if known is not None:
        return known
    sizes = NAMED_SIZE.findall(model.name)
    return int(float(sizes[-1][0]) * {"b": 1e9, "m": 1e6}[sizes[-1][1].lower()]) if sizes else None


def _weights(teacher: Teacher) -> Model:
    """What runs here of a teacher: of one on a server, what alignment trains."""
    return teacher.model_copy(update={"name": teacher.weights}) if teacher.weights else teacher


def rows(recipe: Recipe) -> list[dict[str, Any]]:
    """One row a stage: stage, tokens_in, tokens_out, seconds, money, note. Null where it cannot be told.

    Raises UnknownName for an unknown task.
    """
    from arte import models, tasks

    task = tasks.taught(recipe.task.name)
    recipe = _in_all(recipe, len(tasks.named(recipe.task.name)))
    teacher, student = parameters(_weights(recipe.teacher)), parameters(recipe.student)
    speed = EFFICIENCY * models.products_per_second(recipe.student.dtype)

    def seconds(tokens: float, size: int | None, each: int = 2) -> float | None:
        return None if size is None else each * size * tokens / speed

    def row(
        stage: str, tokens_in: float, tokens_out: float, took: float | None, note: str = "", *, served: bool = False
    ) -> dict[str, Any]:
        """`served`: by a teacher on a server, whose speed nobody here knows."""
        server = recipe.teacher.server
        money = (tokens_in * server.price_in + tokens_out * server.price_out) / 1e6 if served else 0.0
        return {
            "stage": stage,
            "tokens_in": round(tokens_in),
            "tokens_out": round(tokens_out),
            "seconds": None if took is None or served else round(took, 1),
            "money": round(money, 6),
            "note": note,
        }

    on_server = served(recipe)

    elicit, prefer, distill = recipe.elicit, recipe.prefer, recipe.distill
    styles = len(elicit.styles)
    shown = elicit.seeds_per_prompt + elicit.drafts_per_prompt

    def drafting(rationales: int) -> tuple[float, float]:
        """Prompts come in whole batches, and one batch may give more than is asked for."""
        replies = max(1, elicit.batch_size // (elicit.questions_per_prompt * elicit.completions)) * elicit.completions
        rounds = math.ceil(elicit.questions / (ACCEPTED_QUESTIONS * replies * elicit.questions_per_prompt))
        tokens_in = rounds * replies * (INSTRUCTION + shown * SEED)
        tokens_in += rationales * (INSTRUCTION + QUESTION)
        return tokens_in, rounds * replies * elicit.questions_per_prompt * DRAFT + rationales * RATIONALE

    explained = elicit.explained or elicit.questions
    told_in, told_out = drafting(explained * styles) if arms.elicits(recipe) else (0.0, 0.0)
    aligned, later = arms.teachers(recipe), recipe.rounds - 1
    teachers = len(aligned) * recipe.rounds
    again_in, again_out = drafting(elicit.questions * recipe.tailor.rationales)
    again_in, again_out = (teachers * recipe.tailor.over * tokens for tokens in (again_in, again_out))
    accepted = elicit.questions + explained * styles * ACCEPTED_RATIONALES
    drafts = min(accepted, prefer.drafts or accepted)
    scores = arms.scores(recipe)
    valued = [_scored(recipe, score, drafts) for score in scores]
    if recipe.tailor.choose != "random":
        tailored = scores if recipe.align.adapter is None else [prefer.score] * teachers
        valued += [_scored(recipe, score, recipe.tailor.over * elicit.questions) for score in tailored]
    valued += [_scored(recipe, recipe.prefer.score, recipe.tailor.over * elicit.questions) for _ in aligned * later]
    scored, decoded = sum(read for read, _ in valued), sum(drawn for _, drawn in valued)
    pair_tokens = prefer.question_pairs * _question_pair(recipe) + min(prefer.rationale_pairs, elicit.questions) * 2 * (
        INSTRUCTION + QUESTION + RATIONALE
    )
    pair_tokens = pair_tokens if recipe.align.adapter is None else 0
    passes = 3 if recipe.align.gradient_checkpointing else 2
    trained = len(arms.trained(recipe.arms))
    examples = (distill.examples + recipe.task.seeds * distill.seeds) * distill.variants
    students = trained + len(aligned) * later
    sft = students * examples * (STUDENT_PROMPT + ANSWER) * distill.epochs
    sft += (distill.exercises + students * distill.rehearsed) * SUM * distill.epochs
    items = recipe.task.test or task.test_items()
    asked, answered = items * STUDENT_PROMPT, items * ANSWER
    evaluated, files = len(recipe.arms), sum(":" in target for target in recipe.export.targets)
    # Answers of torch and every file; distributions, where torch computes beside each file
    checked = (recipe.export.test or items) * (STUDENT_PROMPT + ANSWER) * (1 + files)
    checked += COMPARED_ROWS * (STUDENT_PROMPT + ANSWER) * 2 * files
    bench = recipe.bench
    benched = files * bench.repeats * bench.rounds * (2 * bench.prompt_tokens + bench.generated_tokens)
    benched += files * bench.prompts * (STUDENT_PROMPT + ANSWER)
    return [
        row("elicit", told_in, told_out, seconds(told_in + told_out, teacher), served=on_server),
        row(
            "prefer",
            scored,
            decoded,
            seconds(scored + decoded, student),
            f"{drafts:.0f} drafts × {recipe.task.probes} probes"
            + (f", {len(scores)} scores" if len(scores) > 1 else ""),
        ),
        # Reference log-probabilities take one forward pass more, and so does gradient checkpointing in each epoch.
        row(
            "align",
            teachers * pair_tokens,
            0,
            seconds(teachers * pair_tokens * (1 + recipe.align.epochs * passes), teacher),
        ),
        row("tailor", again_in, again_out, seconds(again_in + again_out, teacher), served=on_server),
        row("distill", sft, 0, seconds(sft, student, 6), f"{trained} arms"),
        row(
            "evaluate",
            evaluated * asked,
            evaluated * answered,
            seconds(evaluated * (asked + answered), student),
            f"{evaluated} arms" + (", lm-eval's own tasks not counted" if recipe.evaluate.tasks else ""),
        ),
        row("export", checked, 0, seconds(checked, student), f"{files} files"),
        row("bench", benched, 0, seconds(benched, student), f"{files} files"),
    ]


def _in_all(recipe: Recipe, count: int) -> Recipe:
    """What is asked for of each of so many tasks, in all of them together; but the probes, which a draft has of its own
    task alone."""
    each = {
        "task": ("seeds", "test"),
        "elicit": ("questions", "explained"),
        "prefer": ("drafts", "question_pairs", "rationale_pairs"),
        "export": ("test",),
    }
    sections = {section: getattr(recipe, section) for section in each}
    return recipe.model_copy(
        update={
            section: sections[section].model_copy(
                update={
                    name: count * value for name in names if (value := getattr(sections[section], name)) is not None
                }
            )
            for section, names in each.items()
        }
    )


def _scored(recipe: Recipe, score: PreferenceScore, drafts: float) -> tuple[float, float]:
    """Tokens read and drawn to value so many drafts."""
    alone = score in ("likelihood", "rank_surprisal")
    asked = 0 if alone or score == "influence_first_order" else recipe.task.probes * recipe.prefer.evaluations
    # The draft itself is read once; a step of training on it costs two more passes.
    own = 1 if alone else 3 if score.startswith("influence") else 0
    drawn = drafts * asked * ANSWER if score == "icl_accuracy" else 0
    return drafts * (asked + own) * (STUDENT_PROMPT + ANSWER), drawn


def memory_bytes(recipe: Recipe) -> int | None:
    """Most memory at once: a model's weights with what its stage needs besides."""
    teacher, student = parameters(_weights(recipe.teacher)), parameters(recipe.student)
    if teacher is None or student is None:
        return None
    # Half as much again for what is read and drawn.
    drafting, aligning = 1.5 * _weight_bytes(recipe) * teacher, 0.0
    if arms.teachers(recipe) and recipe.align.adapter is None:
        tokens = recipe.align.micro_batch_size * _question_pair(recipe)
        held = ACTIVATIONS * (CHECKPOINTED if recipe.align.gradient_checkpointing else 1)
        aligning = 2 * teacher + tokens * held * math.sqrt(teacher)
    # Training all weights keeps gradients and two moments besides.
    training = (16.0 if recipe.distill.method == "full" else 6.0) * student
    training += recipe.distill.batch_tokens * ACTIVATIONS * math.sqrt(student)
    return round(max(drafting, aligning, training) + 2**30)


def _weight_bytes(recipe: Recipe) -> int:
    """Bytes of a weight of the teacher while it drafts here: those rounded to 8 bits are read in float32 first."""
    from arte import models
    from arte.run_models import is_rounded

    if served(recipe):
        return 0
    dtype = models.compute_dtype(recipe.student.dtype)
    rounded = recipe.teacher.engine == "transformers" and is_rounded(recipe.teacher, dtype)
    return 4 if dtype == "float32" or rounded else 2


def _question_pair(recipe: Recipe) -> int:
    """Tokens of a pair of lists of questions, with its prompt twice."""
    elicit = recipe.elicit
    shown = elicit.seeds_per_prompt + elicit.drafts_per_prompt
    return 2 * (INSTRUCTION + shown * SEED + elicit.questions_per_prompt * DRAFT)


def disk_bytes(recipe: Recipe) -> int | None:
    """Disk of the run folder and the model cache: weights in bfloat16, trained students in float32, device files."""
    teacher, student = parameters(_weights(recipe.teacher)), parameters(recipe.student)
    if teacher is None or student is None:
        return None
    trained = len(arms.trained(recipe.arms))
    return 2 * (teacher + student) + trained * 4 * student + 12 * student + len(recipe.export.targets) * 2 * student


def table(recipe: Recipe) -> "Table":
    """The plan for people."""
    from rich.table import Table

    made = Table(title=f"{recipe.name} at scale {recipe.scale}: {recipe.teacher.name} → {recipe.student.name}")
    for column in ("stage", "tokens in", "tokens out", "minutes", ""):
        made.add_column(column, justify="left" if column in ("stage", "") else "right")
    every = rows(recipe)
    for row in every:
        minutes = "?" if row["seconds"] is None else f"{row['seconds'] / 60:.1f}"
        made.add_row(row["stage"], f"{row['tokens_in']:,}", f"{row['tokens_out']:,}", minutes, row["note"])
    known = [row["seconds"] for row in every if row["seconds"] is not None]
    memory, disk = memory_bytes(recipe), disk_bytes(recipe)
    made.add_section()
    made.add_row("all", "", "", f"{sum(known) / 60:.1f}" if len(known) == len(every) else "?", "")
    made.caption = (
        f"memory {'?' if memory is None else f'{memory / 2**30:.1f} GiB'}, "
        f"disk {'?' if disk is None else f'{disk / 2**30:.1f} GiB'}, "
        + (
            f"money {sum(row['money'] for row in every):.4g}"
            if served(recipe)
            else "money 0 (models run on this machine)"
        )
        + "".join(f"\n{line}" for line in beyond(recipe, every))
    )
    return made


def served(recipe: Recipe) -> bool:
    """Whether the teacher is one on a server."""
    return recipe.teacher.engine == "openai"


def beyond(recipe: Recipe, every: list[dict[str, Any]]) -> list[str]:
    """A line for each limit that the plan passes. Tokens are those of engines, so not those of trainings."""
    known = [row["seconds"] for row in every if row["seconds"] is not None]
    tokens = sum(row["tokens_in"] + row["tokens_out"] for row in every if row["stage"] in ENGINES_STAGES)
    planned = {"tokens": tokens, "money": sum(row["money"] for row in every), "hours": sum(known) / 3600}
    limits = recipe.limits.model_dump()
    return [
        f"limits.{name}={limits[name]:g} will be passed: {value:,.4g} are planned"
        for name, value in planned.items()
        if limits[name] is not None and value > limits[name]
    ]
