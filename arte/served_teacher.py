"""A teacher on a server: as it is, or with the adapter that alignment wrote here."""

from pathlib import Path
from typing import Any

from arte.generation.kept_answers import KeptAnswers
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.models import ModelFolder
from arte.recipe import Teacher


def served_teacher(
    teacher: Teacher, weights: ModelFolder | None, answers: KeptAnswers, adapter: Path | None
) -> OpenAIEngine | None:
    """The teacher, with an adapter where one is given; None where its server takes none.

    With a copy of the weights, its tokenizer puts chats into words here. Raises EngineError where the server does not
    answer, serves another model, or is vLLM and refuses the adapter.
    """
    from arte.models.load import load_tokenizer

    served = Served.look(teacher.name, teacher.server)
    if adapter is not None:
        if not served.takes_adapters:
            return None
        served = served._replace(name=served.load_adapter(adapter, teacher.server))
    tokenizer: Any = None if weights is None else load_tokenizer(weights.path, teacher.trust_remote_code)
    return OpenAIEngine(served, teacher.server, answers, tokenizer)
