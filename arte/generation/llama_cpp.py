"""Generation with a GGUF file by llama.cpp, in a child process for every call.

Sequences are decoded in parallel, what all prompts begin with is evaluated once (arte_export.generate); a crash of the
native code is an error here and no more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arte_export import generate

from arte.generation import TOO_LONG, Answer, Message, Prompt
from arte.generation.chat import chat_text, text_ids
from arte.recipe_engines import LlamaCpp


class LlamaCppEngine:
    """Continues prompts with a GGUF file; `tokenizer` is that of the folder it was made from or converted to."""

    def __init__(self, file: Path, tokenizer: Any, settings: LlamaCpp, longest: int | None) -> None:
        """`longest`: most tokens of a prompt and its answer."""
        self.file = file
        self.tokenizer = tokenizer
        self.settings = settings
        self.longest = longest

    def render(self, messages: Sequence[Message]) -> str:
        """The chat template applied (see Engine)."""
        return chat_text(self.tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """Continues all prompts, in order (see Engine).

        Raises the errors of arte_export: BadModel, ExportError, ChildDied, MissingExtra.
        """
        fitting = [place for place, prompt in enumerate(prompts) if self._fits(prompt, max_tokens)]
        found = generate.answers(
            self.file,
            [prompts[place].text for place in fitting],
            max_tokens,
            stop,
            self.settings.threads,
            self.settings.parallel,
            drawn=generate.Drawn(
                temperature=temperature, top_p=top_p, seeds=[prompts[place].seed for place in fitting]
            ),
            schemas=[prompts[place].schema for place in fitting],
        )
        answers = [TOO_LONG] * len(prompts)
        for place, text, ids, read, ended in zip(
            fitting, found.texts, found.token_ids, found.prompt_tokens, found.ended, strict=True
        ):
            answers[place] = Answer(text, read, len(ids), "stop" if ended else "length")
        return answers

    def _fits(self, prompt: Prompt, max_tokens: int) -> bool:
        return self.longest is None or len(text_ids(self.tokenizer, prompt.text)) + max_tokens <= self.longest
