"""A model folder under the clock, by transformers: the reference that device files are held against."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arte_export import lean_transformers
from arte_export.bench_engine import Facts


class TorchEngine:
    """See bench_engine.Engine. Weights stay in the type they are stored in, as most users would run them."""

    def __init__(self, model: Any, folder: Path) -> None:
        config = model.config.get_text_config()
        self._model, self._folder = model, folder
        self._cache: Any = None
        self._logits: Any = None
        self._tokenizer: Any = None
        ends = model.generation_config.eos_token_id
        self._ends = set(ends) if isinstance(ends, list) else {ends}
        self.vocabulary_tokens = int(config.vocab_size)
        self.context_tokens = int(config.max_position_embeddings)

    def clear(self, room: int) -> None:
        from transformers import DynamicCache

        self._cache = DynamicCache(config=self._model.config)

    def feed(self, ids: Sequence[int]) -> None:
        import torch

        with torch.inference_mode():
            out = self._model(
                input_ids=torch.tensor([list(ids)]), past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        self._logits = out.logits[0, -1]

    def choose(self) -> int:
        return int(self._logits.argmax())

    def tokenise(self, text: str) -> list[int]:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self._folder)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def ends(self, token: int) -> bool:
        return token in self._ends

    def facts(self) -> Facts:
        tied = self._model.get_output_embeddings().weight is self._model.get_input_embeddings().weight
        sizes = {id(weight): weight.numel() * weight.element_size() for weight in self._model.parameters()}
        embedding = self._model.get_input_embeddings().weight
        return Facts(
            model_type=f"{self._model.config.model_type} {str(self._model.dtype).removeprefix('torch.')}",
            model_parameters=sum(weight.numel() for weight in self._model.parameters()),
            weight_bytes=sum(sizes.values()),
            embedding_bytes=0 if tied else embedding.numel() * embedding.element_size(),
        )


@contextmanager
def open_engine(folder: Path, threads: int) -> Iterator[TorchEngine]:
    """The model, loaded on the CPU; the folder is one that `model_folder.inspect` found whole."""
    lean_transformers.prepare()
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    yield TorchEngine(model, folder)
