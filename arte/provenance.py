"""What a run was made from: the JSON that fingerprints its stages, and the files that its report reads."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arte import machine, plan
from arte.recipe import Recipe
from arte.recipe_base import Settings
from arte.rows import Row
from arte.run_models import RunModels
from arte.tasks.located import Read
from arte.tasks.task import Taught


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage is given, settings as JSON."""
    return {name: v.model_dump(mode="json") if isinstance(v, Settings) else v for name, v in given.items()}


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 of rows, in order."""
    return hashlib.sha256("\n".join(row.model_dump_json() for row in rows).encode()).hexdigest()


def describe(run: Path, recipe: Recipe, run_models: RunModels, task: Taught, read: Sequence[Read]) -> None:
    """Writes models.json, data.json, machine.json and plan.json into the run folder, and adds this command to
    commands.txt. `read`: the data that the task's items are from."""
    student, teacher = run_models.student, run_models.teacher
    described = {
        "teacher": {
            "name": recipe.teacher.name,
            "source": "server" if recipe.teacher.engine == "openai" else teacher and teacher.source,
            "sha256": teacher and teacher.sha256,
            "parameters": teacher and teacher.parameters,
        },
        "student": {
            "name": student.name,
            "source": student.source,
            "sha256": student.sha256,
            "parameters": student.parameters,
        },
    }
    (run / "models.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    data = {"licence": task.licence, "source": task.data_source, "read": [each.model_dump() for each in read]}
    (run / "data.json").write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")
    (run / "machine.json").write_text(json.dumps(machine.describe(run_models.dtype), indent=2), encoding="utf-8")
    (run / "plan.json").write_text(json.dumps(plan.rows(recipe), indent=2), encoding="utf-8")
    typed = ["arte", *sys.argv[1:]] if Path(sys.argv[0]).name == "arte" else sys.argv
    with (run / "commands.txt").open("a", encoding="utf-8") as file:
        file.write(shlex.join(typed) + "\n")
