"""What is looked at before hours are spent: names that a late stage would not know, hardware that is not there."""

from importlib.metadata import version

from arte import machine, tasks
from arte.errors import RecipeError
from arte.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Raises RecipeError, UnknownName or ExportError for what no stage could do here or know by name."""
    from arte_export import devices, targets

    from arte.stages.export_model import require

    if recipe.scale in ("gpu", "paper") and machine.device() == "cpu":
        need = f"scale {recipe.scale}: needs an NVIDIA GPU, and torch {version('torch')} sees none on this machine"
        raise RecipeError(f"{recipe.name} at scale {recipe.scale}", [f"{need}; take --scale starter, which needs none"])
    tasks.load(recipe.task.name)
    require(targets.parse(recipe.export.targets))
    for name in recipe.devices:
        devices.load(name)
