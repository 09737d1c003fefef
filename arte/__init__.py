"""ARTE: distils a task-specific student from a teacher aligned with what that student learns from.

    recipe = arte.load_recipe("gsm8k", scale="starter", overrides=["elicit.questions=32"])
    report = arte.run(recipe, "runs/try")

`load_recipe(name, scale, overrides)` gives a Recipe (a name that `arte recipes` lists, or a YAML file).
`run(recipe, out, until)` gives the Report of report.json, or None where it stops before the report.
The exporters are in `arte_export`, which knows only model folders and files.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Recipe", "Report", "load_recipe", "run"]

if TYPE_CHECKING:
    from arte.config import load_recipe
    from arte.pipeline import run
    from arte.recipe import Recipe
    from arte.report.contract import Report


def __getattr__(name: str) -> Any:
    """Imports on first use: `import arte` alone loads no pydantic and no torch."""
    from importlib import import_module

    homes = {
        "load_recipe": "arte.config",
        "run": "arte.pipeline",
        "Recipe": "arte.recipe",
        "Report": "arte.report.contract",
    }
    if name not in homes:
        raise AttributeError(f"module 'arte' has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
