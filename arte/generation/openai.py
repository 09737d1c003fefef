"""Generation by a server that speaks OpenAI's protocol: vllm serve, llama-server, Ollama, or a hosted one.

With the model's tokenizer at hand the chat is put into words here and /completions goes on from them: the very tokens
that the other engines see. Without, /chat/completions is asked, and the server puts the chat into words.

Every answer is kept as it comes (KeptAnswers). A refusal (429), an error of the server (5xx), a time-out, a cut
connection or an answer that is none is asked for again, ever later; what the server says of the request itself (its
key, its model) ends the stage at once. Where one row fails for good, those under way are waited for and kept.
"""

import asyncio
import json
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import openai
import tenacity

from arte.errors import EngineError
from arte.generation import TOO_LONG, Answer, Message, Prompt
from arte.generation.chat import chat_text
from arte.generation.kept_answers import KeptAnswers, key_of
from arte.generation.served import AGAIN, GO_ON, Again, Served, explained
from arte.generation.slots import Slots
from arte.recipe_engines import Server

Result = TypeVar("Result")

LONGEST_WAIT_S = 60.0
"""Between two attempts, where the server does not name a time itself."""


class OpenAIEngine:
    """Continues prompts by a served model."""

    def __init__(self, served: Served, server: Server, kept: KeptAnswers, tokenizer: Any = None) -> None:
        """Answers go into `kept`."""
        self.settings = server
        self.tokenizer = tokenizer
        self.served = served
        self.kept = kept
        self.slots = Slots(server.requests)
        self.client = openai.AsyncOpenAI(
            base_url=server.url, api_key=served.key, timeout=server.timeout_s, max_retries=0
        )
        # A thread of its own: an event loop may run in the caller's (a notebook's does).
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="openai-engine", daemon=True).start()
        weakref.finalize(self, self.loop.call_soon_threadsafe, self.loop.stop)

    def render(self, messages: Sequence[Message]) -> str:
        """The chat as `generate` takes it: in words, or as JSON where the server puts it into words."""
        return json.dumps(list(messages)) if self.tokenizer is None else chat_text(self.tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """Continues all prompts, in order (see Engine); a prompt that the model cannot read whole is TOO_LONG.

        Raises EngineError.
        """
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p}
        sampling |= {"stop": list(stop)} if stop else {}
        sampling |= {self.served.limit_name(chat=self.tokenizer is None): max_tokens}
        requests = [{"model": self.served.name, **self._asked(prompt), **sampling} for prompt in prompts]
        return self._run(self._all(requests))

    def _asked(self, prompt: Prompt) -> dict[str, Any]:
        besides = dict(self.served.plainly)
        if prompt.schema is not None:
            besides |= self.served.held_to(prompt.schema, chat=self.tokenizer is None)
        if self.tokenizer is not None:
            asked: dict[str, Any] = {"prompt": prompt.text}
        else:
            messages = json.loads(prompt.text)
            asked = {"messages": messages}
            if messages[-1]["role"] == "assistant":
                if self.served.goes_on_by is None:  # not known to go on from an assistant's turn that is left open
                    messages.append({"role": "user", "content": GO_ON})
                else:
                    besides |= self.served.goes_on_by
        return {**asked, "seed": prompt.seed, **({"extra_body": besides} if besides else {})}

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _all(self, requests: Sequence[dict[str, Any]]) -> list[Answer]:
        failed = threading.Event()
        found = await asyncio.gather(*(self._one(request, failed) for request in requests), return_exceptions=True)
        errors = [each for each in found if isinstance(each, BaseException)]
        if errors:
            raise next((error for error in errors if not isinstance(error, asyncio.CancelledError)), errors[0])
        return [each for each in found if isinstance(each, Answer)]

    async def _one(self, request: dict[str, Any], failed: threading.Event) -> Answer:
        """One row, kept from before or asked until it is answered. `failed`: another row cannot be."""
        key = key_of(request)
        if (known := self.kept.answers.get(key)) is not None:
            return known
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.settings.attempts), tenacity.stop_when_event_set(failed)
            ),
            wait=_wait,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    async with self.slots:
                        if failed.is_set():
                            raise asyncio.CancelledError
                        answer = await self._ask(request)
            self.kept.keep(key, answer)
        except Again as again:
            failed.set()
            raise EngineError(
                f"{self.settings.url}: {again} ({self.settings.attempts} attempts). {len(self.kept.answers)} answers "
                "are kept; the same command asks for the others"
            ) from again.__cause__
        except BaseException:
            failed.set()
            raise
        return answer

    async def _ask(self, request: dict[str, Any]) -> Answer:
        refusals = self.slots.refusals
        try:
            if self.tokenizer is None:
                said: Any = await self.client.chat.completions.create(**request)
            else:
                said = await self.client.completions.create(**request)
            answer = self.served.answer(said)
            # llama-server gives a turn that it went on from whole, its opening included; others may repeat it.
            answer = answer._replace(text=answer.text.removeprefix(opening(request.get("messages", []))))
        except AGAIN as error:
            again = Again.because(error, self.settings.timeout_s)
            if again.busy:
                self.slots.refused(refusals)
            raise again from error
        except openai.APIStatusError as error:
            if self.served.is_too_long(error):
                return TOO_LONG
            raise explained(error, self.served.name, self.settings) from error
        self.slots.answered()
        return answer


def opening(messages: Sequence[Message]) -> str:
    """What an assistant's turn that is to be gone on from begins with; empty where the last turn is another's."""
    last = messages[-2:-1] if messages and messages[-1]["content"] == GO_ON else messages[-1:]
    return last[0]["content"] if last and last[0]["role"] == "assistant" else ""


def _wait(state: tenacity.RetryCallState) -> float:
    """What the server asked for, or 1, 2, 4, … seconds, each shortened at random so that rows do not come together."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.after_s if isinstance(error, Again) else None
    return tenacity.wait_random_exponential(min=0.2, max=LONGEST_WAIT_S)(state) if asked is None else asked
