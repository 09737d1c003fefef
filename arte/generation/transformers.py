"""Generation in this process with a transformers model.

`generate` of transformers recomputes the tokens that all prompts share for every row, keeps computing rows that have
ended until the longest has, and draws from one stream for the whole batch. Here a shared start is computed once,
ended rows leave the batch, and each row has its own stream. Greedy answers are the same as `generate`'s (tested).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from arte.generation import TOO_LONG, Answer, Continuation, Finish, Message, Prompt, Scored
from arte.generation.cache import GrowingCache, closed_up
from arte.generation.chat import chat_text, text_ids
from arte.generation.prefix import Batch, common_prefix, pad_left, run_prefix, starts_of
from arte.generation.sampling import draw

STOP_WINDOW = 24
"""Tokens at the end of an answer that are decoded to look for a stop string."""

READ_AT_ONCE = 2048
"""Tokens of all prompts that are run together. More at once are slower on a CPU, whose caches then no longer hold what
passes between two layers, and need more memory."""

SCORED_AT_ONCE = 16
"""Texts whose log-probabilities are computed together."""

LOGITS_AT_ONCE = 4096
"""Positions of all these texts whose logits are held together, where one text has no more."""


class TransformersEngine:
    """Continues prompts with a causal model and its tokenizer, both already loaded."""

    def __init__(self, model: Any, tokenizer: Any, scored_at_once: int = SCORED_AT_ONCE) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.scored_at_once = scored_at_once
        self.longest: int | None = getattr(model.config, "max_position_embeddings", None)
        """Tokens of prompt and answer that the model can read."""
        ends = model.generation_config.eos_token_id if model.generation_config is not None else None
        ends = ends if isinstance(ends, list) else [ends]
        self.end_ids = {int(end) for end in [*ends, tokenizer.eos_token_id] if end is not None}

    def render(self, messages: Sequence[Message]) -> str:
        """The chat template applied, with the assistant's turn opened, or left open where it is the last message."""
        return chat_text(self.tokenizer, messages)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """Continues all prompts as one batch, in order (see Engine); schemas hold it to nothing."""
        rows = [self.ids(prompt.text) for prompt in prompts]
        if self.longest is not None and any(len(row) + max_tokens > self.longest for row in rows):
            fitting = [place for place, row in enumerate(rows) if len(row) + max_tokens <= self.longest]
            given = self.generate(
                [prompts[place] for place in fitting],
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                stop=stop,
            )
            by_place = dict(zip(fitting, given, strict=True))
            return [by_place.get(place, TOO_LONG) for place in range(len(prompts))]
        if not prompts:
            return []
        starts = starts_of(rows, [prompt.group for prompt in prompts])
        cache, before = run_prefix(self.model, starts.ids).rows(starts.of)
        rests = [row[len(starts.ids[start]) :] for row, start in zip(rows, starts.of, strict=True)]
        batch = pad_left(rests, before)
        mask = batch.mask
        logits = self._read(batch, before.shape[1], cache)
        streams = [np.random.default_rng(prompt.seed) for prompt in prompts]
        position = torch.tensor([len(row) for row in rows], device=logits.device)
        drawn: list[list[int]] = [[] for _ in rows]
        finish: list[Finish] = ["length"] * len(rows)
        live = list(range(len(rows)))
        while live:
            tokens = draw(logits, [streams[row] for row in live], temperature, top_p)
            stay = []
            for place, (row, token) in enumerate(zip(live, tokens.tolist(), strict=True)):
                drawn[row].append(token)
                if token in self.end_ids or self._stopped(drawn[row], stop):
                    finish[row] = "stop"
                elif len(drawn[row]) < max_tokens:
                    stay.append(place)
            if not stay:
                break
            if len(stay) < len(live):
                stay = closed_up(stay)
                index = torch.tensor(stay, device=logits.device)
                cache.select_rows(index)
                tokens, mask, position = tokens[index], mask[index], position[index]
                live = [live[place] for place in stay]
            mask = torch.cat([mask, mask.new_ones((len(live), 1))], dim=1)
            logits = self._step(tokens[:, None], mask, position[:, None], cache)
            position = position + 1
        return [
            Answer(self._text(ids, stop), len(row), len(ids), why)
            for row, ids, why in zip(rows, drawn, finish, strict=True)
        ]

    @torch.inference_mode()
    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """One forward pass over the start of each group, then its rests in batches of like length (see
        ScoringEngine)."""
        prompts, texts = [self.ids(each.prompt) for each in asked], [self.ids(each.text) for each in asked]
        values: list[list[float]] = [[] for _ in asked]
        greedy = [True] * len(asked)
        for group in dict.fromkeys(each.group for each in asked):
            places = [place for place, each in enumerate(asked) if each.group == group]
            shared = common_prefix([prompts[place] + texts[place] for place in places])
            # The last prompt token must stay outside the prefix: from its logits the first token of the text is read.
            shared = min(shared, min(len(prompts[place]) for place in places) - 1)
            prefix = run_prefix(self.model, [prompts[places[0]][:shared]])
            places.sort(key=lambda place: len(texts[place]))
            while places:
                longest = len(texts[places[-1]]) + 1
                at_once = max(1, min(self.scored_at_once, LOGITS_AT_ONCE // longest))
                some, places = places[:at_once], places[at_once:]
                cache, before = prefix.rows([0] * len(some))
                batch = pad_left([prompts[place][shared:] + texts[place] for place in some], before)
                keep = max(len(texts[place]) for place in some) + 1
                logits = self.model(
                    input_ids=batch.ids,
                    attention_mask=batch.mask,
                    position_ids=batch.position,
                    past_key_values=cache if shared else None,
                    logits_to_keep=keep,
                ).logits
                for line, place in enumerate(some):
                    text = torch.tensor(texts[place], device=logits.device)
                    seen = logits[line, keep - 1 - len(text) : keep - 1].float()
                    values[place] = torch.log_softmax(seen, dim=-1).gather(-1, text[:, None])[:, 0].tolist()
                    greedy[place] = bool((seen.argmax(dim=-1) == text).all())
        return [Scored(row, len(prompts[place]) + len(row), greedy[place]) for place, row in enumerate(values)]

    def ids(self, text: str | list[int]) -> list[int]:
        """Token ids of text that is rendered already; ids as they are."""
        return text_ids(self.tokenizer, text)

    def _read(self, batch: Batch, shared: int, cache: GrowingCache) -> torch.Tensor:
        """Runs the prompts' own tokens, some of every row at a time; gives the logits of the last."""
        rows, width = batch.ids.shape
        columns = max(1, READ_AT_ONCE // rows)
        for start in range(0, width, columns):
            end = min(start + columns, width)
            logits = self._step(
                batch.ids[:, start:end], batch.mask[:, : shared + end], batch.position[:, start:end], cache
            )
        return logits

    def _step(self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor, cache: GrowingCache) -> torch.Tensor:
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, logits_to_keep=1
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _stopped(self, ids: list[int], stop: Sequence[str]) -> bool:
        if not stop:
            return False
        tail = self.tokenizer.decode(ids[-STOP_WINDOW:], skip_special_tokens=True)
        return any(word in tail for word in stop)

    def _text(self, ids: list[int], stop: Sequence[str]) -> str:
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        ends = [place for word in stop if (place := text.find(word)) >= 0]
        return text[: min(ends)] if ends else text
