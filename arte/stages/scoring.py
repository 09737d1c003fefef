"""The score that a recipe names, with the student that it asks."""

from collections.abc import Sequence
from pathlib import Path

from arte.generation.transformers import TransformersEngine
from arte.preference import Score
from arte.preference.icl import IclAccuracy, IclLogprob
from arte.preference.influence import Influence
from arte.preference.likelihood import Likelihood
from arte.recipe import Recipe
from arte.rows import Item
from arte.run_models import RunModels
from arte.stages.choosing import item_as_example
from arte.tasks.task import Task


def scorer(
    recipe: Recipe, run_models: RunModels, student: Path, task: Task, seeds: Sequence[Item], probes: list[Item]
) -> Score:
    """Loads the student from its folder and makes the score. Influence warms its student up on the seeds.

    Raises ModelError.
    """
    settings = recipe.prefer
    influence = settings.score in ("influence", "influence_first_order")
    dtype = "float32" if influence else run_models.dtype
    model, tokenizer = run_models.load(student, dtype)
    engine = TransformersEngine(model, tokenizer, settings.batch_size)
    if settings.score == "icl_accuracy":
        return IclAccuracy(engine, task, probes, recipe.evaluate.batch_size, recipe.evaluate.max_tokens)
    if settings.score == "icl_logprob":
        return IclLogprob(engine, task, probes)
    if settings.score in ("likelihood", "rank_surprisal"):
        return Likelihood(model, tokenizer, task, settings.score)
    return Influence(
        model,
        tokenizer,
        task,
        probes,
        [item_as_example(seed) for seed in seeds],
        recipe.distill,
        settings.batch_size,
        first_order=settings.score == "influence_first_order",
    )
