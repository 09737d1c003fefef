"""An engine in several workers at once, through Ray Data: on one machine or on a cluster that Ray was started on.

Every call is one Ray dataset whose blocks go to a pool of actors, each with an engine of its own. Ray gives the block
of a worker that died to another; an answer depends on its prompt and seed alone, so it is the same there. The model is
loaded anew by each call: calls are to be long (elicit.batch_size, prefer.drafts_at_once in the hundreds).
"""

from collections.abc import Callable, Sequence
from typing import Any

from arte.errors import EngineError
from arte.generation import Answer, Continuation, Engine, Message, Prompt, Scored
from arte.recipe_engines import Ray

BLOCKS_A_WORKER = 4
"""Of a call: enough that a worker with short answers takes over from one with long ones, and little is done twice where
one dies."""


class FannedEngine:
    """Does what its engine does, with `settings.workers` of them. `make` is called once in each worker."""

    def __init__(self, make: Callable[[], Any], render: Callable[[Sequence[Message]], str], settings: Ray) -> None:
        """`render`: the engine's, in this process. Raises EngineError where Ray is not installed or no cluster answers
        at `settings.address`."""
        try:
            import ray
        except ImportError as error:
            raise EngineError(f"ray.workers: Ray is not installed ({error}): pip install 'arte[ray]'") from error
        if not ray.is_initialized():
            try:
                ray.init(address=settings.address, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise EngineError(f"ray.address={settings.address}: no cluster answers there: {error}") from error
        ray.data.DataContext.get_current().enable_progress_bars = False
        self.make = make
        self.settings = settings
        self._render = render

    def render(self, messages: Sequence[Message]) -> str:
        """The chat template applied (see Engine)."""
        return self._render(messages)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
    ) -> list[Answer]:
        """Continues all prompts, in order (see Engine). Raises EngineError where a worker's engine fails."""
        sampling = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "stop": list(stop)}
        return [Answer(**row) for row in self._fan([prompt._asdict() for prompt in prompts], Generating, sampling)]

    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """See ScoringEngine. Raises EngineError where a worker's engine fails."""
        rows = self._fan([each._asdict() for each in asked], Scoring, {})
        return [
            Scored([float(value) for value in row["logprobs"]], row["tokens_in"], bool(row["greedy"])) for row in rows
        ]

    def _fan(self, rows: list[dict[str, Any]], work: type, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """What each row came to, in order; each exactly once."""
        import ray

        if not rows:
            return []
        placed = [{"place": place, **row} for place, row in enumerate(rows)]
        workers = min(self.settings.workers or 1, len(rows))
        blocks = min(len(rows), workers * BLOCKS_A_WORKER)
        dataset = ray.data.from_items(placed, override_num_blocks=blocks).map_batches(
            work,
            fn_constructor_args=(self.make, settings),
            concurrency=workers,
            batch_size=-(-len(rows) // blocks),
            num_cpus=self.settings.cpus,
            num_gpus=self.settings.gpus or None,
        )
        try:
            found = {int(row.pop("place")): row for row in dataset.take_all()}
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]  # of the worker's traceback
            raise EngineError(f"ray: a worker failed: {last}") from error
        if sorted(found) != list(range(len(rows))):
            raise EngineError(f"ray: {len(found)} of {len(rows)} rows came back; the same command asks for all again")
        return [found[place] for place in range(len(rows))]


class Generating:
    """A worker that generates."""

    def __init__(self, make: Callable[[], Engine], sampling: dict[str, Any]) -> None:
        self.engine, self.sampling = make(), sampling

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        prompts = [
            Prompt(str(text), int(seed), int(group), schema)
            for text, seed, group, schema in zip(
                batch["text"], batch["seed"], batch["group"], batch["schema"], strict=True
            )
        ]
        answers = self.engine.generate(prompts, **self.sampling)
        columns = {name: [getattr(answer, name) for answer in answers] for name in Answer._fields}
        return {"place": batch["place"], **columns}


class Scoring:
    """A worker that scores."""

    def __init__(self, make: Callable[[], Any], _settings: dict[str, Any]) -> None:
        self.logprobs = make().logprobs

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        asked = [
            Continuation(_given(prompt), _given(text), int(group))
            for prompt, text, group in zip(batch["prompt"], batch["text"], batch["group"], strict=True)
        ]
        scored = self.logprobs(asked)
        return {
            "place": batch["place"],
            "logprobs": [each.logprobs for each in scored],
            "tokens_in": [each.tokens_in for each in scored],
            "greedy": [each.greedy for each in scored],
        }


def _given(column: Any) -> str | list[int]:
    """Text or token ids, as a column holds them."""
    return str(column) if isinstance(column, str) else [int(token) for token in column]
