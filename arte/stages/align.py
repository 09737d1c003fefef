"""Preference alignment (paper, section 3.3): DPO of the teacher on the student's pairs, with LoRA."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte.errors import StageError
from arte.recipe import Align
from arte.rows import Pair
from arte.stages.conversations import preferences
from arte.stages.training import ALONE, Around, common_arguments, processes, save, score_labels_only, train
from arte.workspace import Figures, StageFolder


def align(
    folder: StageFolder,
    pairs: Sequence[Pair],
    model: Any,
    tokenizer: Any,
    settings: Align,
    *,
    bf16: bool,
    seed: int,
    around: Around = ALONE,
) -> Figures:
    """Writes adapter/ (PEFT) and metrics.jsonl.

    The loss is DPO's, and `sft_weight` times the cross-entropy of what is preferred (arXiv 2404.19733, equation 1 over
    its alpha).
    The chat template is applied by TRL to the very messages of generation; the reference log-probabilities are
    computed before training, with the adapter still at zero, or in each step without it. Raises StageError where a
    batch cannot be shared out among the processes, or a pair is longer than
    `max_tokens`: cutting it would train on half a question.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    rows = preferences(pairs)
    longest = max(_tokens(tokenizer, row["prompt"] + row[side]) for row in rows for side in ("chosen", "rejected"))
    if longest > settings.max_tokens:
        raise StageError(
            f"a pair has {longest} tokens with its prompt, more than align.max_tokens={settings.max_tokens}; "
            "raise it, or lower elicit.questions_per_prompt or elicit.rationale_tokens"
        )
    if settings.batch_size % processes():
        raise StageError(
            f"align.batch_size={settings.batch_size} pairs a step cannot be shared out evenly among {processes()} "
            "processes; take a multiple of that"
        )
    share = settings.batch_size // processes()
    micro = math.gcd(settings.micro_batch_size, share)
    steps = math.ceil(len(rows) / settings.batch_size * settings.epochs)
    score_labels_only()
    trainer = DPOTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        args=DPOConfig(
            **common_arguments(
                folder.path / "checkpoints", steps=steps, warmup=settings.warmup, bf16=bf16, seed=seed, around=around
            ),
            gradient_checkpointing=settings.gradient_checkpointing,
            beta=settings.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, settings.sft_weight],
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=share // micro,
            # Several processes would look for them in a temporary file that one has; one pass over the pairs, as is
            # usual, costs the same either way.
            precompute_ref_log_probs=processes() == 1,
        ),
    )
    train(trainer, folder.path / "checkpoints", folder.path / "metrics.jsonl", "DPO steps", steps, around)
    save(trainer, folder.path / "adapter")
    return Figures()


def merge_adapter(model: Any, adapter: Path) -> Any:
    """The model with W + (alpha / rank) B·A in place of W, for generation at the speed of the plain model."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).merge_and_unload()


def _tokens(tokenizer: Any, messages: list[dict[str, str]]) -> int:
    return len(tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"])
