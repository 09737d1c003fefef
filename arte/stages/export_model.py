"""`arte export`: the device files of a hub id, a model folder, a LoRA adapter or a run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from arte import arms, disk, models, tasks
from arte.errors import WorkspaceError
from arte.models.folder import ModelFolder
from arte.models.starter import STARTER_MODELS
from arte.recipe import Arm, Evaluate, Export, Model, Recipe
from arte.recipe import Task as TaskSettings
from arte.report import export_card
from arte.stages import calibration
from arte.stages.export import export
from arte.tasks import located
from arte.tasks.mixture import first_of_each
from arte.tasks.task import Taught

if TYPE_CHECKING:
    from arte_export.metadata import Metadata, Source
    from arte_export.student_files import Calibrating


class _Student(NamedTuple):
    """What is exported. `run` is the run folder that it is from, `base` what it was made from."""

    folder: Path
    name: str
    task: TaskSettings
    base: str | None
    run: Path | None


def export_model(
    model: str,
    targets: Sequence[str],
    out: Path,
    task: TaskSettings,
    base: str | None,
    calibrate: Path | None,
    settings: Export,
    say: Callable[[str], None],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Writes the files, parity.json and MODEL_CARD.md into `out`; gives the entries of parity.json.

    `base` names the base model of an adapter where its own configuration should not be followed.

    Raises RecipeError, ModelError, DataError and arte_export's errors.
    """
    from arte_export import targets as known

    wanted = known.parse(targets)
    require(wanted)
    with disk.errors_for(out):
        disk.make(out)
        student = _student(model, base, task, out)
        chosen = tasks.taught(student.task.name)
        with located.noted() as read:
            splits = chosen.splits(student.task, seed)
        asked = splits.test if settings.test is None else first_of_each(splits.test, settings.test)
        calibrating = _calibrating(calibrate, student, settings, chosen)
        metadata = described(student.folder, student.name, student.base, chosen.data_source)
        export(
            out, student.folder, wanted, metadata, chosen, {"test": asked}, [],
            calibrating, Evaluate(), say,
        )  # fmt: skip
        artefacts: list[dict[str, Any]] = json.loads((out / "parity.json").read_text(encoding="utf-8"))
        modelfile = next((entry["modelfile"] for entry in artefacts if entry["modelfile"]), None)
        page = export_card.card(metadata, artefacts, model, modelfile, chosen, read)
        (out / "MODEL_CARD.md").write_text(page, encoding="utf-8")
    return artefacts


def require(wanted: Any) -> None:
    """Raises MissingExtra where a library for one of the targets is not installed."""
    from arte_export import environment, gguf, onnx_genai

    formats = {target.format for target in wanted.files}
    if "gguf" in formats:
        gguf.require()
    if "onnx" in formats:
        onnx_genai.require()
    if "onnx-optimum" in formats:
        environment.python(models.arte_home())


def described(folder: Path, name: str, base: str | None, data: str | None) -> "Metadata":
    """What the files say of themselves: name, base model, data, licence where it is known."""
    from arte_export import model_folder
    from arte_export.metadata import Metadata

    starter = STARTER_MODELS.get((base or name).lower())
    licence = {"license": starter.licence.lower()} if starter else {}
    return Metadata.named(
        name,
        model_folder.inspect(folder).parameters,
        **licence,
        quantized_by="ARTE",
        tags=["arte", "text-generation"],
        base_models=[_source(base)] if base else None,
        description=f"Distilled on: {data}" if base and data else None,
    )


def shipped(run: Path, recipe: Recipe) -> Path:
    """The model folder that a run ships: the last of its trained arms, in the usual order."""
    for arm in reversed(arms.trained(recipe.arms)):
        folder = run / "distill" / arm / "model"
        if folder.is_dir():
            return folder
    raise WorkspaceError(f"{run}: holds no trained student yet; run `arte recipe {recipe.name} --out {run}` first")


def _source(name: str) -> "Source":
    from arte_export.metadata import Source

    hub_id = STARTER_MODELS[name].hub_id if name in STARTER_MODELS else name
    organization, _, short = hub_id.rpartition("/")
    if not organization or "/" in organization or Path(name).exists():
        return Source(name=Path(name).name)
    return Source(name=short, organization=organization, repo_url=f"https://huggingface.co/{hub_id}")


def _student(model: str, base: str | None, task: TaskSettings, out: Path) -> _Student:
    from arte_export import adapter, model_folder

    from arte import config

    path = Path(model)
    if (path / "recipe.yaml").is_file():
        recipe = config.load_saved(path / "recipe.yaml")
        return _Student(shipped(path, recipe), recipe.name, recipe.task, recipe.student.name, path)
    if model_folder.is_adapter(path):
        found = base or adapter.base_name(path)
        merged = out / "merged"
        resolved = models.resolve(Model(name=found)).path
        # what is there may be of an earlier export, or the user's: kept if it is this very merge, else an error
        (adapter.check if merged.exists() else adapter.merge)(path, resolved, merged)
        return _Student(merged, path.name, task, found, None)
    folder: ModelFolder = models.resolve(Model(name=model))
    known = STARTER_MODELS.get(folder.name)
    name = known.hub_id.rpartition("/")[2] if known else Path(folder.name).name
    return _Student(folder.path, name, task, None, None)


def _calibrating(path: Path | None, student: _Student, settings: Export, task: Taught) -> "Calibrating | None":
    if path is not None:
        return calibration.of_file(path, task, student.folder)
    if student.run is None:
        return None
    from arte import config

    trained = student.folder.parent
    recipe = config.load_saved(student.run / "recipe.yaml")
    teacher = arms.teacher_of(cast(Arm, trained.name), recipe)
    drafted = student.run / arms.drafts_folder(teacher, recipe.rounds)
    return calibration.of_run(drafted, trained, settings.calibration, task, student.folder)
