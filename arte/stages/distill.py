"""Student training (paper, section 3.4): supervised fine-tuning of one arm's student on its examples."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte.recipe import Distill
from arte.rows import Example, write_rows
from arte.stages.conversations import conversations
from arte.stages.training import ALONE, Around, common_arguments, is_first, processes, save, score_labels_only, train
from arte.tasks.task import Taught


def steps_of(examples: Sequence[Example], task: Taught, tokenizer: Any, settings: Distill) -> int:
    """Optimizer steps in which these examples are seen `epochs` times."""
    lengths = _lengths(examples, task, tokenizer)
    if settings.packing:
        from datasets import Dataset
        from trl import pack_dataset

        ids = Dataset.from_dict({"input_ids": [[0] * length for length in lengths]})
        rows = len(pack_dataset(ids, _width(lengths, settings)))
    else:
        rows = math.ceil(len(examples) / _batch(lengths, settings))
    return math.ceil(rows * settings.epochs)


def distill(
    folder: Path,
    examples: Sequence[Example],
    task: Taught,
    model: Any,
    tokenizer: Any,
    settings: Distill,
    *,
    steps: int,
    bf16: bool,
    seed: int,
    around: Around = ALONE,
) -> int:
    """Writes examples.jsonl, model/ (safetensors, tokenizer, chat template) and metrics.jsonl into `folder`.

    Completion-only loss. With packing, rows of `batch_tokens` hold several examples, each attending to itself alone.
    Takes so many steps, however often the examples are seen in them: arms whose drafts are shorter are trained on as
    many tokens as the others. Returns the tokens trained on.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from arte.models.packed_attention import attend_by_example

    if is_first():
        write_rows(folder / "examples.jsonl", examples)
    rows = conversations(examples, task)
    lengths = _lengths(examples, task, tokenizer)
    width = _width(lengths, settings)
    arguments = common_arguments(
        folder / "checkpoints", steps=steps, warmup=settings.warmup, bf16=bf16, seed=seed, around=around
    )
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
            gradient_checkpointing=False,  # TRL's default is True
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            weight_decay=settings.weight_decay,
            max_steps=steps,
            per_device_train_batch_size=1 if settings.packing else _batch(lengths, settings),
            packing=settings.packing,
            completion_only_loss=True,
        ),
    )
    train(trainer, folder / "checkpoints", folder / "metrics.jsonl", "SFT steps", steps, around)
    if settings.method == "lora":
        if is_first():
            trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(folder / "model")
    else:
        save(trainer, folder / "model")
    if is_first():
        tokenizer.save_pretrained(folder / "model")
    passes: float = trainer.state.epoch
    return round(sum(lengths) * passes)


def _width(lengths: Sequence[int], settings: Distill) -> int:
    """Tokens of a packed row: a step's, shared out among the processes."""
    return max(settings.batch_tokens // processes(), *lengths)


def _batch(lengths: Sequence[int], settings: Distill) -> int:
    """Examples that a process takes of a step that has about `batch_tokens` tokens."""
    return max(1, settings.batch_tokens * len(lengths) // sum(lengths) // processes())


def _lengths(examples: Sequence[Example], task: Taught, tokenizer: Any) -> list[int]:
    chats = [row["prompt"] + row["completion"] for row in conversations(examples, task)]
    return [len(tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]) for chat in chats]
