"""A teacher that follows a script: an engine whose every answer is worked out from the prompt and its seed alone.

Asked for a problem, it writes the one that the prompt's seed points to. Asked to solve one, it does so with the numbers
of the problem, and errs where the seed says so.
"""

import re
from collections.abc import Callable, Sequence

from arte.generation import Answer, Message, Prompt

Reply = Callable[[str, int], str]
"""The text that answers a rendered prompt under a seed."""


class ScriptedEngine:
    """An Engine. `reply` makes each answer; `fail_after` calls, the next one raises Stopped."""

    def __init__(self, reply: Reply, fail_after: int | None = None) -> None:
        self.reply = reply
        self.fail_after = fail_after
        self.calls: list[list[Prompt]] = []

    def render(self, messages: Sequence[Message]) -> str:
        return "\n".join(f"<{message['role']}> {message['content']}" for message in messages)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        if self.fail_after is not None and len(self.calls) == self.fail_after:
            raise Stopped
        self.calls.append(list(prompts))
        texts = [self.reply(prompt.text, prompt.seed) for prompt in prompts]
        return [
            Answer(text, len(prompt.text.split()), len(text.split()), "stop")
            for prompt, text in zip(prompts, texts, strict=True)
        ]


class Stopped(Exception):
    """What stands for the end of the process."""


NAMES = ("Ada", "Bela", "Chidi", "Dora", "Emil", "Femi", "Gita", "Hana", "Ivo", "Jun", "Kofi", "Lea", "Mira", "Nils")
THINGS = ("kites", "lamps", "mugs", "nuts", "oars", "pens", "quilts", "rings", "socks", "tiles", "urns", "vases")
PLACES = ("in Rome", "by the sea", "on a farm", "at school", "near the old mill", "in the harbour", "under the bridge")
QUESTION = re.compile(r"(\w+) buys (\d+) (\w+) [\w ]+ and finds (\d+) more")


def problem(number: int) -> str:
    """One of many problems that differ in words and numbers."""
    name, thing, place = NAMES[number % 14], THINGS[number // 3 % 12], PLACES[number // 5 % 7]
    first, second = 11 + number % 83, 5 + number // 83 % 71
    return f"{name} buys {first} {thing} {place} and finds {second} more. How many {thing} does {name} have?"


def to_solve(prompt: str) -> bool:
    """Whether the prompt is for a solution: it holds a problem of this script, which no seed problem is."""
    return QUESTION.search(prompt) is not None


def arithmetic_teacher(prompt: str, seed: int) -> str:
    """Writes one problem a reply, and none in one reply of five; its solutions err in ways that hang on the seed."""
    if not to_solve(prompt):
        return "I would rather talk about the weather." if seed % 5 == 0 else f" {problem(seed)}\nAnswer: 7"
    name, first, thing, second = QUESTION.findall(prompt)[-1]
    total = int(first) + int(second)
    if seed % 7 == 0:
        return f"I do not know how many {thing} those are."
    said = total + 1 if seed % 6 == 0 else total
    return f"{name} has {first} + {second} = {said} {thing}.\n#### {said}"
