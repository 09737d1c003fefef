"""The JSON schema that editors complete recipes with."""

import json
from typing import Any

import yaml

from arte import config, problems, resources, yaml12
from arte.recipe import SCALES

REMEDY = "python -c 'import json; from arte import config; print(json.dumps(config.schema(), indent=2))'"


def test_the_committed_schema_is_current() -> None:
    text = (resources.folder("recipes") / "recipe.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == config.schema(), f"write it anew: {REMEDY} > recipes/recipe.schema.json"


def names(node: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    found = set()
    for key, child in node.get("properties", {}).items():
        found |= {path + key} | names(child, schema, f"{path}{key}.")
    return found


def test_it_knows_every_setting_at_the_top_and_at_each_scale() -> None:
    schema = config.schema()
    settings = set(problems.settings()) - {"name", "scale"}
    found = names(schema, schema)
    assert {name for name in found if not name.startswith("scales")} == settings
    for scale in SCALES:
        below = {name.removeprefix(f"scales.{scale}.") for name in found if name.startswith(f"scales.{scale}.")}
        assert below == settings


def test_nothing_is_required_and_nothing_unknown_allowed() -> None:
    schema = config.schema()
    objects = [schema, *schema["$defs"].values(), schema["properties"]["scales"]]
    assert len(objects) == 19
    assert all("required" not in node and node["additionalProperties"] is False for node in objects)


def test_every_recipe_names_it_in_its_first_line_and_is_read_alike_by_yaml_1_1() -> None:
    paths = list(resources.folder("recipes").glob("*.yaml"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
        keys = set(yaml12.parse(text).values)
        assert keys == set(yaml.safe_load(text)) <= set(config.schema()["properties"])
