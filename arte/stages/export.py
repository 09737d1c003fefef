"""Device files of a student, each checked against the torch model it was made from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte import disk, models
from arte.errors import RecipeError
from arte.recipe import Export, Recipe
from arte.rows import Item
from arte.tasks.task import Task
from arte.workspace import Figures

FORMATS = ("gguf",)


def export(folder: Path, student: Path, name: str, task: Task, items: Sequence[Item], settings: Export) -> Figures:
    """Writes the files of `settings.targets` and artefacts.json (the `artefacts` of report.json) into `folder`.

    `items` give the prompts of the check: as many as `settings.prompts`, none of them test items.
    """
    artefacts = [
        _artefact(student, file, scheme, task, items, settings)
        for file, scheme in _files(folder, student, name, settings.targets)
    ]
    (folder / "artefacts.json").write_text(json.dumps(artefacts, indent=2, ensure_ascii=False), encoding="utf-8")
    return Figures()


def schemes(targets: Sequence[str]) -> list[str]:
    """The GGUF schemes of targets such as `gguf:q4_k_m`.

    Raises RecipeError or ExportError for what cannot be made, MissingExtra where a library for it is not installed.
    """
    from arte_export import gguf
    from arte_export import schemes as known

    problems, found = [], []
    for target in targets:
        form, _, scheme = target.partition(":")
        if form not in FORMATS or not scheme:
            problems.append(f"export.targets: found {target!r}, expected FORMAT:SCHEME with a format of {FORMATS}")
        else:
            found.append(known.load(scheme).name)
    if problems:
        raise RecipeError("export", problems)
    if found:
        gguf.require()
    return found


def _files(folder: Path, student: Path, name: str, targets: Sequence[str]) -> list[tuple[Path, str]]:
    from arte_export import gguf

    names = schemes(targets)
    return list(zip(gguf.export(student, folder, names, name, models.arte_home()), names, strict=True))


def _artefact(
    student: Path, file: Path, scheme: str, task: Task, items: Sequence[Item], settings: Export
) -> dict[str, Any]:
    from arte_export import parity
    from arte_export.strings import test_strings
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student)
    conversations = [task.student_prompt(item.question) for item in items]
    prompts = [
        tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        for conversation in conversations[: settings.prompts]
    ]
    agreement = parity.check(student, file, test_strings(settings.strings), conversations, prompts)
    return {
        "file": file.name,
        "format": "gguf",
        "scheme": scheme,
        "bytes": file.stat().st_size,
        "sha256": hashlib.file_digest(file.open("rb"), "sha256").hexdigest(),
        "parity": agreement.model_dump(mode="json"),
    }


def export_model(model: str, targets: Sequence[str], out: Path, task_name: str, seed: int = 0) -> list[dict[str, Any]]:
    """`arte export`: the files of a hub id, a model folder or a run, and what the check says of each."""
    from arte import config, tasks
    from arte.recipe import Model
    from arte.recipe import Task as TaskSettings

    schemes(targets)
    settings = Export(targets=tuple(targets))
    if (Path(model) / "recipe.yaml").is_file():
        run, recipe = Path(model), config.load_saved(Path(model) / "recipe.yaml")
        student, name, task_settings = shipped(run, recipe), recipe.name, recipe.task
    else:
        folder = models.resolve(Model(name=model))
        student, name, task_settings = folder.path, Path(folder.name).name, TaskSettings(name=task_name)
    task = tasks.load(task_settings.name)
    items = task.splits(task_settings, seed).seeds
    with disk.errors_for(out):
        disk.make(out)
        export(out, student, name, task, items, settings)
    artefacts: list[dict[str, Any]] = json.loads((out / "artefacts.json").read_text(encoding="utf-8"))
    return artefacts


def shipped(run: Path, recipe: Recipe) -> Path:
    """The model folder that a run ships: the last of its trained arms."""
    from arte.errors import WorkspaceError

    for arm in reversed(recipe.arms):
        folder = run / "distill" / arm / "model"
        if folder.is_dir():
            return folder
    raise WorkspaceError(f"{run}: holds no trained student yet; run `arte recipe {recipe.name} --out {run}` first")
