"""How likely a device file finds given text, by its logits: log-probabilities of replies behind rendered prompts.

Prompt and reply are turned into tokens apart, by the file's own runtime, as the torch side does. An ONNX folder is run
in plain onnxruntime, which gives the logits that onnxruntime-genai keeps to itself.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import numpy as np
from pydantic import BaseModel, ConfigDict

from arte_export import child
from arte_export.device_file import DeviceFile

LIMIT_S = 6 * 3600.0


class Likelihood(BaseModel):
    """The log-probability of a whole text (nats), and whether each of its tokens is the likeliest at its place."""

    model_config = ConfigDict(frozen=True)

    logprob: float
    greedy: bool
    tokens: int
    """Of prompt and text."""


def of(
    file: DeviceFile, asked: Sequence[tuple[str | list[int], str | list[int]]], progress: child.Progress | None = None
) -> list[Likelihood]:
    """Of each (prompt, reply), as texts or as token ids, in order, from a child process. Replies to one prompt are best
    asked in a row.

    Raises BadModel where the file cannot be read or its logits cannot be had, ChildDied.
    """
    if not asked:
        return []
    texts = list(dict.fromkeys(text for pair in asked for text in pair if isinstance(text, str)))
    ids = dict(zip(texts, file.vocabulary(texts, []).token_ids, strict=True)) if texts else {}
    rows = [tuple(ids[text] if isinstance(text, str) else text for text in pair) for pair in asked]
    call = partial(_of, file.resolved(), [(prompt, reply) for prompt, reply in rows])
    return child.run(call, holding=file.path, limit_s=LIMIT_S, progress=progress).result


def _of(file: DeviceFile, asked: list[tuple[list[int], list[int]]]) -> list[Likelihood]:
    found: list[Likelihood] = []
    longest = max(len(prompt) + len(reply) for prompt, reply in asked)
    with file.logits(longest) as logits:
        # The last token of a reply is never read: lettered options differ in it alone, and are read once.
        for read, alike in groupby(asked, key=lambda pair: (pair[0] + pair[1])[:-1]):
            values = np.asarray(logits(read), np.float64)
            values -= values.max(axis=1, keepdims=True)
            for prompt, reply in alike:
                seen = values[len(prompt) - 1 :]
                given = seen[np.arange(len(reply)), reply]
                found.append(
                    Likelihood(
                        logprob=float((given - np.log(np.exp(seen).sum(axis=1))).sum()),
                        greedy=bool((seen.argmax(axis=1) == reply).all()),
                        tokens=len(prompt) + len(reply),
                    )
                )
                child.tell(len(found), len(asked))
    return found
