"""A tiny teacher that has learnt some of the starter task by heart, so that the smoke scale needs no download.

A model with random weights drafts nothing that passes a check, and a run without one accepted draft would try nothing
of what follows. This one is trained for half a minute on a few made problems, each solved in every style, and repeats
them, well or badly: its drafts go through the same checks as any teacher's. It measures plumbing, never a method.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte import recipe
from arte.generation.chat import chat_text
from arte.rows import Item

VERSION = 3
"""Raised whenever the training changes, so that cached models are made anew; the texts count by themselves."""
PROBLEMS = 6
SHOWN = 60
"""Seeds that the question lists are taught under, so that they come whatever seed is shown."""
STEPS = 500
ROWS = 6
LEARNING_RATE = 6e-3

Lesson = tuple[list[dict[str, str]], str]
"""Messages and the reply to them."""


def teach(folder: Path, seed: int, groups: Sequence[Sequence[Lesson]]) -> None:
    """Trains the tiny model in `folder` on a group of lessons after the other, and saves it there again."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    draws = random.Random(f"taught-{seed}")
    taught = [[_ids(tokenizer, *lesson) for lesson in group] for group in groups]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.05)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=STEPS)
        for step in range(STEPS):
            _loss(model, draws.sample(taught[step % len(taught)], ROWS)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)


def _loss(model: Any, batch: Sequence[tuple[list[int], list[int]]]) -> Any:
    """Cross-entropy of the replies. What all prompts begin with, most of each, goes through the model once."""
    import torch

    alike = [len(set(tokens)) == 1 for tokens in zip(*(prompt for prompt, _ in batch), strict=False)]
    shared = alike.index(False)
    cache = model.model(input_ids=torch.tensor([batch[0][0][:shared]]), use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(batch))
    ids = [torch.tensor(prompt[shared:] + reply) for prompt, reply in batch]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    hidden = model.model(input_ids=padded, past_key_values=cache).last_hidden_state
    before = [
        row[len(own) - len(reply) - 1 : len(own) - 1] for row, own, (_, reply) in zip(hidden, ids, batch, strict=True)
    ]
    replies = torch.cat([torch.tensor(reply) for _, reply in batch])
    return torch.nn.functional.cross_entropy(model.lm_head(torch.cat(before)), replies)


def _ids(tokenizer: Any, messages: list[dict[str, str]], reply: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the reply."""
    return (
        tokenizer(chat_text(tokenizer, messages), add_special_tokens=False)["input_ids"],
        tokenizer(reply + tokenizer.eos_token, add_special_tokens=False)["input_ids"],
    )


def fingerprint() -> str:
    """Changes with anything that is taught: the problems and how a teacher is asked."""
    return hashlib.sha256(json.dumps([VERSION, STEPS, ROWS, LEARNING_RATE, lessons()]).encode()).hexdigest()


def lessons() -> list[list[Lesson]]:
    """Groups on the starter task: each question's solution in one style, for every style; then question lists, whatever
    seed is shown.

    Lists are as much as two groups, as their replies are the longest.
    """
    from arte import tasks
    from arte.tasks import Draft

    task = tasks.load("starter")
    shown = task.splits(recipe.Task(name="starter", seeds=SHOWN, probes=1, test=16), seed=4242).seeds
    known = shown[:PROBLEMS]
    styles: list[recipe.Style | None] = ["steps", "brief", "equations", "child", None]

    def solved(item: Item, style: recipe.Style | None) -> Lesson:
        reply = task.completion(_in_style(item.rationale, style), item.answer)
        return task.rationale_prompt(item.question, style), reply

    solutions = [[solved(item, style) for item in known] for style in styles]
    lists = [
        (prompt, reply.removeprefix(prompt[-1]["content"]))
        for pair in (
            [
                Draft(item.question, _in_style(item.rationale, "equations"), item.answer)
                for item in known[start : start + 2]
            ]
            for start in range(0, PROBLEMS, 2)
        )
        for prompt in (task.question_prompt([seed], 2) for seed in shown)
        for reply in (task.question_reply(prompt, pair),)
    ]
    return [*solutions, lists, lists]


def _in_style(rationale: str, style: str | None) -> str:
    """A solution that differs from style to style: four alike could not be told apart by any score."""
    equations = re.findall(r"\d+ [-+*/] \d+ = \d+", rationale)
    match style:
        case "steps":
            return "\n".join(f"{number}. {line}" for number, line in enumerate(rationale.split("\n"), start=1))
        case "brief":
            return f"It is {', then '.join(equations)}."
        case "equations":
            return "\n".join(equations)
        case "child":
            return f"Look! {rationale} Hooray!"
        case _:
            return rationale
