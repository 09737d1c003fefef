"""Two processes (gloo, on the CPU) train as one does, with the same batch between them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from arte import launched
from arte.errors import RecipeError, StageError
from arte.launched import Job, config_file
from arte.models import ModelFolder
from arte.recipe import Align, Distill
from arte.rows import Example, Pair, read_rows
from arte.stages.align import align
from arte.stages.distill import _lengths, distill
from arte.tasks import Task
from arte.workspace import StageFolder
from tests.stages.conftest import load

DPO = Align(batch_size=2, micro_batch_size=1, lora_rank=4, lora_alpha=8.0, learning_rate=1e-2, warmup=0.0)
SFT = Distill(packing=False, learning_rate=1e-3)


def job(model: ModelFolder, settings: Align | Distill, steps: int | None = None) -> Job:
    return Job(
        stage="align", settings=settings, weights=model.path, adapters=[], dtype="float32", trust_remote_code=False,
        task="starter", steps=steps, bf16=False, seed=0, trackers=[], logs=Path("logs"), ends=None,
    )  # fmt: skip


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def check_alike(two: Path, one: Path, weights: str, steps: int) -> None:
    assert [row["step"] for row in metrics(two)] == list(range(1, steps + 1))
    for name, tolerance in (("loss", 1e-4), ("learning_rate", 1e-9)):
        assert [row[name] for row in metrics(two)] == pytest.approx([row[name] for row in metrics(one)], abs=tolerance)
    found, wanted = load_file(two / weights), load_file(one / weights)
    assert found.keys() == wanted.keys()
    # Adam's first steps are the rate in the direction of each gradient's sign, so a sum of nothing goes either way.
    moved = torch.cat([(found[name] - wanted[name]).abs().flatten() for name in wanted])
    assert moved.median() < 1e-5
    assert (moved > 1e-3).float().mean() < 0.01


@pytest.fixture
def pairs(starter: Task, examples: list[Example]) -> list[Pair]:
    return [
        Pair(
            level="rationale", prompt=json.dumps(starter.rationale_prompt(chosen.question, None)),
            chosen=starter.completion(chosen.rationale, chosen.answer),
            rejected=starter.completion(rejected.rationale, rejected.answer),
            chosen_id=chosen.id, rejected_id=rejected.id, margin=0.5,
        )
        for chosen, rejected in pairwise(examples[:7])
    ]  # fmt: skip


def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.slow
def test_alignment(tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]) -> None:
    one, two = folders(tmp_path)
    model, tokenizer = load(tiny_teacher)
    align(StageFolder(one, False), pairs, model, tokenizer, DPO, bf16=False, seed=0)
    assert launched.launch(config_file("accelerate:ddp-cpu"), two, job(tiny_teacher, DPO), pairs) == (2, None)
    check_alike(two, one, "adapter/adapter_model.safetensors", 3)
    assert sorted(path.name for path in two.iterdir()) == ["adapter", "metrics.jsonl"]
    assert not list(two.rglob("*.bin"))


@pytest.mark.slow
def test_distillation(tmp_path: Path, tiny_student: ModelFolder, starter: Task, examples: list[Example]) -> None:
    one, two = folders(tmp_path)
    model, tokenizer = load(tiny_student)
    half = SFT.model_copy(update={"batch_tokens": 1 + sum(_lengths(examples[:8], starter, tokenizer)) // 2})
    tokens = distill(one, examples[:8], starter, model, tokenizer, half, steps=4, bf16=False, seed=0)
    found = launched.launch(config_file("accelerate:ddp-cpu"), two, job(tiny_student, half, 4), examples[:8])
    assert found == (2, tokens)
    check_alike(two, one, "model/model.safetensors", 4)
    assert sorted(path.name for path in two.iterdir()) == ["examples.jsonl", "metrics.jsonl", "model"]
    assert read_rows(two / "examples.jsonl", Example) == examples[:8]
    assert not list(two.rglob("*.bin"))


def test_a_batch_that_cannot_be_shared_out(tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]) -> None:
    odd = DPO.model_copy(update={"batch_size": 3})
    with pytest.raises(StageError, match=r"align.batch_size=3 pairs a step cannot be shared out evenly among 2"):
        launched.launch(config_file("accelerate:ddp-cpu"), tmp_path, job(tiny_teacher, odd), pairs)


def test_processes_that_die_are_an_error_with_their_last_words(
    tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]
) -> None:
    lost = job(tiny_teacher, DPO).model_copy(update={"adapters": [tmp_path / "no-adapter"]})
    with pytest.raises(StageError, match=r"accelerate ended with 1; the whole of what it said is in .*log.txt") as dead:
        launched.launch(config_file("accelerate:ddp-cpu"), tmp_path, lost, pairs)
    assert "no-adapter" in (tmp_path / launched.LOG).read_text()
    assert str(dead.value).count("\n  | ") == launched.LINES_SHOWN


def test_the_name_of_a_configuration(tmp_path: Path) -> None:
    assert config_file("accelerate:fsdp").name == "fsdp.yaml"
    (tmp_path / "mine.yaml").write_text("")
    assert config_file(f"accelerate:{tmp_path}/mine.yaml") == tmp_path / "mine.yaml"
    with pytest.raises(
        RecipeError, match=r"found 'torchrun', expected accelerate:CONFIG \(ddp, ddp-cpu, deepspeed, fsdp"
    ):
        config_file("torchrun")
    with pytest.raises(RecipeError, match=r"fdsp: no such file, and none of ddp, ddp-cpu, deepspeed, fsdp"):
        config_file("accelerate:fdsp")
