"""A training that is stopped and begun again ends as if it had never stopped."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from arte.errors import LimitReached
from arte.models import ModelFolder
from arte.recipe import Distill
from arte.rows import Example
from arte.stages import training as arte_training
from arte.stages.distill import distill, steps_of
from arte.stages.training import ALONE, WHOLE, Around
from arte.tasks import Task
from tests.stages.conftest import Loaded, load
from tests.stages.scripted import Stopped

# One example a step: nine steps.
SETTINGS = Distill(batch_tokens=1, packing=False, learning_rate=1e-3)
STEPS = 9


@pytest.fixture(autouse=True)
def _checkpoint_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arte_training, "CHECKPOINT_SECONDS", 0.0)


class Ended(NamedTuple):
    """A finished training."""

    weights: dict[str, torch.Tensor]
    metrics: list[dict[str, float]]


class Training:
    """The same distillation, as often as asked, each time with the student loaded anew."""

    def __init__(self, student: ModelFolder, task: Task, examples: list[Example]) -> None:
        self.student, self.task, self.examples = student, task, examples

    def run(self, folder: Path, prepare: Callable[[Loaded], Any] = lambda _: None, around: Around = ALONE) -> Ended:
        student = load(self.student)
        prepare(student)
        folder.mkdir(exist_ok=True)
        steps = steps_of(self.examples, self.task, student.tokenizer, SETTINGS)
        distill(
            folder, self.examples, self.task, student.model, student.tokenizer, SETTINGS, steps=steps, bf16=False,
            seed=0, around=around,
        )  # fmt: skip
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return Ended(load_file(folder / "model" / "model.safetensors"), [json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def training(tiny_student: ModelFolder, starter: Task, examples: list[Example]) -> Training:
    return Training(tiny_student, starter, examples)


@pytest.fixture(scope="module")
def uninterrupted(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return training.run(tmp_path_factory.mktemp("whole") / "arm")


def check_alike(ended: Ended, uninterrupted: Ended) -> None:
    assert ended.weights.keys() == uninterrupted.weights.keys()
    assert len(ended.weights) == 20
    for name, weights in uninterrupted.weights.items():
        torch.testing.assert_close(ended.weights[name], weights, rtol=0, atol=1e-5)
    assert [row["step"] for row in ended.metrics] == list(range(1, STEPS + 1))
    for name in ("loss", "learning_rate"):
        assert [row[name] for row in ended.metrics] == pytest.approx([row[name] for row in uninterrupted.metrics])


def whole_checkpoints(folder: Path) -> list[str]:
    return [path.parent.name for path in folder.glob(f"checkpoints/checkpoint-*/{WHOLE}")]


def test_nothing_but_the_result_is_left(training: Training, uninterrupted: Ended, tmp_path: Path) -> None:
    again = training.run(tmp_path / "arm")
    check_alike(again, uninterrupted)
    assert not (tmp_path / "arm" / "checkpoints").exists()


@pytest.mark.parametrize(("stopped_in_step", "checkpoint"), [(1, None), (2, 1), (5, 4), (9, 8)])
def test_stopped_in_any_step(
    training: Training, uninterrupted: Ended, tmp_path: Path, stopped_in_step: int, checkpoint: int | None
) -> None:
    folder = tmp_path / "arm"
    with pytest.raises(Stopped):
        training.run(folder, lambda student: student.stop_at(stopped_in_step))
    assert whole_checkpoints(folder) == ([f"checkpoint-{checkpoint}"] if checkpoint else [])
    passes: list[list[int]] = []
    ended = training.run(folder, lambda student: passes.append(student.count_passes()))
    assert len(passes[0]) == STEPS - (checkpoint or 0)  # no step before the checkpoint is done again
    check_alike(ended, uninterrupted)


def test_stopped_again_and_again(training: Training, uninterrupted: Ended, tmp_path: Path) -> None:
    for passes in (4, 2, 4):  # steps 1 to 3; 4; 5 to 7
        with pytest.raises(Stopped):
            training.run(tmp_path / "arm", lambda student, passes=passes: student.stop_at(passes))  # type: ignore[misc]
    assert whole_checkpoints(tmp_path / "arm") == ["checkpoint-7"]
    check_alike(training.run(tmp_path / "arm"), uninterrupted)


def test_a_checkpoint_and_a_line_that_were_cut_short_are_not_trusted(
    training: Training, uninterrupted: Ended, tmp_path: Path
) -> None:
    folder = tmp_path / "arm"
    with pytest.raises(Stopped):
        training.run(folder, lambda student: student.stop_at(6))
    cut = folder / "checkpoints" / "checkpoint-6"
    cut.mkdir()
    (cut / "model.safetensors").write_bytes(b"\x08")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "lo')
    check_alike(training.run(folder), uninterrupted)


@contextmanager
def watched(heard: Callable[[str, Path], None]) -> Iterator[None]:
    """Hears of each removal of a folder or file by its path, in the block."""
    listening = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event in ("shutil.rmtree", "os.remove") and isinstance(arguments[0], str | Path):
            heard(event, Path(arguments[0]))

    sys.addaudithook(hook)
    try:
        yield
    finally:
        listening = False


def test_a_checkpoint_loses_its_mark_before_anything_else(training: Training, tmp_path: Path) -> None:
    """Removing a folder takes time: one that is killed in it must not be taken for whole."""
    removed = []

    def heard(event: str, path: Path) -> None:
        if event == "shutil.rmtree" and "checkpoint" in path.name:
            removed.append(path.name)
            assert not list(path.rglob(WHOLE))
            if path.name == "checkpoint-3":  # its successor can be gone on from already
                assert whole_checkpoints(tmp_path / "arm") == ["checkpoint-4"]

    with watched(heard):
        training.run(tmp_path / "arm")
    # None after the last step: the result itself is written then.
    assert removed == [f"checkpoint-{step}" for step in range(1, STEPS)] + ["checkpoints"]


def test_a_short_training_writes_no_checkpoint(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arte_training, "CHECKPOINT_SECONDS", 300.0)
    removed = []
    with watched(lambda event, path: removed.append(path.name) if event == "shutil.rmtree" else None):
        training.run(tmp_path / "arm")
    assert removed == ["checkpoints"]


def test_stopped_between_the_last_checkpoint_and_the_result(
    training: Training, uninterrupted: Ended, tmp_path: Path
) -> None:
    def heard(event: str, path: Path) -> None:
        if event == "shutil.rmtree" and path.name == "checkpoints":
            raise Stopped

    with watched(heard), pytest.raises(Stopped):
        training.run(tmp_path / "arm")
    assert whole_checkpoints(tmp_path / "arm") == []  # removed one by one before the folder
    passes: list[list[int]] = []
    check_alike(training.run(tmp_path / "arm", lambda student: passes.append(student.count_passes())), uninterrupted)
    assert len(passes[0]) == STEPS


def test_stops_where_no_time_is_left_for_another_step_and_goes_on(
    training: Training, uninterrupted: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arte_training, "CHECKPOINT_SECONDS", 1e9)
    left = iter([1e9, 1e9, 1e9, 0.0])
    said = r"limits.hours: another step of distill/arte would pass it; 4 of 9 are done and kept"
    with pytest.raises(LimitReached, match=said):
        training.run(tmp_path / "arm", around=Around("distill/arte", seconds_left=lambda: next(left)))
    assert whole_checkpoints(tmp_path / "arm") == ["checkpoint-4"]
    check_alike(training.run(tmp_path / "arm"), uninterrupted)


def test_a_tracker_has_the_figures_of_every_step(training: Training, uninterrupted: Ended, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    around = Around("distill/arte", ("tensorboard",), tmp_path / "logs")
    check_alike(training.run(tmp_path / "arm", around=around), uninterrupted)
    events = EventAccumulator(str(tmp_path / "logs" / "distill" / "arte"))
    events.Reload()
    told = events.Scalars("train/loss")
    assert [event.step for event in told] == list(range(1, STEPS + 1))
    assert [event.value for event in told] == pytest.approx([row["loss"] for row in uninterrupted.metrics])
