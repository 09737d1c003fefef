"""What the two training stages share: trainer settings, checkpoints that are whole or ignored, metrics on disk."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from arte.atomic import sync_tree
from arte.errors import LimitReached
from arte.progress import progress
from arte.recipe import Tracker

CHECKPOINT_SECONDS = 300.0
"""Between two checkpoints, the last one kept: what a killed run repeats at most. A checkpoint holds the weights and the
optimizer's state, three times the model's size, so a short training writes none."""
WHOLE = "whole"
"""An empty file written into a checkpoint after everything else: without it, the checkpoint was cut short."""


def processes() -> int:
    """How many train together (accelerate and torchrun say so)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


class Around(NamedTuple):
    """What a training answers to besides its settings."""

    name: str = "training"
    """As trackers show it."""
    trackers: Sequence[Tracker] = ()
    logs: Path = Path("tensorboard")
    """Where TensorBoard's files go."""
    seconds_left: Callable[[], float] = lambda: math.inf
    """Until the run must stop."""


ALONE = Around()
"""A training outside a run."""


def common_arguments(
    folder: Path, *, steps: int, warmup: float, bf16: bool, seed: int, around: Around
) -> dict[str, Any]:
    """Settings of TRL's trainers that are the same for alignment and distillation; `warmup` is a share of `steps`.

    The share is rounded down, not up as in transformers: the first step of a warm-up has a rate of zero, and of a
    handful of steps none should teach nothing.
    """
    import torch

    return {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "bf16": bf16,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "no",  # Record asks for checkpoints by the clock
        "warmup_steps": int(warmup * steps),
        # TensorBoard's files would go into the folder of the checkpoints, and with it.
        "report_to": [name for name in around.trackers if name != "tensorboard"] or "none",
        "run_name": around.name,
        "disable_tqdm": True,
        "max_length": None,
    }


def score_labels_only() -> None:
    """Has TRL compute logits of labelled tokens only, on a CPU as on a GPU.

    TRL 1.16 does so where it has its Triton kernel and nowhere else, so that shapes stay the same from batch to batch.
    On a CPU that costs more than it saves: prompts are most of a row, and their logits half of a training step.
    """
    from trl.trainer import utils

    utils._use_triton = lambda _device: True  # asked by the choice of positions alone; the kernel asks for itself


class Record(TrainerCallback):  # type: ignore[misc]
    """Writes each step's figures to metrics.jsonl, asks for checkpoints and marks whole ones, moves the bar."""

    def __init__(self, metrics: Path, told: Any, seconds_left: Callable[[], float]) -> None:
        self.metrics = metrics
        self.told = told
        self.saved_at = self.step_began = time.monotonic()
        self.seconds_left = seconds_left
        self.slowest = 0.0
        self.out_of_time = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        self.step_began = time.monotonic()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_kwargs: Any
    ) -> None:
        """One line a logged step; the summary at the end of training has no loss and is left out."""
        if logs and "loss" in logs and state.is_world_process_zero:
            row = {"step": state.global_step, **{name: float(value) for name, value in logs.items()}}
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        self.told(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """Asks for a checkpoint when the last one is old, or where no time is left for another step; after the last
        step the result itself comes next."""
        if state.global_step >= state.max_steps:
            return
        self.slowest = max(self.slowest, time.monotonic() - self.step_began)
        if self.seconds_left() <= self.slowest:
            self.out_of_time = control.should_training_stop = True
        if self.out_of_time or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any) -> None:
        """Called when all of a checkpoint is written: marks it, and only then removes the others."""
        self.saved_at = time.monotonic()
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir))
        new = folder / f"checkpoint-{state.global_step}"
        sync_tree(new)
        (new / WHOLE).touch()
        for checkpoint in folder.glob("checkpoint-*"):
            if checkpoint != new:
                _remove(checkpoint)


def train(trainer: Any, folder: Path, metrics: Path, what: str, steps: int, around: Around) -> None:
    """Runs a trainer from its last whole checkpoint, writes `metrics`, and removes the checkpoints at the end.

    Raises LimitReached, with a checkpoint on disk, where no time is left.
    """
    checkpoints = sorted(
        (path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")), key=lambda path: int(path.name.split("-")[1])
    )
    done = int(checkpoints[-1].name.split("-")[1]) if checkpoints else 0
    if is_first():
        _keep_metrics(metrics, done)
    with progress(what, steps) as told:
        trainer.remove_callback(PrinterCallback)
        record = Record(metrics, told, around.seconds_left)
        trainer.add_callback(record)
        if "tensorboard" in around.trackers and is_first():
            from torch.utils.tensorboard import SummaryWriter
            from transformers.integrations import TensorBoardCallback

            trainer.add_callback(TensorBoardCallback(SummaryWriter(str(around.logs / around.name))))
        trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    if record.out_of_time:
        raise LimitReached(
            f"limits.hours: another step of {around.name} would pass it; {trainer.state.global_step} of {steps} are "
            "done and kept: the same command with a higher limits.hours goes on"
        )
    trainer.accelerator.wait_for_everyone()
    if is_first():
        for checkpoint in folder.glob("checkpoint-*"):
            _remove(checkpoint)
        shutil.rmtree(folder)


def save(trainer: Any, folder: Path) -> None:
    """The trained weights as safetensors, gathered from all processes."""
    if processes() == 1:
        trainer.model.save_pretrained(folder)
        return
    trainer.save_model(str(folder))
    if is_first():
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle


def _remove(checkpoint: Path) -> None:
    """The mark goes first: a checkpoint that is killed in its removal is no longer whole."""
    (checkpoint / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def _keep_metrics(metrics: Path, done: int) -> None:
    """Drops the lines of steps after the checkpoint that training goes on from: they will be made again."""
    lines = metrics.read_text(encoding="utf-8").split("\n")[:-1] if metrics.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] <= done]
    metrics.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
