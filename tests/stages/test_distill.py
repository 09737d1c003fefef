import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from trl.kernels import ChunkedLogProbFunction

from arte import models
from arte.models import ModelFolder
from arte.models.packed_attention import attend_by_example
from arte.recipe import Distill
from arte.rows import Example, read_rows
from arte.stages.distill import distill, steps_of
from arte.tasks import Task
from tests.stages.conftest import Loaded, load

ONE_ROW = Distill(batch_tokens=4096, learning_rate=1e-3, warmup=0.0)


class Trained(NamedTuple):
    """What came of a distillation."""

    folder: Path
    tokens: int
    metrics: list[dict[str, float]]

    def weights(self) -> dict[str, torch.Tensor]:
        model, _ = models.load(self.folder / "model", "float32", "cpu")
        return dict(model.state_dict())


def train(folder: Path, student: Loaded, task: Task, examples: list[Example], settings: Distill) -> Trained:
    folder.mkdir()
    steps = steps_of(examples, task, student.tokenizer, settings)
    tokens = distill(
        folder, examples, task, student.model, student.tokenizer, settings, steps=steps, bf16=False, seed=0
    )
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return Trained(folder, tokens, [json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def packed(
    tmp_path_factory: pytest.TempPathFactory, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> Trained:
    """Five examples packed into one row: one step."""
    return train(tmp_path_factory.mktemp("packed") / "arm", load(tiny_student), starter, examples[:5], ONE_ROW)


@torch.inference_mode()
def losses_by_hand(student: Loaded, task: Task, examples: list[Example]) -> dict[str, float]:
    """Mean negative log-probability a token of the completions, each example alone; and what it must not be."""
    completions, everything, rows = [], [], []
    for example in examples:
        prompt = student.ids(student.engine.render(task.student_prompt(example.question)))
        completion = student.ids(f"{example.rationale}\n#### {example.answer}<|im_end|>\n")
        rows.append((prompt, completion))
        ids = torch.tensor(prompt + completion)
        negative = _negative_logprobs(student.model, ids)
        completions.append(negative[len(prompt) - 1 :])
        everything.append(negative)
    joined = torch.tensor([token for prompt, completion in rows for token in prompt + completion])
    kept = torch.tensor([place for prompt, completion in rows for place in [0] * len(prompt) + [1] * len(completion)])
    leaking = _negative_logprobs(student.model, joined)[kept[1:] == 1]
    return {
        "completions": torch.cat(completions).mean().item(),
        "prompts too": torch.cat(everything).mean().item(),
        "each seeing those before": leaking.mean().item(),
        "mean of the examples' means": torch.stack([row.mean() for row in completions]).mean().item(),
    }


def _negative_logprobs(model: Any, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
    return -torch.log_softmax(logits, dim=-1).gather(1, ids[1:, None])[:, 0]


def test_packed_loss_is_the_token_weighted_mean_of_the_completions_alone(
    packed: Trained, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    by_hand = losses_by_hand(load(tiny_student), starter, examples[:5])
    assert len(packed.metrics) == 1
    assert packed.metrics[0]["loss"] == pytest.approx(by_hand.pop("completions"), abs=1e-4)
    # Nothing else passes for it: prompt tokens, packed neighbours and the weight of each example would all be seen.
    assert len(by_hand) == 3
    for loss in by_hand.values():
        assert abs(loss - packed.metrics[0]["loss"]) > 1e-3


@pytest.mark.parametrize("packing", [True, False])
def test_logits_are_computed_for_completions_alone(
    tmp_path: Path,
    tiny_student: ModelFolder,
    starter: Task,
    examples: list[Example],
    packing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = []
    apply = ChunkedLogProbFunction.apply

    def counts(hidden: torch.Tensor, *others: Any) -> Any:
        counted.append(len(hidden))
        return apply(hidden, *others)

    monkeypatch.setattr(ChunkedLogProbFunction, "apply", counts)
    student = load(tiny_student)
    train(tmp_path / "arm", student, starter, examples[:5], ONE_ROW.model_copy(update={"packing": packing}))
    completions = [f"{example.rationale}\n#### {example.answer}<|im_end|>\n" for example in examples[:5]]
    assert sum(counted) == sum(len(student.ids(text)) for text in completions)
    assert student.model.config._attn_implementation == ("arte_packed" if packing else "sdpa")


def test_a_window_shorter_than_the_row_keeps_its_own_attention(tiny_student: ModelFolder) -> None:
    for window, used in ((None, "arte_packed"), (64, "arte_packed"), (63, "sdpa")):
        model = load(tiny_student).model
        model.config.sliding_window = window
        attend_by_example(model, row_tokens=64)
        assert model.config._attn_implementation == used


def test_unpacked_training_is_the_same(
    tmp_path: Path, packed: Trained, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    settings = ONE_ROW.model_copy(update={"packing": False})
    unpacked = train(tmp_path / "arm", load(tiny_student), starter, examples[:5], settings)
    assert unpacked.metrics[0]["loss"] == pytest.approx(packed.metrics[0]["loss"], abs=1e-4)
    assert unpacked.metrics[0]["grad_norm"] == pytest.approx(packed.metrics[0]["grad_norm"], rel=1e-3)
    assert unpacked.tokens == packed.tokens


def test_every_parameter_moved(packed: Trained, tiny_student: ModelFolder) -> None:
    before, after = dict(load(tiny_student).model.state_dict()), packed.weights()
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    # 9 tensors a layer: q, k, v, o, gate, up, down and two norms; the last norm; embeddings, and the head tied to them
    assert len(moved) == len(before) == 2 * 9 + 1 + 2


def test_what_a_distilled_folder_holds(
    packed: Trained, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    student = load(tiny_student)
    assert sorted(path.name for path in packed.folder.iterdir()) == ["examples.jsonl", "metrics.jsonl", "model"]
    assert read_rows(packed.folder / "examples.jsonl", Example) == examples[:5]
    assert not [path for path in (packed.folder / "model").iterdir() if path.suffix in (".bin", ".pt", ".pth")]
    taught = Loaded(*models.load(packed.folder / "model", "float32", "cpu"))
    prompt = starter.student_prompt(examples[0].question)
    assert taught.engine.render(prompt) == student.engine.render(prompt)
    assert taught.ids(examples[0].question) == student.ids(examples[0].question)
    whole = [
        student.engine.render(starter.student_prompt(example.question))
        + f"{example.rationale}\n#### {example.answer}<|im_end|>\n"
        for example in examples[:5]
    ]
    assert packed.tokens == sum(len(student.ids(text)) for text in whole) == packed.metrics[0]["num_tokens"]


@pytest.mark.parametrize("packing", [True, False])
def test_a_row_shorter_than_an_example_cuts_nothing(
    tmp_path: Path, tiny_student: ModelFolder, starter: Task, examples: list[Example], packing: bool
) -> None:
    settings = Distill(batch_tokens=16, packing=packing, epochs=2.0)
    trained = train(tmp_path / "arm", load(tiny_student), starter, examples[:3], settings)
    assert trained.metrics[-1]["num_tokens"] == trained.tokens
    assert [row["step"] for row in trained.metrics] == list(range(1, len(trained.metrics) + 1))
    assert trained.metrics[-1]["epoch"] == 2.0


def test_the_rate_rises_and_falls_to_nothing(
    tmp_path: Path, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    settings = Distill(batch_tokens=1, packing=False, learning_rate=1e-2, warmup=0.25)
    trained = train(tmp_path / "arm", load(tiny_student), starter, examples[:8], settings)
    # 8 steps, 2 of them rising: 0, 1/2, then 1, 5/6, 4/6, … of the peak
    expected = [0.0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [row["learning_rate"] for row in trained.metrics] == pytest.approx([1e-2 * share for share in expected])


def test_an_adapter_is_merged_into_all_linear_layers(
    tmp_path: Path, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    settings = Distill(method="lora", lora_rank=4, lora_alpha=8.0, learning_rate=1e-2, batch_tokens=300)
    trained = train(tmp_path / "arm", load(tiny_student), starter, examples, settings)
    before, after = dict(load(tiny_student).model.state_dict()), trained.weights()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert moved == linear
    assert len(linear) == 2 * 7
    for name in linear:  # what was added has the adapter's rank
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 4


def test_steps_and_tokens_are_what_is_asked_for(
    tmp_path: Path, tiny_student: ModelFolder, starter: Task, examples: list[Example]
) -> None:
    """Seven steps over two rows: three passes and a half."""
    student, settings = load(tiny_student), Distill(batch_tokens=1, learning_rate=1e-3)
    assert steps_of(examples[:2], starter, student.tokenizer, settings) == 2
    assert steps_of(examples[:2], starter, student.tokenizer, settings.model_copy(update={"epochs": 2.5})) == 5
    folder = tmp_path / "arm"
    folder.mkdir()
    tokens = distill(
        folder, examples[:2], starter, student.model, student.tokenizer, settings, steps=7, bf16=False, seed=0
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in lines] == list(range(1, 8))
    assert lines[-1]["learning_rate"] == pytest.approx(1e-3 / 7)  # falls over all seven
    lengths = [
        len(student.ids(student.engine.render(starter.student_prompt(example.question))))
        + len(student.ids(f"{example.rationale}\n#### {example.answer}<|im_end|>\n"))
        for example in examples[:2]
    ]
    assert tokens == round(3.5 * sum(lengths))
