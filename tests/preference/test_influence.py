import copy
from typing import Any

import pytest
import torch

from arte import models
from arte.errors import ModelError
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.preference.icl import IclLogprob
from arte.preference.influence import Influence, _batches
from arte.preference.trained import TrainedRow, trained_row
from arte.recipe import Distill
from arte.rows import Example
from arte.stages.choosing import item_as_example
from arte.tasks import Splits, Task

DRAFTS = [
    Example(id="a", question="Bela packs 4 boxes. How many?", rationale="Each holds 6: 4 * 6 = 24 cups.", answer="24"),
    Example(id="b", question="How many?", rationale="3 + 2 = 5 cats.", answer="5"),
]
FULL = Distill(learning_rate=1e-3, batch_tokens=120, weight_decay=0.1)
LORA = Distill(method="lora", lora_rank=4, lora_alpha=8, learning_rate=1e-2, batch_tokens=120)


def influence(
    student: ModelFolder, task: Task, splits: Splits, settings: Distill, *, first_order: bool = False
) -> Influence:
    torch.manual_seed(5)  # of the adapter
    model, tokenizer = models.load(student.path, "float32", "cpu")
    warm_up = [item_as_example(item) for item in splits.seeds]
    return Influence(model, tokenizer, task, splits.probes, warm_up, settings, 3, first_order=first_order)


def state(scorer: Influence) -> dict[str, torch.Tensor]:
    held = {name: value.clone() for name, value in scorer.model.state_dict().items()}
    for place, weight in enumerate(scorer.weights):
        held |= {f"{place} {name}": value.clone() for name, value in scorer.optimizer.state[weight].items()}
    return held


def test_batches_hold_about_so_many_tokens() -> None:
    rows = [TrainedRow([0] * length, 1) for length in (5, 5, 3, 12, 1, 9)]
    assert [[len(row.ids) for row in batch] for batch in _batches(rows, 10)] == [[5, 5], [3], [12], [1, 9]]


@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_a_value_is_what_a_step_of_adamw_does(
    tiny_student: ModelFolder, starter: Task, splits: Splits, settings: Distill
) -> None:
    """The slow way: the whole warm-up again for every draft, one step on it, and every probe alone."""
    scorer = influence(tiny_student, starter, splits, settings)
    found = [scorer.values(draft) for draft in DRAFTS]
    assert scorer.columns == [probe.id for probe in splits.probes]
    for draft, values in zip(DRAFTS, found, strict=True):
        again = influence(tiny_student, starter, splits, settings)
        model, tokenizer = again.model, again.tokenizer
        optimizer = copy.deepcopy(again.optimizer)  # with the moments of its own warm-up
        optimizer.param_groups[0]["params"] = again.weights
        optimizer.state = type(optimizer.state)(
            dict, {weight: dict(again.optimizer.state[weight]) for weight in again.weights}
        )
        row = trained_row(tokenizer, starter, draft)
        one_by_one = IclLogprob(TransformersEngine(model, tokenizer, 1), starter, splits.probes)
        [before] = one_by_one.table([None])
        logits = model(input_ids=torch.tensor([row.ids])).logits[0]
        wanted = torch.tensor(row.ids[row.prompt_tokens :])
        said = torch.log_softmax(logits[row.prompt_tokens - 1 : -1], dim=-1).gather(-1, wanted[:, None])
        optimizer.zero_grad()
        loss: Any = -said.mean()
        loss.backward()
        optimizer.step()
        [after] = one_by_one.table([None])
        obvious = [new - old for new, old in zip(after, before, strict=True)]
        assert values == pytest.approx(obvious, abs=2e-5)
        assert max(abs(value) for value in obvious) > 1e-3
    assert max(abs(a - b) for a, b in zip(*found, strict=True)) > 1e-3  # drafts differ by more than rounding


@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_the_student_is_put_back_bit_by_bit(
    tiny_student: ModelFolder, starter: Task, splits: Splits, settings: Distill
) -> None:
    scorer = influence(tiny_student, starter, splits, settings)
    before = state(scorer)
    first = scorer.values(DRAFTS[0])
    scorer.values(DRAFTS[1])
    after = state(scorer)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert scorer.values(DRAFTS[0]) == first
    assert len(before) > 4 * len(scorer.weights) - 1  # weight, two moments and the count of steps


def test_the_warm_up_counts(tiny_student: ModelFolder, starter: Task, splits: Splits) -> None:
    few = splits._replace(seeds=splits.seeds[:1])
    one, all_six = (influence(tiny_student, starter, those, FULL) for those in (few, splits))
    assert int(one.optimizer.state[one.weights[0]]["step"]) == 1
    assert int(all_six.optimizer.state[all_six.weights[0]]["step"]) > 1
    assert sum(all_six.before) > sum(one.before)


@pytest.mark.parametrize(
    "settings",
    [
        FULL.model_copy(update={"learning_rate": 1e-5, "weight_decay": 0.0}),
        LORA.model_copy(update={"learning_rate": 1e-4}),
    ],
    ids=["full", "lora"],
)
def test_first_order_comes_near_a_small_step(
    tiny_student: ModelFolder, starter: Task, splits: Splits, settings: Distill
) -> None:
    exact = influence(tiny_student, starter, splits, settings)
    by_gradients = influence(tiny_student, starter, splits, settings, first_order=True)
    for draft in DRAFTS:
        values, near = exact.values(draft), by_gradients.values(draft)
        scale = max(abs(value) for value in values)
        assert len(near) == 7
        assert near == pytest.approx(values, abs=0.05 * scale)


def test_keeping_gradients_in_half_the_bits_changes_next_to_nothing(
    tiny_student: ModelFolder, starter: Task, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = influence(tiny_student, starter, splits, FULL, first_order=True)
    monkeypatch.setattr("arte.preference.influence.KEPT", torch.float32)
    whole = influence(tiny_student, starter, splits, FULL, first_order=True)
    assert kept.gradients is not None
    assert {part.dtype for row in kept.gradients for part in row} == {torch.bfloat16}
    for draft in DRAFTS:
        expected = whole.values(draft)
        scale = max(abs(value) for value in expected)
        assert kept.values(draft) == pytest.approx(expected, abs=0.002 * scale)
        assert len(expected) == 7


def test_gradients_that_do_not_fit_are_refused_before_they_are_made(
    tiny_student: ModelFolder, starter: Task, splits: Splits
) -> None:
    many = splits._replace(probes=splits.probes * 10**5)
    with pytest.raises(ModelError, match=r"gradient for each of 700000 probes.*GiB are free"):
        influence(tiny_student, starter, many, FULL, first_order=True)
