"""A student as lm-eval's own tasks ask it: it answers, says how likely text is, and how likely a whole text is.

Tokens are cut as lm-eval's own adapter for transformers cuts them (`HFLM`), so that figures are those of the field.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from arte.errors import DataError, ModelError
from arte.generation import ScoringEngine
from arte.stages.answering import Answering, Scoring

USUAL_CONTEXT = 2048
"""Tokens that a model reads where its configuration does not say."""
WINDOW = 2048
"""Tokens of a long text that are read at once for its perplexity, or as many as the model can read."""

Ids = tuple[list[int], list[int]]
"""Token ids of a context, never none, and of what stands behind it."""


class LmStudent(LM):  # type: ignore[misc]
    """Batches are kept in files that begin with `log`, so that a killed run goes on after its last whole one."""

    def __init__(
        self, engine: ScoringEngine, tokenizer: Any, context_tokens: int | None, log: Path, batch_size: int
    ) -> None:
        """`tokenizer`: the student's own. `context_tokens`: what it reads at most; None where nobody knows."""
        super().__init__()
        self.engine = engine
        self.tokenizer = tokenizer
        self.longest = context_tokens or USUAL_CONTEXT
        self.log = log
        self.batch_size = batch_size
        self.tokens_in = 0
        self.tokens_out = 0
        self.too_long = 0
        """Prompts that do not fit into the context with their answer: the answer is empty."""

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests, which is not used."""
        return "student"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The chat as text: the assistant's turn is opened, or left open where it is begun. Raises ModelError."""
        try:
            return self.engine.render(chat_history)
        except jinja2.TemplateError as error:
            roles = ", ".join(dict.fromkeys(message["role"] for message in chat_history))
            raise ModelError(f"the student's chat template refuses a chat of lm-eval's ({roles}): {error}") from error

    def generate_until(self, requests: list[Any]) -> list[str]:
        """One answer a request, each drawn as its task says. Raises DataError for a way to draw that no engine has."""
        ways: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            ways.setdefault(repr(sorted(request.args[1].items())), []).append(place)
        answers = [""] * len(requests)
        for number, places in enumerate(ways.values()):
            kwargs = normalize_gen_kwargs(requests[places[0]].args[1])
            drawn = bool(kwargs.get("do_sample"))
            if drawn and (
                odd := sorted(kwargs.keys() - {"do_sample", "until", "max_gen_toks", "temperature", "top_p"})
            ):
                raise DataError(
                    f"{requests[places[0]].task_name}: draws with {', '.join(odd)}, which no engine here has"
                )
            answering = Answering(
                self.engine,
                self._file(f"answers-{number}"),
                self.batch_size,
                kwargs["max_gen_toks"],
                temperature=kwargs["temperature"] if drawn else 0.0,
                top_p=kwargs.get("top_p", 1.0) if drawn else 1.0,
                stop=[word for word in kwargs["until"] if word],
            )
            said = answering([requests[place].args[0] for place in places])
            for place, text in zip(places, said, strict=True):
                answers[place] = text
            self.tokens_in += answering.tokens_in
            self.tokens_out += answering.tokens_out
            self.too_long += answering.too_long
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """The log-probability of each continuation behind its context (nats), and whether it is greedy."""
        return self._scored(self._pairs([request.args for request in requests]), "likelihoods")

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """The log-probability of each whole text (nats): every token once, behind as much of the text as is read."""
        windows: list[Ids] = []
        owners: list[int] = []
        for place, ids in enumerate(self._ids([request.args[0] for request in requests], special=False)):
            found = get_rolling_token_windows(
                token_list=ids,
                prefix_token=self._prefix,
                max_seq_len=min(self.longest - 1, WINDOW),
                context_len=1,
            )
            windows += [make_disjoint_window(window) for window in found]
            owners += [place] * (len(windows) - len(owners))
        totals = [0.0] * len(requests)
        for place, (logprob, _) in zip(owners, self._scored(windows, "texts"), strict=True):
            totals[place] += logprob
        return totals

    def _scored(self, pairs: Sequence[Ids], kind: str) -> list[tuple[float, bool]]:
        scoring = Scoring(self.engine, self._file(kind), self.batch_size)
        found = scoring(pairs)
        self.tokens_in += scoring.tokens_in
        return found

    def _pairs(self, asked: Sequence[tuple[str, str]]) -> list[Ids]:
        """White space at the end of a context is cut with the continuation, as most vocabularies have it."""
        kept = [context.rstrip() for context, _ in asked]
        wholes = [context + continuation for context, continuation in asked]
        begun = [place for place, context in enumerate(kept) if context]
        pairs: dict[int, Ids] = {}
        for place, whole, before in zip(
            begun,
            self._ids([wholes[place] for place in begun]),
            self._ids([kept[place] for place in begun]),
            strict=True,
        ):
            pairs[place] = whole[: len(before)], whole[len(before) :]
        bare = [place for place, context in enumerate(kept) if not context]
        for place, ids in zip(bare, self._ids([wholes[place] for place in bare], special=False), strict=True):
            pairs[place] = [self._prefix], ids
        return [self._fitting(*pairs[place], continuation) for place, (_, continuation) in enumerate(asked)]

    def _fitting(self, prompt: list[int], given: list[int], continuation: str) -> Ids:
        """Too long a context loses its beginning. Raises DataError for too long a continuation."""
        if len(given) >= self.longest:
            raise DataError(
                f"a continuation of {len(given)} tokens ({continuation[:60]!r}…) does not fit into the student's "
                f"context of {self.longest}; leave this task out of evaluate.tasks"
            )
        return prompt[-(self.longest - len(given)) :], given

    @property
    def _prefix(self) -> int:
        """What stands in front of the first token of a text."""
        tokenizer = self.tokenizer
        return int(tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id)

    def _ids(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """`special`: with the tokens that the tokenizer puts around a text, unless its own beginning is there."""
        bos = self.tokenizer.bos_token
        found: dict[str, list[int]] = {}
        for added in (True, False):
            those = [text for text in texts if (special and not (bos and text.startswith(bos))) is added]
            if those:
                found |= zip(those, self.tokenizer(those, add_special_tokens=added)["input_ids"], strict=True)
        return [found[text] for text in texts]

    def _file(self, kind: str) -> Path:
        return self.log.with_name(f"{self.log.name}-{kind}.jsonl")


Make = Callable[[str], LmStudent]
"""A student whose files begin with a name."""
