"""A device file as lm-eval's own tasks ask it: each batch in a child process, greedy, in the file's own tokens.

Chats are rendered by the file's own template as llama-cpp-python and transformers would (arte_export.chat_template).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arte.errors import EngineError, ModelError
from arte.generation import Answer, Continuation, Finish, Message, Prompt, Scored

if TYPE_CHECKING:
    from arte_export.device_file import DeviceFile


class FileEngine:
    """A ScoringEngine. Raises arte_export's errors where the file cannot be read, ModelError without a template."""

    def __init__(self, file: "DeviceFile") -> None:
        self.file = file
        self.vocabulary = file.vocabulary([], [])
        if self.vocabulary.chat_template is None:
            raise ModelError(
                f"{file.path}: holds no chat template, so it cannot be asked; export the model anew with one"
            )

    def render(self, messages: Sequence[Message]) -> str:
        """The chat with the assistant's turn opened, or left open where it is the last one."""
        from arte_export import chat_template
        from arte_export.vocabulary import Conversation

        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        chat = Conversation(messages=list(messages[:-1] if begun else messages), generation_prompt=True)
        known = self.vocabulary
        ends = [None if token is None else known.tokens[token] for token in (known.bos, known.eos)]
        text = chat_template.render(known.chat_template or "", chat, ends[0] or "", ends[1] or "")
        if text is None:
            roles = ", ".join(dict.fromkeys(message["role"] for message in chat.messages))
            raise ModelError(f"{self.file.path}: its chat template refuses a chat of lm-eval's ({roles})")
        return text + begun

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """See Engine; greedy only. An answer that would have stopped is made to its end and cut."""
        if temperature:
            raise EngineError(f"{self.file.path}: a device file answers greedily, and this task draws")
        made = self.file.answers([prompt.text for prompt in prompts], max_tokens)
        read = max(1, made.tokens_in // max(1, len(prompts)))
        answers = []
        for text, ids in zip(made.texts, made.token_ids, strict=True):
            ends = [place for word in stop if (place := text.find(word)) >= 0]
            finish: Finish = "stop" if ends or len(ids) < max_tokens else "length"
            answers.append(Answer(text[: min(ends)] if ends else text, read, len(ids), finish))
        return answers

    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """See ScoringEngine; the tokens of a text are taken together."""
        from arte_export import likelihood

        found = likelihood.of(self.file, [(each.prompt, each.text) for each in asked])
        return [Scored([each.logprob], each.tokens, each.greedy) for each in found]


class FileTokenizer:
    """The file's own cutting, as far as arte.stages.lm_student needs a tokenizer."""

    def __init__(self, engine: FileEngine) -> None:
        known = engine.vocabulary
        self.file = engine.file
        self.adds_bos = known.adds_bos
        self.bos_token_id, self.eos_token_id = known.bos, known.eos
        self.bos_token = None if known.bos is None else known.tokens[known.bos]

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
        """Token ids of each text, in one child process."""
        ids = self.file.vocabulary(texts, []).token_ids
        begun = [self.bos_token_id] if add_special_tokens and self.adds_bos else []
        return {"input_ids": [[*begun, *row] for row in ids]}
