"""Student training (paper, section 3.4): supervised fine-tuning of one arm's student on its examples."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte.recipe import Distill
from arte.rows import Example, Item, Question, Rationale, read_rows, write_rows
from arte.stages.prefer import as_example
from arte.stages.training import common_arguments, score_labels_only, train
from arte.tasks.task import Task


def accepted_examples(drafted: Path) -> list[Example]:
    """Every accepted draft of an elicit or tailor folder, as a training example."""
    questions = {row.id: row for row in read_rows(drafted / "questions.jsonl", Question)}
    rationales = read_rows(drafted / "rationales.jsonl", Rationale)
    return [as_example(questions[row.question_id], row) for row in rationales if row.check.accepted]


def item_as_example(item: Item) -> Example:
    """A problem of the task with its own solution, as a training example."""
    return Example(id=item.id, question=item.question, rationale=item.rationale, answer=item.answer)


def equal_share(arms: dict[str, list[Example]], most: int, seed: int) -> dict[str, list[Example]]:
    """The same number of examples for every arm: `most`, or as many as the poorest arm has.

    Drawn at random, question by question in turn, so that no question is repeated before all have been used.
    """
    count = min([most, *(len(examples) for examples in arms.values())])
    return {arm: _draw(examples, count, seed) for arm, examples in arms.items()}


def _draw(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    shuffled = list(examples)
    random.Random(f"examples-{seed}").shuffle(shuffled)
    seen: dict[str, int] = {}
    turns = []
    for place, example in enumerate(shuffled):
        turn = seen.get(example.question, 0)
        seen[example.question] = turn + 1
        turns.append((turn, place, example))
    return [example for _, _, example in sorted(turns, key=lambda row: row[:2])[:count]]


def distill(
    folder: Path,
    examples: Sequence[Example],
    task: Task,
    model: Any,
    tokenizer: Any,
    settings: Distill,
    *,
    bf16: bool,
    seed: int,
) -> int:
    """Writes examples.jsonl, model/ (safetensors, tokenizer, chat template) and metrics.jsonl into `folder`.

    Completion-only loss. With packing, rows of `batch_tokens` hold several examples, each attending to itself alone.
    Returns the tokens trained on, over all epochs.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from arte.models.packed_attention import attend_by_example

    folder.mkdir(exist_ok=True)
    write_rows(folder / "examples.jsonl", examples)
    rows = [
        {
            "prompt": task.student_prompt(example.question),
            "completion": [{"role": "assistant", "content": task.completion(example.rationale, example.answer)}],
        }
        for example in examples
    ]
    lengths = [len(_ids(tokenizer, row["prompt"] + row["completion"])) for row in rows]
    longest, total = max(lengths), sum(lengths)
    width = max(settings.batch_tokens, longest)
    batch = 1 if settings.packing else max(1, settings.batch_tokens * len(rows) // total)
    steps = math.ceil((total / width if settings.packing else len(rows) / batch) * settings.epochs)
    arguments = common_arguments(folder / "checkpoints", steps=steps, warmup=settings.warmup, bf16=bf16, seed=seed)
    if settings.packing:
        attend_by_example(model, width)
    score_labels_only()
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        if settings.method == "lora"
        else None,
        args=SFTConfig(
            **{**arguments, "max_length": width},
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            weight_decay=settings.weight_decay,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=batch,
            packing=settings.packing,
            completion_only_loss=True,
        ),
    )
    train(trainer, folder / "checkpoints", folder / "metrics.jsonl", "SFT steps", steps)
    trained = trainer.model.merge_and_unload() if settings.method == "lora" else trainer.model
    trained.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return round(total * settings.epochs)


def _ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    return ids
