"""TRL's SFTTrainer with a loss that computes logits where there is a label, and nowhere else."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

IGNORED = -100


class CompletionTrainer(SFTTrainer):  # type: ignore[misc]
    """Mean negative log-likelihood of the labelled tokens, and the share of them that the student has first.

    TRL's own loss goes over every position of a row, prompts too, with its products in float32, where it has no GPU
    kernel: half of a training step on a CPU with a vocabulary of 49,000.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss as a scalar, with the model's outputs if asked; as in transformers' Trainer."""
        labels = inputs["labels"][:, 1:]
        places = (labels != IGNORED).any(0).nonzero()[:, 0]
        others = {name: value for name, value in inputs.items() if name != "labels"}
        outputs = model(**others, use_cache=False, logits_to_keep=places)
        wanted = labels[:, places].flatten()
        logits = outputs.logits.flatten(0, 1)
        counted = wanted != IGNORED
        total = cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="sum")
        loss = total / (counted.sum() if num_items_in_batch is None else num_items_in_batch)
        first = (logits.argmax(-1) == wanted)[counted].float().mean().item()
        shown = inputs.get("attention_mask")
        self._total_train_tokens += inputs["input_ids"].numel() if shown is None else int(shown.sum())
        self._metrics["train"]["mean_token_accuracy"].append(first)
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return (loss, outputs) if return_outputs else loss
