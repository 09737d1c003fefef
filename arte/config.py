"""A recipe from its file, a scale and `key=value` overrides: every problem at once, each with the line it stands on.

A recipe file holds the settings common to all scales, and under `scales:` what differs at each:

    task: {name: starter}
    scales:
      starter: {elicit: {questions: 64}}
      gpu: {task: {name: gsm8k}}

Sections are merged key by key, lists are replaced; the scale's value stands over the common one, an override over
both.
"""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from arte import problems, resources, yaml12
from arte.arms import without_alignment
from arte.atomic import replace_text
from arte.errors import RecipeError, UnknownName, did_you_mean
from arte.machine import hub_models_available, largest_gpu_bytes
from arte.recipe import SCALES, Recipe, Scale

Name = TypeVar("Name", bound=str)

GPU_SCALE_BYTES = 22 * 2**30  # cards sold with 24 GB keep up to 2 GiB for error correction and the driver


class _Layer(NamedTuple):
    """Settings and where each was written."""

    values: dict[str, Any]
    origins: dict[tuple[str, ...], str]


class _File(NamedTuple):
    path: Path
    common: _Layer
    scales: dict[Scale, _Layer]
    problems: list[str]

    @property
    def name(self) -> str:
        """The recipe's: the file's, or the folder's of a recipe.yaml."""
        return self.path.resolve().parent.name if self.path.stem == "recipe" else self.path.stem

    @property
    def where(self) -> str:
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    def at(self, scale: Scale) -> _Layer:
        """The settings at a scale. A file without scales is the same at all of them."""
        return _merged(self.common, self.scales[scale]) if self.scales else self.common


def recipe_names() -> list[str]:
    """The recipes that come with ARTE, sorted."""
    return sorted(path.stem for path in resources.folder("recipes").glob("*.yaml"))


def about(name: str) -> str:
    """What a recipe that comes with ARTE is for, and its scales, in a line."""
    file = _read(name)
    return f"{file.common.values.get('about', '')} ({', '.join(file.scales) or 'one scale'})".strip()


def scales_of(name_or_path: str | Path) -> list[str]:
    """The scales of a recipe; of a file without any, `starter`. Raises UnknownName, RecipeError."""
    return list(_read(name_or_path).scales) or ["starter"]


def load_recipe(name_or_path: str | Path, scale: str = "auto", overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name (or in that .yaml file) at a scale, `dotted.key=value` overrides applied.

    The file is checked at all of its scales, the overrides at the one asked for. `scale="auto"` is `pick_scale`'s.
    Raises UnknownName for an unknown recipe or scale, RecipeError with every other problem.
    """
    return load_with_reason(name_or_path, scale, overrides)[0]


def load_with_reason(
    name_or_path: str | Path, scale: str = "auto", overrides: Sequence[str] = ()
) -> tuple[Recipe, str | None]:
    """`load_recipe`, and a sentence on why the scale was picked and how to choose another; None where it was given."""
    file = _read(name_or_path)
    known("scale", scale, (*SCALES, "auto"))
    chosen, because = _pick(file) if scale == "auto" else (known("scale", scale, SCALES), None)
    if file.scales:
        known(f"scale of {file.where}", chosen, tuple(file.scales))
    typed, found = _overrides(overrides)
    found = [*file.problems, *found]
    recipe, faults = _build(_merged(file.at(chosen), typed), file.name, chosen)
    for other in file.scales:
        if other != chosen:
            _, more = _build(file.at(other), file.name, other)
            more = [fault for fault in more if ": missing, " not in fault]  # an override may be meant to give it
            faults += [fault if "(line " in fault else f"{fault} (scale {other})" for fault in more]
    found += [fault for fault in dict.fromkeys(faults) if fault not in found]
    if found or recipe is None:
        raise RecipeError(file.where, found)
    others = ", ".join(name for name in file.scales or SCALES if name != chosen)
    return recipe, because and f"scale {chosen}: {because}; choose another with --scale ({others})"


def pick_scale(name_or_path: str | Path = "gsm8k") -> tuple[Scale, str]:
    """The largest scale of a recipe that this machine can carry, and why. Looks at the GPU and the way to the hub.

    Raises UnknownName or RecipeError where the recipe cannot be read.
    """
    return _pick(_read(name_or_path))


def known(kind: str, name: str, names: Sequence[Name]) -> Name:
    """`name`, which is one of `names`.

    Raises UnknownName, with the nearest, where it is not.
    """
    for candidate in names:
        if candidate == name:
            return candidate
    raise UnknownName(kind, name, names)


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe, every setting spelt out."""
    return yaml12.dump(recipe.model_dump(mode="json"))


def save(recipe: Recipe, path: Path) -> None:
    """Writes the resolved recipe, every setting spelt out; `load_saved` gives back an equal one."""
    replace_text(path, to_yaml(recipe))


def load_saved(path: Path) -> Recipe:
    """The resolved recipe that `save` wrote.

    Raises RecipeError with every problem where the file is absent or was changed into no recipe.
    """
    document = _document(path)
    values = dict(document.values)
    layer = _Layer(values, {key: f"line {line}" for key, line in document.lines.items()})
    recipe, faults = _build(layer, values.pop("name", None), values.pop("scale", None))
    if document.problems or faults or recipe is None:
        raise RecipeError(str(path), [*document.problems, *faults])
    return recipe


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors: all sections, at the top and at each scale; none is required."""
    full = Recipe.model_json_schema()
    sections = full.pop("$defs")
    settings = {name: node for name, node in full["properties"].items() if name not in ("name", "scale")}
    for section in sections.values():
        section.pop("required", None)  # what one scale leaves out may stand in the common part
    any_scale = {"type": "object", "additionalProperties": False, "properties": settings}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ARTE recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **settings,
            "scales": {
                "type": "object",
                "description": "What differs at each scale.",
                "additionalProperties": False,
                "properties": {scale: {"$ref": "#/$defs/AtScale"} for scale in SCALES},
            },
        },
        "$defs": {**sections, "AtScale": any_scale},
    }


def _pick(file: _File) -> tuple[Scale, str]:
    small: Scale = "smoke" if set(file.scales) == {"smoke"} else "starter"
    if file.scales and "gpu" not in file.scales:
        return small, f"{file.where} has no scale gpu"
    memory_bytes, why = largest_gpu_bytes()
    if memory_bytes is None:
        return small, why
    if memory_bytes < GPU_SCALE_BYTES:
        return small, f"{why}; the scale gpu needs one with 24 GB"
    models = [problems.effective(file.at("gpu").values, name) for name in ("teacher.name", "student.name")]
    available, models_why = hub_models_available([model for model in models if isinstance(model, str)])
    return ("gpu" if available else small), f"{why}; {models_why}"


def _read(name_or_path: str | Path) -> _File:
    text = os.fspath(name_or_path)
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        path = Path(text)
    elif text in recipe_names():
        path = resources.folder("recipes") / f"{text}.yaml"
    else:
        raise UnknownName("recipe", text, recipe_names())
    document = _document(path)
    found = list(document.problems)
    origins = {key: f"line {line}" for key, line in document.lines.items()}
    values = _placed(dict(document.values), path.parent)
    for key in ("name", "scale"):
        if key in values:
            del values[key]
            remedy = "the file's name is the recipe's" if key == "name" else "choose it with --scale"
            found.append(f"{key}: not set in a recipe file; {remedy}{problems.origin((key,), origins)}")
    scales = values.pop("scales", {})
    if not isinstance(scales, dict):
        found.append(f"scales: found {problems.shown(scales)}, expected a section with {', '.join(SCALES)}")
        scales = {}
    layers: dict[Scale, _Layer] = {}
    for name, settings in scales.items():
        here = problems.origin(("scales", name), origins)
        scale = next((scale for scale in SCALES if scale == name), None)
        if scale is None:
            found.append(f"scales.{name}: no such scale{did_you_mean(name, SCALES)}{here}")
        elif not isinstance(settings, dict | None):
            found.append(f"scales.{scale}: found {problems.shown(settings)}, expected a section of settings{here}")
        else:
            below = {key[2:]: line for key, line in origins.items() if key[:2] == ("scales", scale)}
            layers[scale] = _Layer(_placed(settings or {}, path.parent), below)
    return _File(path, _Layer(values, origins), layers, found)


def _document(path: Path) -> yaml12.Document:
    try:
        document = yaml12.parse(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [f"byte {error.start} is not UTF-8; save the file as UTF-8"]) from None
    except OSError as error:
        raise RecipeError(str(path), [f"the file cannot be read: {error.strerror}"]) from None
    if document.problems and not document.values:
        raise RecipeError(str(path), document.problems)
    return document


def _overrides(overrides: Sequence[str]) -> tuple[_Layer, list[str]]:
    layer, found = _Layer({}, {}), []
    for override in overrides:
        name, equals, text = override.partition("=")
        path = tuple(name.strip().split("."))
        if not equals or not all(path):
            found.append(f"{override}: expected dotted.key=value, as in elicit.questions=500 (command line)")
        elif name in ("name", "scale"):
            remedy = "the file's name is the recipe's" if name == "name" else f"write --scale {text}"
            found.append(f"{name}: not set by an override; {remedy} (command line)")
        elif not text.strip():
            found.append(f"{name}: has no value; write {name}=null for none, {name}=\"''\" for empty (command line)")
        else:
            try:
                value = yaml12.value(text)
            except ValueError:
                found.append(f"{name}: {problems.shown(text)} is not a YAML value; put it in quotes (command line)")
                continue
            for key in reversed(path):
                value = {key: value}
            layer = _merged(layer, _Layer(value, {path: "command line"}))
    return _Layer(_placed(layer.values, Path.cwd()), layer.origins), found


def _placed(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings with folders of tasks (`.`, `./x`, `../x`) found from `folder`: a run goes on from anywhere."""
    name = values["task"].get("name") if isinstance(values.get("task"), dict) else None
    if not isinstance(name, str):
        return values

    def placed(part: str) -> str:
        relative = part in (".", "..") or part.startswith(("./", "../"))
        return str((folder / part).resolve()) if relative else part

    return {**values, "task": {**values["task"], "name": ",".join(placed(part.strip()) for part in name.split(","))}}


def _merged(under: _Layer, over: _Layer) -> _Layer:
    values = copy.deepcopy(under.values)

    def lay(base: dict[str, Any], top: Mapping[str, Any]) -> None:
        for key, value in top.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                lay(base[key], value)
            else:
                base[key] = copy.deepcopy(value)

    lay(values, over.values)
    return _Layer(values, {**under.origins, **over.origins})


def _build(layer: _Layer, name: Any, scale: Any) -> tuple[Recipe | None, list[str]]:
    """The recipe, or None and what is wrong. JSON's strict mode takes lists for tuples and coerces nothing else."""
    recipe, faults = None, {}
    try:
        text = json.dumps({"name": name, "scale": scale, **layer.values})
        recipe = without_alignment(Recipe.model_validate_json(text, strict=True))
    except ValidationError as error:
        faults = problems.of_validation(error, layer.origins)
    crossed = problems.of_cross_checks(layer.values, layer.origins, set(faults))
    return (None if crossed else recipe), [*faults.values(), *crossed]
