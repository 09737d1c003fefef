"""The score that a recipe names, with the student that it asks and the probes that it asks of."""

from functools import partial
from pathlib import Path

from arte import models
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.preference import Score
from arte.preference.icl import IclAccuracy, IclLogprob
from arte.preference.influence import Influence
from arte.preference.likelihood import Likelihood
from arte.recipe import Model, Recipe
from arte.run_models import RunModels
from arte.stages.choosing import item_as_example
from arte.stages.probing import discriminating_probes
from arte.tasks.task import Splits, Task


def respondents(recipe: Recipe, run_models: RunModels) -> dict[str, ModelFolder]:
    """Each model that answers the validation items. Raises ModelError where one cannot be had."""
    known = {recipe.student.name: run_models.student, recipe.teacher.name: run_models.teacher}
    return known | {name: models.resolve(Model(name=name)) for name in recipe.prefer.respondents}


def scorer(folder: Path, recipe: Recipe, run_models: RunModels, task: Task, splits: Splits) -> Score:
    """Chooses the probes, loads the student and makes the score. Influence warms its student up on the seeds.

    Raises ModelError.
    """
    settings = recipe.prefer
    probes = splits.probes[: recipe.task.probes]
    if settings.probes == "irt":
        probes = discriminating_probes(
            folder, splits.probes, recipe.task.probes, splits.seeds, task,
            {name: partial(run_models.engine, model.path) for name, model in respondents(recipe, run_models).items()},
            recipe.evaluate.batch_size, recipe.evaluate.max_tokens,
        )  # fmt: skip
    influence = settings.score in ("influence", "influence_first_order")
    dtype = "float32" if influence else run_models.dtype
    model, tokenizer = run_models.load(run_models.student.path, dtype)
    engine = TransformersEngine(model, tokenizer)
    if settings.score == "icl_accuracy":
        return IclAccuracy(engine, task, probes, settings.batch_size, recipe.evaluate.max_tokens)
    if settings.score == "icl_logprob":
        return IclLogprob(engine, model, tokenizer, task, probes, settings.batch_size)
    if settings.score in ("likelihood", "rank_surprisal"):
        return Likelihood(model, tokenizer, task, settings.score)
    return Influence(
        model,
        tokenizer,
        engine,
        task,
        probes,
        [item_as_example(seed) for seed in splits.seeds],
        recipe.distill,
        settings.batch_size,
        first_order=settings.score == "influence_first_order",
    )
