import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from arte.errors import StageError
from arte.models import ModelFolder
from arte.recipe import Align
from arte.rows import Example, Pair
from arte.stages import training
from arte.stages.align import align, merge_adapter
from arte.tasks import Task
from tests.stages.conftest import Loaded, load
from tests.stages.scripted import Stopped

SETTINGS = Align(batch_size=2, micro_batch_size=1, lora_rank=4, lora_alpha=8.0, learning_rate=1e-2, warmup=0.0)


@pytest.fixture(scope="module")
def pairs(starter: Task, examples: list[Example]) -> list[Pair]:
    """Six pairs: the solution of a question against that of the next, under the naive prompt."""
    return [
        Pair(
            level="rationale",
            prompt=json.dumps(starter.rationale_prompt(chosen.question, None)),
            chosen=starter.completion(chosen.rationale, chosen.answer),
            rejected=starter.completion(rejected.rationale, rejected.answer),
            chosen_id=chosen.id,
            rejected_id=rejected.id,
            margin=0.5,
        )
        for chosen, rejected in pairwise(examples[:7])
    ]


class Aligned(NamedTuple):
    """What came of an alignment."""

    folder: Path
    metrics: list[dict[str, float]]

    @property
    def adapter(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "adapter" / "adapter_model.safetensors")


def train(folder: Path, teacher: Loaded, pairs: list[Pair], settings: Align = SETTINGS) -> Aligned:
    from arte.workspace import StageFolder

    folder.mkdir(exist_ok=True)
    align(StageFolder(folder, False), pairs, teacher.model, teacher.tokenizer, settings, bf16=False, seed=0)
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return Aligned(folder, [json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: ModelFolder, pairs: list[Pair]) -> Aligned:
    """Six pairs, two a step: three steps."""
    return train(tmp_path_factory.mktemp("aligned"), load(tiny_teacher), pairs)


def test_the_first_loss_is_the_logarithm_of_two(aligned: Aligned) -> None:
    """The policy still is the reference: log sigmoid(0)."""
    assert [row["step"] for row in aligned.metrics] == [1, 2, 3]
    assert aligned.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert aligned.metrics[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-5)
    assert aligned.metrics[-1]["loss"] != pytest.approx(math.log(2), abs=1e-3)


def test_gradient_checkpointing_computes_twice_and_changes_no_step(
    tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]
) -> None:
    """Six pairs, one at a time: a layer runs once more for each, and the losses and the adapter stay as they were."""
    trained, runs = [], []
    for twice in (False, True):
        teacher = load(tiny_teacher)
        passes: list[int] = []
        teacher.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        settings = SETTINGS.model_copy(update={"gradient_checkpointing": twice})
        trained.append(train(tmp_path / str(twice), teacher, pairs, settings))
        runs.append(len(passes))
    assert runs[1] - runs[0] == len(pairs)
    plain, again = trained
    assert [row["loss"] for row in again.metrics] == pytest.approx([row["loss"] for row in plain.metrics], abs=1e-6)
    assert len(plain.adapter) == len(again.adapter) > 0
    for name, weight in plain.adapter.items():
        torch.testing.assert_close(again.adapter[name], weight, atol=1e-5, rtol=1e-4)


def test_what_is_learnt_from_is_the_prompt_of_generation(
    tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]
) -> None:
    """TRL's log-probabilities of the first step, against those of engine.render's tokens followed by the answer's."""
    settings = SETTINGS.model_copy(update={"batch_size": len(pairs)})
    first = train(tmp_path / "align", load(tiny_teacher), pairs, settings).metrics[0]
    teacher = load(tiny_teacher)
    for side in ("chosen", "rejected"):
        by_hand = []
        for pair in pairs:
            prompt = teacher.ids(teacher.engine.render(json.loads(pair.prompt)))
            answer = teacher.ids(f"{getattr(pair, side)}<|im_end|>\n")
            by_hand.append(logprob(teacher.model, prompt, answer))
        assert first[f"logps/{side}"] == pytest.approx(sum(by_hand) / len(pairs), rel=1e-5)


def test_the_usual_loss_is_added_by_its_weight(tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]) -> None:
    """ln 2, as the policy still is the reference, and half the mean of what a token of each chosen answer costs."""
    settings = SETTINGS.model_copy(update={"batch_size": len(pairs), "sft_weight": 0.5})
    first = train(tmp_path / "align", load(tiny_teacher), pairs, settings).metrics[0]
    teacher = load(tiny_teacher)
    costs = []
    for pair in pairs:
        answer = teacher.ids(f"{pair.chosen}<|im_end|>\n")
        prompt = teacher.ids(teacher.engine.render(json.loads(pair.prompt)))
        costs.append(-logprob(teacher.model, prompt, answer) / len(answer))
    assert first["loss"] == pytest.approx(math.log(2) + 0.5 * sum(costs) / len(costs), abs=1e-3)
    assert len(costs) == 6


@torch.inference_mode()
def logprob(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Log-probability of the answer's tokens after the prompt's."""
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(answer)[:, None]).sum().item()


def test_a_merged_adapter_is_base_plus_scaled_product(aligned: Aligned, tiny_teacher: ModelFolder) -> None:
    before = {name: weights.clone() for name, weights in load(tiny_teacher).model.state_dict().items()}
    merged = merge_adapter(load(tiny_teacher).model, aligned.folder / "adapter")
    after = dict(merged.state_dict())
    assert after.keys() == before.keys()
    prefix, adapter = "base_model.model.", aligned.adapter
    changed = {name.removeprefix(prefix).removesuffix(".lora_A.weight") for name in adapter if ".lora_A." in name}
    assert len(changed) == 2 * 7  # every linear layer but the head
    assert len(adapter) == 2 * len(changed)
    for name, weights in before.items():
        layer = name.removesuffix(".weight")
        if layer in changed:
            a, b = adapter[f"{prefix}{layer}.lora_A.weight"], adapter[f"{prefix}{layer}.lora_B.weight"]
            assert a.shape[0] == b.shape[1] == 4
            assert b.abs().max() > 0
            torch.testing.assert_close(after[name], weights + 8.0 / 4 * b @ a, rtol=0, atol=1e-5)
        else:
            assert torch.equal(after[name], weights)


def test_alignment_raises_what_is_chosen(tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 6.0})
    folder = train(tmp_path / "align", load(tiny_teacher), pairs, settings).folder
    before, after = load(tiny_teacher), load(tiny_teacher)
    after = after._replace(model=merge_adapter(after.model, folder / "adapter"))

    def margin(teacher: Loaded, pair: Pair) -> float:
        prompt = teacher.ids(teacher.engine.render(json.loads(pair.prompt)))
        chosen, rejected = (teacher.ids(f"{text}<|im_end|>\n") for text in (pair.chosen, pair.rejected))
        return logprob(teacher.model, prompt, chosen) - logprob(teacher.model, prompt, rejected)

    raised = [margin(after, pair) > margin(before, pair) for pair in pairs]
    assert raised == [True] * 6


def test_a_pair_that_is_too_long_is_refused(tmp_path: Path, tiny_teacher: ModelFolder, pairs: list[Pair]) -> None:
    teacher = load(tiny_teacher)
    lengths = [
        len(teacher.ids(teacher.engine.render(json.loads(pair.prompt)) + f"{side}<|im_end|>\n"))
        for pair in pairs
        for side in (pair.chosen, pair.rejected)
    ]
    longest = max(lengths)
    with pytest.raises(StageError, match=f"{longest} tokens with its prompt.*align.max_tokens={longest - 1}"):
        train(tmp_path / "align", teacher, pairs, SETTINGS.model_copy(update={"max_tokens": longest - 1}))
    train(tmp_path / "align", teacher, pairs, SETTINGS.model_copy(update={"max_tokens": longest}))


def check_alike(one: Aligned, other: Aligned) -> None:
    assert one.adapter.keys() == other.adapter.keys()
    for name, weights in other.adapter.items():
        torch.testing.assert_close(one.adapter[name], weights, rtol=0, atol=1e-5)
    assert [row["step"] for row in one.metrics] == [row["step"] for row in other.metrics]
    assert [row["loss"] for row in one.metrics] == pytest.approx([row["loss"] for row in other.metrics], abs=1e-5)


def test_the_same_seed_gives_the_same_adapter_whatever_was_drawn_before(
    tmp_path: Path, aligned: Aligned, tiny_teacher: ModelFolder, pairs: list[Pair]
) -> None:
    torch.manual_seed(77)
    check_alike(train(tmp_path / "align", load(tiny_teacher), pairs), aligned)


# A forward pass for each of 6 pairs and the reference, then one for each pair: the passes 7 and 8 are step 1.
@pytest.mark.parametrize(("forward", "checkpoint"), [(2, None), (8, None), (9, 1), (12, 2)])
def test_stopped_and_begun_again(
    tmp_path: Path,
    aligned: Aligned,
    tiny_teacher: ModelFolder,
    pairs: list[Pair],
    forward: int,
    checkpoint: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    teacher = load(tiny_teacher)
    teacher.stop_at(forward)
    with pytest.raises(Stopped):
        train(tmp_path / "align", teacher, pairs)
    whole = [path.parent.name for path in tmp_path.glob("align/checkpoints/*/whole")]
    assert whole == ([f"checkpoint-{checkpoint}"] if checkpoint else [])
    torch.manual_seed(forward)
    check_alike(train(tmp_path / "align", load(tiny_teacher), pairs), aligned)
    assert sorted(path.name for path in (tmp_path / "align").iterdir()) == ["adapter", "metrics.jsonl"]
