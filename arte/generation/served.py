"""What a server that speaks OpenAI's protocol serves, what it cannot do alike with others, and what its errors mean."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import openai
from arte_export.package_index import file_sha256

from arte.errors import EngineError, did_you_mean
from arte.generation import Answer, Finish
from arte.recipe_engines import Server

GO_ON = "Go on from exactly where your message ends. Do not repeat any of it."
"""Asked of a server that opens a new turn after an assistant's that is left open."""
NO_KEY = "none"
"""Sent where the recipe names no key: the client library wants one."""
LOOK_S = 20.0
"""Seconds that a server has to say what it serves."""
_LLAMA = {"repeat_penalty": 1.0, "top_k": 0, "min_p": 0.0}
PLAINLY: dict[str, dict[str, Any]] = {
    "vllm": {"repetition_penalty": 1.0, "top_k": 0, "min_p": 0.0},  # else what the model's generation_config.json says
    "llamacpp": _LLAMA,  # llama-server
    "me": _LLAMA,  # llama-cpp-python's, which penalises repetition by 1.1, greedy or not
}
"""By what a server says it is: sampling of its own, switched off. Servers not known here may refuse such settings."""
WORDS_OF_TOO_LONG = ("context length", "context size", "context_length", "maximum context", "max_model_len", "too long")

AGAIN = (
    openai.APIConnectionError,  # time-outs too
    openai.RateLimitError,
    openai.InternalServerError,
    openai.ConflictError,
    openai.APIResponseValidationError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)
"""What the client library raises where asking again may help."""


class Again(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, what: str, *, busy: bool, after_s: float | None = None) -> None:
        super().__init__(what)
        self.busy = busy
        """Whether the server has too much to do."""
        self.after_s = after_s
        """Seconds that the server asked to wait."""

    @classmethod
    def because(cls, error: Exception, timeout_s: float) -> Self:
        """In words, of one of AGAIN."""
        if isinstance(error, openai.APITimeoutError):
            return cls(f"no answer within teacher.server.timeout_s={timeout_s:g}", busy=True)
        if isinstance(error, openai.APIConnectionError):
            return cls(f"the connection failed or was cut ({error.__cause__ or error})", busy=False)
        if isinstance(error, openai.APIStatusError):
            busy = error.status_code in (429, 503)
            return cls(f"the server answers {error.status_code}", busy=busy, after_s=_retry_after(error))
        return cls("the server's answer cannot be read", busy=False)


class Served(NamedTuple):
    """A model on a server that was asked what it serves."""

    name: str
    url: str
    key: str
    owner: str
    """Who owns the model, by the server's list: tells vLLM, llama-server, Ollama and others apart."""

    @classmethod
    def look(cls, name: str, server: Server) -> Self:
        """Asks the server what it serves. Raises EngineError where it does not answer, refuses the key, or serves no
        such model."""
        assert server.url is not None
        key = key_of(server)
        try:
            with openai.OpenAI(base_url=server.url, api_key=key, timeout=LOOK_S, max_retries=1) as client:
                listed = {model.id: model.owned_by for model in client.models.list().data or []}
        except openai.NotFoundError:
            listed = {}  # a hosted server may list nothing
        except openai.APIConnectionError as error:
            raise EngineError(
                f"{server.url}: no server answers ({error.__cause__ or error}). Start one (vllm serve {name}), or say "
                "where it is with teacher.server.url, its /v1 included"
            ) from error
        except openai.APIStatusError as error:
            raise explained(error, name, server) from error
        except (json.JSONDecodeError, openai.APIResponseValidationError, AttributeError) as error:
            raise EngineError(
                f"{server.url}: answers, but not as a server of OpenAI's protocol does; is the /v1 missing?"
            ) from error
        if listed and name not in listed and f"{name}:latest" not in listed:
            raise EngineError(
                f"{server.url}: serves no {name}{did_you_mean(name, listed)} (teacher.name; it serves "
                f"{', '.join(sorted(listed))})"
            )
        return cls(name, server.url, key, listed.get(name, ""))

    @property
    def goes_on_by(self) -> dict[str, Any] | None:
        """What a request says besides, to have an assistant's last turn gone on from; None where it opens a new
        turn."""
        if self.owner == "vllm":
            return {"continue_final_message": True, "add_generation_prompt": False}
        return {} if self.owner in ("llamacpp", "library") else None  # llama-server and Ollama go on by themselves

    @property
    def plainly(self) -> dict[str, Any]:
        """What a request says besides, to have tokens drawn by temperature and nucleus alone, as other engines draw."""
        return PLAINLY.get(self.owner, {})

    @property
    def takes_adapters(self) -> bool:
        """Whether it is vLLM, which can load an adapter while it runs."""
        return self.owner == "vllm"

    def load_adapter(self, adapter: Path, server: Server) -> str:
        """Has a vLLM server load a PEFT adapter from a folder that it sees too, and gives the adapter's name.

        Raises EngineError where it refuses.
        """
        name = f"arte-{file_sha256(adapter / 'adapter_model.safetensors')[:16]}"
        asked = {"lora_name": name, "lora_path": str(adapter.absolute())}
        try:
            with openai.OpenAI(base_url=self.url, api_key=self.key, timeout=server.timeout_s, max_retries=2) as client:
                if name not in {model.id for model in client.models.list().data}:
                    client.post("/load_lora_adapter", body=asked, cast_to=str)
        except openai.OpenAIError as error:
            said = _said(error)[:500] if isinstance(error, openai.APIStatusError) else str(error)
            rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("r")
            raise EngineError(
                f"{self.url}: cannot load the aligned teacher's adapter ({said}). {self._start_it(rank)}, where it "
                f"sees {adapter.absolute()}; the same command then goes on"
            ) from error
        return name

    def require_adapters(self, server: Server, rank: int) -> None:
        """Asks a vLLM server whether it would load an adapter at all, before one is there.

        Raises EngineError where it would not.
        """
        try:
            with openai.OpenAI(base_url=self.url, api_key=self.key, timeout=server.timeout_s, max_retries=2) as client:
                client.post("/load_lora_adapter", body={"lora_name": "", "lora_path": ""}, cast_to=str)
        except openai.NotFoundError as error:
            raise EngineError(
                f"{self.url}: loads no adapter while it runs, and the aligned teacher will be one. "
                f"{self._start_it(rank)}"
            ) from error
        except openai.APIStatusError:
            pass  # it refuses this one, which has no name

    def _start_it(self, rank: int) -> str:
        command = f"vllm serve {self.name} --enable-lora --max-lora-rank {rank}"
        return f"Start it as VLLM_ALLOW_RUNTIME_LORA_UPDATING=True {command}"

    def limit_name(self, *, chat: bool) -> str:
        """OpenAI's own newer models refuse the name that all others know."""
        own = (urlsplit(self.url).hostname or "").endswith("openai.com")
        return "max_completion_tokens" if own and chat else "max_tokens"

    def answer(self, said: Any) -> Answer:
        """Checked. Raises Again where it is no answer, EngineError where it is another model's."""
        model, usage, choices = (getattr(said, name, None) for name in ("model", "usage", "choices"))
        if not choices or usage is None or not isinstance(usage.prompt_tokens, int):
            raise Again("the server's answer has no text or no token counts", busy=False)
        if model and not (model == self.name or model.startswith((f"{self.name}-", f"{self.name}:", f"{self.name}@"))):
            raise EngineError(
                f"{self.url}: {model} answers where {self.name} was asked; write teacher.name={model} if that is meant"
            )
        message = getattr(choices[0], "message", None)
        text = choices[0].text if message is None else message.content
        finish: Finish = "length" if choices[0].finish_reason == "length" else "stop"
        if text is None and finish == "stop":
            raise Again("the server's answer has no text", busy=False)
        return Answer(text or "", usage.prompt_tokens, usage.completion_tokens or 0, finish)

    def held_to(self, schema: str, *, chat: bool) -> dict[str, Any]:
        """What a request says besides, to have its answer satisfy a JSON Schema; nothing where this kind of server
        cannot be held to one in a request of this kind."""
        what = json.loads(schema)
        if self.owner == "vllm":
            return {"structured_outputs": {"json": what}}
        if self.owner == "llamacpp":
            return {"json_schema": what}
        if not chat:
            return {}
        if self.owner == "me":
            return {"response_format": {"type": "json_object", "schema": what}}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": what}}}

    @staticmethod
    def is_too_long(error: openai.APIStatusError) -> bool:
        """Whether the server says that prompt and answer do not fit into the model's context."""
        return error.status_code in (400, 413) and any(word in _said(error).lower() for word in WORDS_OF_TOO_LONG)


def key_of(server: Server) -> str:
    """The key, from the environment. Raises EngineError where the recipe names a variable that is not set."""
    if server.key_variable is None:
        return NO_KEY
    key = os.environ.get(server.key_variable, "")
    if not key:
        raise EngineError(
            f"teacher.server.key_variable={server.key_variable}: this variable is not set; put the key in it"
        )
    return key


def explained(error: openai.APIStatusError, model: str, server: Server) -> EngineError:
    """What the server says of a request that it will never answer."""
    if error.status_code in (401, 403):
        key = "no key was sent" if server.key_variable is None else f"it refuses the key in {server.key_variable}"
        return EngineError(
            f"{server.url}: {key} ({error.status_code}). Put the key into an environment variable and name that with "
            "teacher.server.key_variable"
        )
    said = _said(error).replace(key_of(server), "…") if server.key_variable else _said(error)
    missing = "; is the /v1 missing?" if error.status_code == 404 else ""
    return EngineError(f"{server.url}: refuses a request for {model} ({error.status_code}{missing}): {said[:500]}")


def _said(error: openai.APIStatusError) -> str:
    """What the server wrote, whatever it calls the field."""
    return error.response.text or str(error)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3); a date, or more than ten minutes, is left to our own waiting."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 600 else None
