import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from arte import models
from arte.errors import ModelError
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.recipe import Evaluate
from arte.recipe import Task as TaskSettings
from arte.rows import Item, read_rows
from arte.stages import judge
from arte.stages.evaluate import Slice, chats
from arte.stages.held_out_loss import OpenSample, evaluate_open
from arte.tasks import Task, load

YAML = """\
about: Instructions with replies.
things: instructions
answer: {kind: open}
"""
REPLIES = ["A carp.", "Yes.", "It is a small, red boat that sails on the lake in the evening, and back."]
SLICES: dict[Slice, Sequence[Item]] = {
    "test": [
        Item(id=f"t{n}", question=f"Say {'no ' * n}more.", rationale="", answer=text) for n, text in enumerate(REPLIES)
    ]
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "instructions"
    made.mkdir()
    (made / "task.yaml").write_text(YAML)
    for split in ("seeds", "validation"):
        rows = [{"input": f"{split} {n}", "answer": f"So be {split}."} for n in range(2)]
        (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"input": item.question, "answer": item.answer} for item in SLICES["test"]]
    (made / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture
def task(folder: Path) -> Task:
    return load(str(folder))


def slow_loss(model: torch.nn.Module, tokenizer: object, question: str, reply: str) -> tuple[float, int]:
    """One item alone, one token after the other, each with a pass over all that stands before it."""
    chat = [{"role": "user", "content": question}]
    ids: list[int] = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]  # type: ignore[attr-defined]
    wanted: list[int] = tokenizer(reply, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    total = 0.0
    with torch.no_grad():
        for token in wanted:
            logits = model(torch.tensor([ids])).logits[0, -1].double()
            total -= float(logits[token] - torch.logsumexp(logits, 0))
            ids = [*ids, token]
    return total / len(wanted), len(wanted)


def test_a_loss_is_that_of_each_gold_reply_alone(tmp_path: Path, tiny_student: ModelFolder, task: Task) -> None:
    model, tokenizer = models.load(tiny_student.path, "float32", "cpu")
    engine = TransformersEngine(model, tokenizer, scored_at_once=2)
    prompts = [engine.render(chat) for chat in chats(SLICES, [], task)]
    said = ["one", "two", "three"]
    samples = evaluate_open(tmp_path / "arm", SLICES, prompts, task, lambda texts: said[: len(texts)], engine)
    expected = [slow_loss(model, tokenizer, item.question, item.answer) for item in SLICES["test"]]
    assert [sample.loss for sample in samples] == pytest.approx([loss for loss, _ in expected], abs=1e-4)
    assert [sample.tokens for sample in samples] == [tokens for _, tokens in expected]
    assert len({sample.tokens for sample in samples}) == 3
    assert [(sample.id, sample.slice, sample.question, sample.gold, sample.text) for sample in samples] == [
        (item.id, "test", item.question, item.answer, text)
        for item, text in zip(SLICES["test"], said, strict=True)
    ]  # fmt: skip
    assert read_rows(tmp_path / "arm" / "samples.jsonl", OpenSample) == samples
    results = json.loads((tmp_path / "arm" / "results.json").read_text())
    mean = sum(sample.loss for sample in samples) / 3  # every item weighs the same, the long one too
    assert results["results"]["instructions"]["loss,none"] == pytest.approx(mean)
    spread = sum((sample.loss - mean) ** 2 for sample in samples) / 2
    assert results["results"]["instructions"]["loss_stderr,none"] == pytest.approx((spread / 3) ** 0.5)
    assert results["higher_is_better"] == {"instructions": {"loss": False}}


def test_a_model_is_evaluated_by_its_loss_and_nothing_is_called_right(
    tiny_student: ModelFolder, folder: Path, tmp_path: Path
) -> None:
    settings = TaskSettings(name=str(folder), seeds=2, probes=2)
    samples = judge.judge(str(tiny_student.path), settings, Evaluate(max_tokens=4), tmp_path / "out")
    assert all(isinstance(sample, OpenSample) for sample in samples)
    [line] = judge.lines(samples)
    mean = sum(sample.loss for sample in samples if isinstance(sample, OpenSample)) / 3
    assert line.startswith(f"test    loss {mean:.3f} nats a token of 3 gold replies (95 % interval ")


def test_a_device_file_gives_no_loss(folder: Path) -> None:
    settings = TaskSettings(name=str(folder), seeds=2, probes=2)
    with pytest.raises(ModelError, match=r"the answers of instructions are open, and a device file gives no loss"):
        judge.judge("student.gguf", settings, Evaluate(), None)
