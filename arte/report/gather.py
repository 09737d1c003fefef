"""A Report from what lies in a run folder. A stage that is not there leaves nulls and empty lists, never zeros."""

from pathlib import Path
from typing import Any

from arte import arms, tasks
from arte.errors import WorkspaceError
from arte.ledger import by_stage, calls_of
from arte.recipe import STAGES, Recipe
from arte.report import averages
from arte.report.contract import (
    Artefact,
    Curve,
    Machine,
    Measurement,
    Model,
    Models,
    Planned,
    Report,
    Stage,
    Verdict,
)
from arte.report.drafts import data_of, examples_of, preference_of
from arte.report.files import document, lines, parsed
from arte.report.graded import accuracies, comparisons, losses, read_samples
from arte.report.lm_scores import lm_scores
from arte.stage_record import stage_of
from arte.stages.overlap import Overlap
from arte.tasks.located import Read

_CURVES = {"align": ("loss", "rewards/accuracies", "rewards/margins"), "distill": ("loss",)}


def gather(run: Path) -> Report:
    """The report of the run in folder `run`, complete or not.

    Raises WorkspaceError where `run` is not a run folder, DataError (file and line) where a file in it is broken.
    """
    if not (run / "recipe.yaml").is_file():
        raise WorkspaceError(f"{run}: holds no recipe.yaml, so it is no run folder; expected the folder given to --out")
    from arte.config import load_saved

    recipe = load_saved(run / "recipe.yaml")
    artefacts = parsed(run / "export" / "parity.json", Artefact)
    samples = read_samples(run, recipe, [artefact.file for artefact in artefacts])
    student_arm = _student_arm(run, recipe)
    return Report(
        recipe=recipe.name,
        scale=recipe.scale,
        task=tasks.called(recipe.task.name),
        data_source=_data_source(recipe),
        data_licence=(document(run / "data.json") or {}).get("licence"),
        data_read=[Read.model_validate(read) for read in (document(run / "data.json") or {}).get("read", [])],
        seed=recipe.seed,
        arte_version=_version(),
        machine=_one(run / "machine.json", Machine),
        models=_models(run),
        model_bytes=_weights_bytes(run, student_arm),
        student_arm=student_arm,
        stages=_stages(run),
        plan=parsed(run / "plan.json", Planned),
        ledger=list(by_stage(calls_of(run)).values()),
        data=data_of(run, recipe),
        overlaps=parsed(run / "overlap.json", Overlap),
        preference=preference_of(run, recipe),
        examples=examples_of(run),
        training=_training(run),
        accuracy=accuracies(samples, recipe, student_arm),
        losses=[*losses(samples, recipe), *averages.losses(samples, tasks.called(recipe.task.name), recipe.seed)],
        lm_tasks=lm_scores(run, recipe),
        averages=averages.averages(samples, student_arm),
        comparisons=[
            *comparisons(samples, recipe, student_arm),
            *averages.comparisons(samples, recipe.seed),
        ],
        artefacts=artefacts,
        measurements=parsed(run / "bench" / "measurements.jsonl", Measurement),
        verdicts=parsed(run / "bench" / "verdicts.json", Verdict),
        commands=_commands(run),
        settings=recipe.model_dump(mode="json"),
    )


def _version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("arte")
    except PackageNotFoundError:
        return None


def _data_source(recipe: Recipe) -> str | None:
    source: str = tasks.taught(recipe.task.name).data_source
    return f"{source} (read from {recipe.task.data})" if recipe.task.data else source


def _one(path: Path, kind: type[Machine]) -> Machine | None:
    content = document(path)
    return None if content is None else kind.model_validate(content)


def _models(run: Path) -> Models:
    content = document(run / "models.json") or {}
    return Models(**{role: Model.model_validate(content[role]) for role in ("teacher", "student") if content.get(role)})


def _student_arm(run: Path, recipe: Recipe) -> str | None:
    """The arm that is shipped, the last of the usual order; null while its student is still to be trained."""
    shipped = arms.shipped(recipe.arms)
    return shipped if shipped == "untrained" or (run / "distill" / shipped / "model").is_dir() else None


def _weights_bytes(run: Path, arm: str | None) -> int | None:
    if arm is None:
        return None
    return sum(file.stat().st_size for file in (run / "distill" / arm / "model").glob("*.safetensors")) or None


def _stages(run: Path) -> list[Stage]:
    """Every stage that is whole, in the order of the pipeline: one of several (an arm's, a score's) by its folder."""
    kept = set(document(run / "kept.json") or [])
    rows = []
    for path in [*run.glob("*/stage.json"), *run.glob("*/*/stage.json")]:
        name = path.parent.relative_to(run).as_posix()
        content: dict[str, Any] | None = document(path)
        if content is None or stage_of(name) not in STAGES:
            continue
        known = {key: content.get(key) for key in ("seconds", "tokens_in", "tokens_out", "peak_rss_bytes")}
        rows.append(Stage(name=name, kept=name in kept, **known))
    usual = list(arms.MADE)

    def order(row: Stage) -> tuple[int, int, str]:
        arm = row.name.partition("/")[2]
        return STAGES.index(stage_of(row.name)), usual.index(arm) if arm in usual else 0, row.name

    return sorted(rows, key=order)


def _training(run: Path) -> list[Curve]:
    curves = _curves(run / "align" / "metrics.jsonl", "align", None)
    for path in sorted((run / "distill").glob("*/metrics.jsonl")):
        curves += _curves(path, "distill", path.parent.name)
    return curves


def _curves(path: Path, stage: str, arm: str | None) -> list[Curve]:
    rows = lines(path)
    curves = []
    for metric in _CURVES[stage]:
        # Trainers end with a summary row that has no such key.
        points = [(row["step"], row[metric]) for row in rows if "step" in row and metric in row]
        if points:
            steps, values = zip(*points, strict=True)
            curves.append(
                Curve.model_validate({"stage": stage, "arm": arm, "metric": metric, "steps": steps, "values": values})
            )
    return curves


def _commands(run: Path) -> list[str]:
    path = run / "commands.txt"
    if not path.is_file():
        return []
    return list(dict.fromkeys(line for line in path.read_text("utf-8").splitlines() if line.strip()))
