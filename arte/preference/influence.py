"""Local data influence: what one step of training on a draft does to the student's loss on each probe.

Montessori-Instruct (arXiv 2410.14208): from a warmed-up student, its optimizer's moments included, one step on one
example; the influence is the reference loss before minus after. There the student is read from disk anew for each
example; here weights and moments are put back from memory, and compared. `first_order` replaces the step by the product
of its direction with each probe's gradient (as in LESS, arXiv 2402.04333): no pass over the probes for each draft.

Drafts go one by one, since each is a step of its own; the probes of a draft go in batches, which changes nothing.
Memory, in bytes a trained weight: 28 (float32 weight, gradient, two moments, and a copy of all but the gradient);
`first_order` adds 4 for the step and 2 for each probe, whose gradient is kept in bfloat16: what its products lose by
that is random over millions of weights.
"""

from collections.abc import Sequence
from typing import Any

import torch

from arte.generation.transformers import TransformersEngine
from arte.models.load import refuse_without_memory
from arte.preference import DraftByDraft
from arte.preference.icl import IclLogprob
from arte.preference.trained import TrainedRow, trained_row
from arte.recipe import Distill
from arte.rows import Example, Item
from arte.tasks.task import Taught

STATE_BYTES = 28
"""For each trained weight beside itself: two moments, gradient, step, and copies of weight and moments."""
KEPT = torch.bfloat16
"""In which probe gradients are kept."""


class Influence(DraftByDraft):
    """Loss on each probe's gold solution, nats a token, before minus after the step: more is better."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        task: Taught,
        probes: Sequence[Item],
        warm_up: Sequence[Example],
        settings: Distill,
        scored_at_once: int,
        *,
        first_order: bool,
    ) -> None:
        """`model`: the student in float32, which is trained here and must not be used for anything else.

        Warm-up: one pass over `warm_up` in their order, rows of about `batch_tokens` tokens a step. Method, rank and
        learning rate are those that the student will be trained with. Raises ModelError where `first_order` needs more
        memory than there is.
        """
        self.columns = [probe.id for probe in probes]
        self.tokenizer, self.task = tokenizer, task
        if settings.method == "lora":
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(
                r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
            )
            model = get_peft_model(model, config)
        self.model = model.eval()  # no dropout: a difference of losses must be the step's alone
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        if first_order:
            needed = (STATE_BYTES + KEPT.itemsize * len(probes)) * sum(weight.numel() for weight in self.weights)
            what = f"a gradient for each of {len(probes)} probes (influence_first_order; less with distill.method=lora)"
            refuse_without_memory(needed, what, str(self.model.device))
        self.engine = TransformersEngine(self.model, tokenizer, scored_at_once)
        self.reference = IclLogprob(self.engine, task, list(probes))
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
        )
        for rows in _batches([trained_row(tokenizer, task, example) for example in warm_up], settings.batch_tokens):
            self._step(rows)
        self.kept = [weight.detach().clone() for weight in self.weights]
        self.moments = {
            weight: {name: value.clone() for name, value in self.optimizer.state[weight].items()}
            for weight in self.weights
        }
        [self.before] = self.reference.table([None])
        self.gradients = self._probe_gradients() if first_order else None

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        """One value for each probe, in order; None: zeros, nothing is subtracted."""
        asked = range(len(self.columns)) if places is None else places
        if example is None:
            return [0.0] * len(asked)
        self._step([trained_row(self.tokenizer, self.task, example)])
        try:
            if self.gradients is not None:
                moved = [weight.detach() - kept for weight, kept in zip(self.weights, self.kept, strict=True)]
                return [
                    sum(float((part * step).sum()) for part, step in zip(self.gradients[place], moved, strict=True))
                    for place in asked
                ]
            [after] = self.reference.table([None], asked)  # log-probabilities: losses negated
            return [new - self.before[place] for new, place in zip(after, asked, strict=True)]
        finally:
            self._restore()

    def _step(self, rows: Sequence[TrainedRow]) -> None:
        """One step of AdamW on the mean loss of the completions' tokens."""
        width = max(len(row.ids) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = 1
            labels[place, row.prompt_tokens : len(row.ids)] = ids[place, row.prompt_tokens : len(row.ids)]
        device = self.model.device
        self.optimizer.zero_grad()
        self.model(input_ids=ids.to(device), attention_mask=mask.to(device), labels=labels.to(device)).loss.backward()
        self.optimizer.step()

    def _restore(self) -> None:
        """Weights and moments as they were after the warm-up, bit by bit."""
        with torch.no_grad():
            for weight, kept in zip(self.weights, self.kept, strict=True):
                weight.copy_(kept)
                for name, value in self.moments[weight].items():
                    self.optimizer.state[weight][name].copy_(value)
                assert torch.equal(weight, kept)

    def _probe_gradients(self) -> list[list[torch.Tensor]]:
        """The gradient of each probe's mean log-probability by every trained weight."""
        gradients = []
        for probe, value in zip(self.reference.probes, self.before, strict=True):
            prompt = self.engine.ids(self.reference.prompt(None, probe))
            gold = self.engine.ids(self.reference.gold(probe))
            ids = torch.tensor([prompt + gold], device=self.model.device)
            logits = self.model(input_ids=ids, logits_to_keep=len(gold) + 1).logits[0, :-1].float()
            mean = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, len(prompt) :, None]).mean()
            again = float(mean.detach())
            assert abs(again - value) < 0.05 * max(1.0, abs(value)), (again, value)
            self.optimizer.zero_grad()
            gradients.append([part.to(KEPT) for part in torch.autograd.grad(mean, self.weights)])
        return gradients


def _batches(rows: list[TrainedRow], tokens: int) -> list[list[TrainedRow]]:
    """Rows in their order, as many together as have about so many tokens; at least one."""
    batches: list[list[TrainedRow]] = []
    held = tokens
    for row in rows:
        if held + len(row.ids) > tokens:
            batches.append([])
            held = 0
        batches[-1].append(row)
        held += len(row.ids)
    return batches
