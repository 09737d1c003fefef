"""`arte preference-check`: does a score predict what training gains?

The student is trained on small subsets of a run's checked drafts: the highest and the lowest by each score, and some at
random. A score is worth its price if the accuracy of those students rises with the mean score of what they were
trained on. What a subset holds besides (its variety) counts too, so a perfect score does not correlate perfectly.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arte import config, tasks
from arte.drafting import choose_probes, scored_with
from arte.errors import DataError, RecipeError
from arte.one_run import Run
from arte.preference.selection import in_turns
from arte.provenance import digest
from arte.recipe import PreferenceScore, Recipe
from arte.rows import Example, Item, read_rows
from arte.stages.choosing import Candidate, candidates
from arte.stages.evaluate import Sample, Slice, chats
from arte.teaching import lesson, practise
from arte.workspace import Figures, StageFolder, Workspace

FOLDER = "preference-check"
RESAMPLES = 10_000
Say = Callable[[str], None]
Floats = NDArray[np.float64]


class Checked(NamedTuple):
    """A score: rank correlation (Spearman) of subsets' mean score with their students' accuracy, 95 % interval over
    subsets drawn anew, accuracies of the highest and lowest subset, and what scoring a draft cost."""

    score: PreferenceScore
    correlation: float
    ci95: tuple[float, float]
    top: float
    bottom: float
    seconds_a_draft: float


class Result(NamedTuple):
    """All scores, best first; accuracies of the random subsets and of the student as it came."""

    scores: list[Checked]
    random: list[float]
    untrained: float
    size: int
    items: int


def check(
    folder: Path, scores: Sequence[PreferenceScore], size: int, subsets: int, most: int | None, say: Say
) -> Result:
    """Scores, trains and asks, in FOLDER below the run's folder; the same call goes on where it was stopped.

    `size` drafts a subset, `subsets` random ones, of `most` drafts drawn at random, other questions first. Raises
    WorkspaceError, ModelError, and DataError where the run has too few checked drafts.
    """
    recipe = config.load_saved(folder / "recipe.yaml")
    if len(tasks.named(recipe.task.name)) > 1:
        raise DataError(
            f"{folder}: is over several tasks, whose scores cannot be compared; check a run over one of them"
        )
    with Workspace.open(folder, recipe) as workspace:
        run = Run(recipe, workspace, say)
        if run.task.open_ended:
            raise RecipeError(
                f"preference-check of {folder}",
                [f"task.name: {run.task.name} has open answers, and accuracies of subsets are what is compared here"],
            )
        drafts = _drafts(folder, size, most, recipe.seed)
        practise(run)
        choose_probes(run)
        tables = {score: _scored(run, score, drafts) for score in scores}
        chosen = _subsets(drafts, tables, size, subsets, recipe.seed)
        accuracy = {name: _accuracy(run, name, lesson(run, [drafts[place].example for place in those]))
                    for name, those in chosen.items()}  # fmt: skip
        untrained = _accuracy(run, "untrained", [])
        items = len(run.splits.test)
    found = []
    for score in scores:
        values = tables[score].mean(axis=1)
        means = np.array([values[those].mean() for those in chosen.values()])
        gained = np.array(list(accuracy.values()))
        correlation, interval = rank_correlation(means, gained, recipe.seed)
        seconds = run.done[_scores_name(score)].seconds / len(drafts)
        found.append(
            Checked(score, correlation, interval, accuracy[f"top-{score}"], accuracy[f"bottom-{score}"], seconds)
        )
    found.sort(key=lambda each: -each.correlation)
    at_random = [value for name, value in accuracy.items() if name.startswith("random-")]
    return Result(found, at_random, untrained, size, items)


def rank_correlation(means: Floats, gained: Floats, seed: int) -> tuple[float, tuple[float, float]]:
    """Spearman's, with a percentile interval over subsets drawn anew with replacement."""
    from scipy.stats import spearmanr

    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES // 10):
        places = generator.integers(0, len(means), len(means))
        if len(set(means[places])) > 1 and len(set(gained[places])) > 1:
            drawn.append(float(spearmanr(means[places], gained[places]).statistic))
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (-1.0, 1.0)
    return float(spearmanr(means, gained).statistic), (float(low), float(high))


def lines(found: Result) -> list[str]:
    """For the terminal."""
    share = ", ".join(f"{value:.1%}" for value in found.random)
    out = [
        f"accuracy on {found.items} test items after training on {found.size} drafts:",
        f"  untrained {found.untrained:.1%}; random subsets {share}",
        f"  {'score':22s} {'rank correlation with accuracy':34s} {'highest':>8s} {'lowest':>8s} {'s a draft':>10s}",
    ]
    for each in found.scores:
        low, high = each.ci95
        correlation = f"{each.correlation:+.2f} ({low:+.2f} to {high:+.2f})"
        out.append(
            f"  {each.score:22s} {correlation:34s} {each.top:8.1%} {each.bottom:8.1%} {each.seconds_a_draft:10.2f}"
        )
    return out


def _drafts(folder: Path, size: int, most: int | None, seed: int) -> list[Candidate]:
    if not (folder / "elicit" / "rationales.jsonl").is_file():
        raise RecipeError(str(folder), ["holds no drafts; run the recipe to its stage elicit first"])
    drafts = candidates(folder / "elicit", None, "random", checked=True)
    if most is not None and most < len(drafts):
        order = random.Random(f"preference-check-{seed}").sample(range(len(drafts)), len(drafts))
        drawn = in_turns(order, [draft.example.question for draft in drafts])[:most]
        drafts = [drafts[place] for place in sorted(drawn)]
    if len(drafts) < 2 * size:
        raise DataError(
            f"{folder}: {len(drafts)} checked drafts; subsets of {size} need {2 * size}, so that the highest and the "
            "lowest share none. Take a smaller --size, or more drafts (--drafts, elicit.questions)"
        )
    return drafts


def _scores_name(score: PreferenceScore) -> str:
    return f"{FOLDER}/scores-{score}"


def _scored(run: Run, score: PreferenceScore, drafts: Sequence[Candidate]) -> Floats:
    """Table of all drafts by the score's columns."""
    from arte.rows import Rationale, Score
    from arte.stages.prefer import score as value
    from arte.stages.scoring import scorer

    settings = run.recipe.prefer.model_copy(update={"score": score})
    recipe: Recipe = run.recipe.model_copy(update={"prefer": settings})
    name = _scores_name(score)
    elicited = run.workspace.root / "elicit"
    those = {draft.example.id for draft in drafts}
    rationales = [row for row in read_rows(elicited / "rationales.jsonl", Rationale) if row.id in those]

    def work(folder: StageFolder) -> Figures:
        scored = scorer(run, name, settings, run.student.path)
        value(folder, elicited, rationales, scored, run.probes, settings, recipe.seed)
        return Figures()

    given = scored_with(run, recipe) | {"drafts": digest([draft.example for draft in drafts])}
    run.stage(name, given, work)
    values: dict[str, list[float]] = {}
    for row in read_rows(run.done[name].path / "scores.jsonl", Score):
        values.setdefault(row.rationale_id, []).append(row.value)
    return np.array([values[draft.example.id] for draft in drafts])


def _subsets(
    drafts: Sequence[Candidate], tables: dict[PreferenceScore, Floats], size: int, subsets: int, seed: int
) -> dict[str, list[int]]:
    chosen: dict[str, list[int]] = {}
    for score, table in tables.items():
        order = np.argsort(-table.mean(axis=1), kind="stable").tolist()
        chosen |= {f"top-{score}": order[:size], f"bottom-{score}": order[-size:]}
    generator = np.random.default_rng(seed)
    for number in range(subsets):
        chosen[f"random-{number}"] = generator.choice(len(drafts), size, replace=False).tolist()
    return chosen


def _accuracy(run: Run, name: str, examples: list[Example]) -> float:
    """Of the student trained on these examples alone (as it came, without any), on the test items."""
    from arte.stages.answering import Answering
    from arte.stages.distill import distill, steps_of
    from arte.stages.evaluate import evaluate

    recipe, models = run.recipe, run.models
    settings = recipe.evaluate

    def work(folder: StageFolder) -> Figures:
        student = run.student.path
        if examples:
            model, tokenizer = models.load(student, models.trained_dtype)
            steps = steps_of(examples, run.task, tokenizer, recipe.distill)
            bf16 = models.dtype == "bfloat16"
            distill(
                folder.path, examples, run.task, model, tokenizer, recipe.distill, steps=steps, bf16=bf16,
                seed=recipe.seed, around=run.around(name),
            )  # fmt: skip
            student = folder.path / "model"
        engine = models.engine(student)
        answering = Answering(engine, folder.path / "replies.jsonl", settings.batch_size, settings.max_tokens)
        slices: dict[Slice, Sequence[Item]] = {"test": run.splits.test}
        asked = chats(slices, run.shots, run.task)
        evaluate(folder.path, slices, [engine.render(chat) for chat in asked], run.task, answering, settings)
        if examples:
            import shutil

            shutil.rmtree(student)  # dozens of students would fill the disk
        return Figures(tokens_in=answering.tokens_in, tokens_out=answering.tokens_out)

    given = {
        "distill": recipe.distill,
        "evaluate": settings,
        "examples": digest(examples),
        "test": digest(run.splits.test),
        "student": run.student.sha256,
        "seed": recipe.seed,
    }
    stage = f"{FOLDER}/{name}"
    run.stage(stage, given, work)
    samples = read_rows(run.done[stage].path / "samples.jsonl", Sample)
    return sum(sample.strict_correct for sample in samples) / len(samples)
