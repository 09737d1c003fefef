"""Training in several processes that `accelerate launch` starts: each does what one alone would do, with its share of
each batch, and the first of them writes.

The stage that trains writes a job into its folder and waits; `python -m arte.launched FOLDER` is what each runs.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from arte import errors, models, resources, tasks
from arte.atomic import replace_text
from arte.errors import ArteError, RecipeError, StageError
from arte.recipe import Align, Distill, Tracker
from arte.rows import Example, Pair, Row, read_rows, write_rows
from arte.workspace import StageFolder

if TYPE_CHECKING:
    from arte.one_run import Run

JOB, ROWS, DONE, LOG = "job.json", "job-rows.jsonl", "job-done.json", "job-log.txt"
LINES_SHOWN = 15


class Job(Row):
    """One training. `weights` is the model's folder; adapters are merged into it in order."""

    stage: str
    settings: Align | Distill
    weights: Path
    adapters: list[Path]
    dtype: Literal["float32", "bfloat16"]
    trust_remote_code: bool
    task: str
    steps: int | None
    """Of distillation."""
    bf16: bool
    seed: int
    trackers: list[Tracker]
    logs: Path
    ends: float | None
    """When the run must stop, in seconds since the epoch."""


def config_file(launch: str) -> Path:
    """The file that `--launch accelerate:CONFIG` names: a path, or ddp, fsdp or deepspeed, which come with ARTE.

    Raises RecipeError.
    """
    program, _, name = launch.partition(":")
    ours = resources.folder("recipes") / "launch" / f"{name}.yaml"
    path = ours if ours.is_file() else Path(name)
    known = ", ".join(sorted(file.stem for file in ours.parent.glob("*.yaml")))
    if program != "accelerate" or not name:
        raise RecipeError("--launch", [f"found {launch!r}, expected accelerate:CONFIG ({known}, or a YAML file)"])
    if not path.is_file():
        raise RecipeError("--launch", [f"{name}: no such file, and none of {known}"])
    return path


def job(
    run: "Run", stage: str, settings: Align | Distill, weights: Path, adapters: Sequence[Path], steps: int | None = None
) -> Job:
    """What a stage of a run is to train."""
    aligns = isinstance(settings, Align)
    left = run.ledger.seconds_left()
    return Job(
        stage=stage,
        settings=settings,
        weights=weights.absolute(),
        adapters=[adapter.absolute() for adapter in adapters],
        dtype=run.models.dtype if aligns else run.models.trained_dtype,
        trust_remote_code=(run.recipe.teacher if aligns else run.recipe.student).trust_remote_code,
        task=run.recipe.task.name,
        steps=steps,
        bf16=run.models.dtype == "bfloat16",
        seed=run.recipe.seed,
        trackers=list(run.recipe.trackers),
        logs=(run.workspace.root / "tensorboard").absolute(),
        ends=None if left == float("inf") else time.time() + left,
    )


class Trained(NamedTuple):
    """By how many processes, and on how many tokens, if they were counted."""

    processes: int
    tokens: int | None


def launch(config: Path, folder: Path, job: Job, rows: Sequence[Pair] | Sequence[Example]) -> Trained:
    """Trains in the processes that an accelerate configuration describes.

    Raises what a process of them raised of arte.errors, StageError with its last lines where it died.
    """
    write_rows(folder / ROWS, rows)
    replace_text(folder / JOB, job.model_dump_json(indent=2))
    (folder / DONE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config.absolute())]
    with (folder / LOG).open("w", encoding="utf-8") as log:
        ended = subprocess.run([*command, "-m", "arte.launched", str(folder.absolute())], stdout=log, stderr=log)
    done = json.loads((folder / DONE).read_text(encoding="utf-8")) if (folder / DONE).exists() else {}
    if "error" in done:
        kind: type[ArteError] = getattr(errors, done["error"])
        raise kind(done["message"])
    if ended.returncode or not done:
        last = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:]
        raise StageError(
            f"{job.stage}: accelerate ended with {ended.returncode}; the whole of what it said is in {folder / LOG}. "
            "Last lines:\n" + "\n".join(f"  | {line}" for line in last)
        )
    for name in (JOB, ROWS, DONE, LOG):
        (folder / name).unlink()
    return Trained(done["processes"], done["tokens"])


def main() -> None:
    """One process of a job."""
    from arte.stages.training import is_first, processes

    folder = Path(sys.argv[1])
    try:
        done: dict[str, Any] = {"tokens": work(folder, Job.model_validate_json((folder / JOB).read_bytes()))}
    except (StageError, errors.LimitReached, errors.ModelError) as error:
        done = {"error": type(error).__name__, "message": str(error)}
    done["processes"] = processes()
    if is_first():
        replace_text(folder / DONE, json.dumps(done))


def work(folder: Path, job: Job) -> int | None:
    """What the stage would do alone."""
    from arte.stages.align import align, merge_adapter
    from arte.stages.distill import distill
    from arte.stages.training import Around

    # On the CPU: the trainer puts it where this process computes, or shares it out.
    model, tokenizer = models.load(job.weights, job.dtype, "cpu", job.trust_remote_code)
    for adapter in job.adapters:
        model = merge_adapter(model, adapter)
    ends = float("inf") if job.ends is None else job.ends
    around = Around(job.stage, job.trackers, job.logs, lambda: ends - time.time())
    if isinstance(job.settings, Align):
        pairs = read_rows(folder / ROWS, Pair)
        align(
            StageFolder(folder, True), pairs, model, tokenizer, job.settings, bf16=job.bf16, seed=job.seed,
            around=around,
        )  # fmt: skip
        return None
    assert job.steps is not None
    return distill(
        folder, read_rows(folder / ROWS, Example), tasks.taught(job.task), model, tokenizer, job.settings,
        steps=job.steps, bf16=job.bf16, seed=job.seed, around=around,
    )  # fmt: skip


if __name__ == "__main__":
    main()
