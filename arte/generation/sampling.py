"""Drawing one token for each row, from that row's own stream of random numbers."""

import numpy as np
import torch

NUCLEUS = 1024
"""The nucleus is looked for among this many likeliest tokens; sorting a vocabulary of 150,000 would cost more than
the model's step on a CPU, and at the temperatures used here the rest holds next to nothing."""


def draw(logits: torch.Tensor, streams: list[np.random.Generator], temperature: float, top_p: float) -> torch.Tensor:
    """Token ids [rows] drawn from `logits` [rows, vocabulary] by inverting the cumulative distribution.

    Each row uses one uniform number of its own stream, so its draw does not depend on the other rows. Temperature 0
    takes the likeliest token and uses none.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    top, ids = torch.topk(logits.float() / temperature, min(NUCLEUS, logits.shape[-1]), dim=-1)
    probabilities = torch.softmax(top, dim=-1)
    cumulative = probabilities.cumsum(dim=-1)
    # A token is in the nucleus while what stands before it is short of top_p; the first one always is.
    kept = torch.where(cumulative - probabilities < top_p, probabilities, 0.0)
    cumulative = kept.cumsum(dim=-1)
    uniform = torch.tensor([stream.random() for stream in streams], dtype=cumulative.dtype, device=logits.device)
    target = uniform[:, None] * cumulative[:, -1:]
    # A number next to 1 is rounded to it and lies past the end: the last token of the nucleus is its own.
    last = (kept > 0).sum(dim=-1, keepdim=True) - 1
    place = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return ids.gather(-1, place)[:, 0]
