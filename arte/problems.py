"""What is wrong with a recipe's values, in words: where, what was found, what was expected, the nearest valid name.

Ranges, types and descriptions are read from the JSON schema of `arte.recipe.Recipe`, so they stand in one place.
"""

import difflib
import functools
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from arte.arms import MADE
from arte.recipe import Recipe

Location = tuple[int | str, ...]
ABOUT_ZERO = ("influence", "influence_first_order", "icl_logprob")
"""Scores of which those above zero help."""
Origins = Mapping[tuple[str, ...], str]
"""Where each key was written ("line 12", "command line"), by its path."""


def of_validation(error: ValidationError, origins: Origins) -> dict[str, str]:
    """A problem for each fault that pydantic found, by the dotted name of the setting."""
    found = {}
    for details in error.errors(include_url=False, include_context=False):
        location = details["loc"]
        if details["type"] == "extra_forbidden":
            location = _deepest(location, details["input"])
            sentence = unknown(tuple(str(part) for part in location))
        else:
            sentence = _sentence(details)
        found[dotted(details["loc"])] = sentence + origin(location, origins)
    return found


def of_cross_checks(values: Mapping[str, Any], origins: Origins, faulty: set[str]) -> list[str]:
    """Settings that do not fit each other. Those in `faulty` have a problem of their own and are left out."""
    found: list[str] = []

    def check(first: str, *others: str) -> tuple[Any, ...] | None:
        names = (first, *others)
        for name in names:
            if any(name == bad or name.startswith(f"{bad}.") or bad.startswith(f"{name}[") for bad in faulty):
                return None
        return tuple(effective(values, name) for name in names)

    def problem(name: str, what: str) -> None:
        found.append(f"{name}: {what}{origin(tuple(name.split('.')), origins)}")

    if (given := check("align.micro_batch_size", "align.batch_size")) and given[1] % given[0]:
        problem("align.micro_batch_size", f"found {given[0]}, expected a divisor of align.batch_size ({given[1]})")
    if (given := check("export.test", "task.test")) and None not in given and given[0] > given[1]:
        problem("export.test", f"found {given[0]}, expected at most task.test ({given[1]})")
    if (given := check("task.validation", "task.probes")) and given[0] is not None and given[0] < given[1]:
        problem("task.validation", f"found {given[0]}, expected at least task.probes ({given[1]})")
    if (given := check("prefer.probes", "task.validation")) and given[0] == "irt" and given[1] is None:
        problem("prefer.probes", "found irt, which chooses among task.validation items; set task.validation too")
    if (given := check("elicit.seeds_per_prompt", "task.seeds")) and given[0] > given[1]:
        problem("elicit.seeds_per_prompt", f"found {given[0]}, expected at most task.seeds ({given[1]})")
    elif given and (more := check("elicit.drafts_per_prompt")) and given[0] + more[0] > given[1]:
        problem(
            "elicit.drafts_per_prompt",
            f"found {more[0]}: before there are drafts a prompt shows {given[0] + more[0]} seeds, and task.seeds is "
            f"{given[1]}",
        )
    if (given := check("tailor.temperature", "tailor.rationales")) and given[0] == 0 and given[1] > 1:
        problem("tailor.temperature", f"found 0, expected above 0, as tailor.rationales is {given[1]}")
    given = check("prefer.rationale_pairs", "prefer.question_pairs", "arms", "align.adapter")
    aligned = [arm for arm in given[2] if arm in MADE and MADE[arm].aligned] if given else []
    if given and given[0] == given[1] == 0 and aligned and given[3] is None:
        problem("prefer.rationale_pairs", f"found 0, as is prefer.question_pairs; the arm {aligned[0]} needs pairs")
    given = check("prefer.chosen", "prefer.score", "elicit.questions_per_prompt", "elicit.completions")
    if given and given[0] == "above_zero":
        for score in dict.fromkeys(MADE[arm].score or given[1] for arm in aligned):
            if score not in ABOUT_ZERO:
                some = ", ".join(ABOUT_ZERO)
                problem("prefer.chosen", f"found above_zero, which {score} says nothing of; take one of {some}")
        if given[2] > 1:
            problem("elicit.questions_per_prompt", f"found {given[2]}, expected 1, as prefer.chosen is above_zero")
        if given[3] == 1:
            problem("elicit.completions", "found 1, expected 2 or more, as prefer.chosen is above_zero")
    given = check("teacher.engine", "teacher.server.url", "teacher.weights", "align.skip")
    if given and given[0] == "openai":
        if given[1] is None:
            problem("teacher.server.url", "missing, expected where the server of teacher.engine=openai answers")
        if given[2] is None and aligned and not given[3]:
            problem(
                "teacher.weights",
                f"missing: the arm {aligned[0]} needs an aligned teacher, and a served one cannot be trained. Name a "
                "copy of its weights (a hub id or a folder), or leave alignment out with align.skip=true",
            )
    if (given := check("align.adapter", "align.skip", "rounds", "arms")) and given[0] is not None:
        if given[1]:
            problem("align.adapter", "is given, and align.skip is true: take one of them away")
        if given[2] > 1:
            problem("rounds", f"found {given[2]}, expected 1, as align.adapter takes over what another run aligned")
        if other := [arm for arm in aligned if arm != "arte"]:
            problem("arms", f"{other[0]} is aligned by pairs of its own; with align.adapter only arte is aligned")
    if (given := check("align.skip", "arms")) and given[0] and set(given[1]) == set(aligned):
        problem("align.skip", f"found true, which leaves none of the arms {', '.join(given[1])}")
    for name, node in settings().items():
        if node.get("type") == "array" and (given := check(name)):
            for entry in sorted({entry for entry in given[0] if given[0].count(entry) > 1}):
                problem(name, f"{shown(entry)} is listed twice")
    return found


def unknown(path: tuple[str, ...]) -> str:
    """The sentence for a key that is no setting."""
    name = ".".join(path)
    if name in settings():
        return f"{name}: write it as {path[-1].rpartition('.')[2]} in the section {name.rpartition('.')[0]}"
    near = nearest(name)
    return f"{name}: no such setting" + (f"; did you mean {' or '.join(near)}?" if near else "")


def nearest(name: str) -> list[str]:
    """Valid dotted names that `name` may have been meant to be; none where nothing is near.

    In this order: a sibling spelt alike, the same word elsewhere, the whole name spelt alike.
    """
    known = [known for known in settings() if known not in ("name", "scale")]
    parent, _, word = name.rpartition(".")
    siblings = {known.rpartition(".")[2]: known for known in known if known.rpartition(".")[0] == parent}
    for match in difflib.get_close_matches(word, list(siblings), n=1, cutoff=0.6):
        return [siblings[match]]
    if elsewhere := [known for known in known if known.rpartition(".")[2] == word]:
        return elsewhere[:3]
    return difflib.get_close_matches(name, known, n=1, cutoff=0.7)


@functools.cache
def settings() -> dict[str, dict[str, Any]]:
    """The JSON schema of every setting and section, by dotted name."""
    schema = Recipe.model_json_schema()
    named: dict[str, dict[str, Any]] = {}

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> None:
        for key, child in node["properties"].items():
            target = _resolved(child, schema)
            named[".".join((*path, key))] = {**target, **{k: v for k, v in child.items() if k != "$ref"}}
            if "properties" in target:
                walk(target, (*path, key))

    walk(schema, ())
    return named


def effective(values: Mapping[str, Any], name: str) -> Any:
    """The value of a setting: as given, else its default."""
    here: Any = values
    for key in name.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return settings()[name].get("default")
        here = here[key]
    return here


def expected(node: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in node:
        return " or ".join("null" if option.get("type") == "null" else expected(option) for option in node["anyOf"])
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    if "properties" in node:
        return f"a section with {', '.join(node['properties'])}"
    match node.get("type"):
        case "integer":
            return "a whole number" + _range(node)
        case "number":
            return "a number" + _range(node)
        case "boolean":
            return "true or false"
        case "array":
            return f"a list{' of at least one' if node.get('minItems') else ''}, each {expected(node['items'])}"
        case _:
            return "text"


def dotted(location: Location) -> str:
    """`elicit.styles[0]` of ("elicit", "styles", 0)."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def origin(location: Location, origins: Origins) -> str:
    """` (line 12)`: where the setting, or the nearest section around it, was written; empty where nowhere."""
    path = tuple(str(part) for part in location)
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return f" ({origins[path[:length]]})"
    return ""


def shown(value: Any) -> str:
    """A value as the reader may have written it, cut after 60 characters."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _deepest(location: Location, value: Any) -> Location:
    """The one setting below an unknown section, as an override gives it: `aling.beta` says more than `aling`."""
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        location = (*location, key)
    return location


def _sentence(details: ErrorDetails) -> str:
    location = details["loc"]
    name = ".".join(part for part in location if isinstance(part, str))
    node = settings()[name]
    if any(isinstance(part, int) for part in location):
        node = node["items"]
    if details["type"] == "missing":
        return f"{dotted(location)}: missing, expected {expected(node)}"
    sentence = f"{dotted(location)}: found {shown(details['input'])}, expected {expected(node)}"
    if "enum" in node and isinstance(details["input"], str):
        for match in difflib.get_close_matches(details["input"], node["enum"], n=1):
            sentence += f"; did you mean {match}?"
    return sentence


def _range(node: Mapping[str, Any]) -> str:
    least, above, most = (node.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if above is not None:
        return f" above {above:g}" + (f" and at most {most:g}" if most is not None else "")
    return f" of at least {least:g}" if least is not None else ""


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    target: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return target
