"""Chat templates as runtimes beside transformers render them: Jinja in a sandbox, with the names that templates use."""

import json
from datetime import datetime
from typing import Any

from arte_export.vocabulary import Conversation


class RefusedError(Exception):
    """A template called raise_exception."""


def render(template: str, conversation: Conversation, bos_token: str, eos_token: str) -> str | None:
    """The conversation as text; None where the template refuses it or is no Jinja.

    Names beside the messages: add_generation_prompt, bos_token, eos_token, raise_exception, strftime_now and the filter
    tojson, as transformers and llama-cpp-python give them (transformers' documentation, "Chat templates").
    """
    from jinja2 import TemplateError

    try:
        text: str = _compiled(template).render(
            messages=conversation.messages,
            add_generation_prompt=conversation.generation_prompt,
            bos_token=bos_token,
            eos_token=eos_token,
            tools=None,
            documents=None,
        )
    except (TemplateError, RefusedError, TypeError):  # TypeError: a template that adds text to a missing value
        return None
    return text


def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _refuse(message: str) -> None:
    raise RefusedError(message)


def _tojson(value: Any, indent: int | None = None) -> str:
    # jinja2's own escapes <, > and & for HTML
    return json.dumps(value, ensure_ascii=False, indent=indent)
