"""The score that a recipe names, with the student that it asks."""

from pathlib import Path

from arte.one_run import Run
from arte.preference import Score
from arte.preference.icl import IclAccuracy, IclLogprob
from arte.preference.influence import Influence
from arte.preference.likelihood import Likelihood
from arte.recipe import Prefer
from arte.stages.choosing import item_as_example


def scorer(run: Run, name: str, settings: Prefer, student: Path) -> Score:
    """Loads the student from its folder and makes the score for the stage `name`. Influence warms its student up on
    the seeds.

    Raises ModelError.
    """
    recipe, task = run.recipe, run.task
    influence = settings.score in ("influence", "influence_first_order")
    if settings.score in ("icl_accuracy", "icl_logprob"):
        engine = run.asked(name, student)
        if settings.score == "icl_logprob":
            return IclLogprob(engine, task, run.probes)
        return IclAccuracy(engine, task, run.probes, recipe.evaluate.batch_size, recipe.evaluate.max_tokens)
    model, tokenizer = run.models.load(student, "float32" if influence else run.models.dtype)
    if settings.score in ("likelihood", "rank_surprisal"):
        return Likelihood(model, tokenizer, task, settings.score)
    return Influence(
        model,
        tokenizer,
        task,
        run.probes,
        [item_as_example(seed) for seed in run.splits.seeds],
        recipe.distill,
        settings.batch_size,
        first_order=settings.score == "influence_first_order",
    )
