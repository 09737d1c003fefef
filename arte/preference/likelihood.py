"""How natural a draft is to the student: one forward pass over the draft itself, no example and no probe.

`likelihood` is GRAPE's (arXiv 2502.04194): the completion's log-probability a token, under the student before training.
`rank_surprisal` is the ratio of arXiv 2601.14249: it asks for text that ranks high without being what the student would
have said anyway.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from arte.preference import DraftByDraft
from arte.preference.trained import trained_row
from arte.rows import Example
from arte.tasks.task import Taught

RANK_CAP = 100
"""Ranks beyond it count as it (2601.14249: r_max = 100)."""


class Likelihood(DraftByDraft):
    """One value a draft, in its only column `draft`."""

    columns = ("draft",)

    def __init__(self, model: Any, tokenizer: Any, task: Taught, kind: Literal["likelihood", "rank_surprisal"]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.task = task
        self.kind = kind

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        """likelihood: mean log-probability (nats) of the completion's tokens, the end of the turn included.
        rank_surprisal: minus the sum of ranks (1 is the likeliest token; at most 100) over the sum of surprisals
        (nats); the paper's ratio is better when lower, so more is better here. None: 0, nothing is subtracted.
        """
        if example is None:
            return [0.0]
        row = trained_row(self.tokenizer, self.task, example)
        gold = torch.tensor(row.ids[row.prompt_tokens :], device=self.model.device)
        with torch.inference_mode():
            ids = torch.tensor([row.ids], device=self.model.device)
            logits = self.model(input_ids=ids, logits_to_keep=len(gold) + 1).logits[0, :-1].float()
            said = logits.gather(-1, gold[:, None])
            surprisal = torch.logsumexp(logits, dim=-1) - said[:, 0]
            if self.kind == "likelihood":
                return [-float(surprisal.mean())]
            rank = ((logits > said).sum(dim=-1) + 1).clamp(max=RANK_CAP)
            return [-float(rank.sum() / surprisal.sum())]
