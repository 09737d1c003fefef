"""An onnxruntime-genai folder under the clock. In a child process only.

A generator takes tokens by `append_tokens`, which computes them and samples nothing: so random tokens are decoded one
by one, as llama-bench does, through the same graph and cache as generation.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from arte_export import genai
from arte_export.bench_engine import Facts
from arte_export.errors import BadModel, ExportError


class OnnxEngine:
    """See bench_engine.Engine."""

    def __init__(self, library: Any, model: Any, folder: Path, settings: dict[str, Any]) -> None:
        self._library, self._model, self._folder = library, model, folder
        self._generator: Any = None
        self._ends = genai.end_tokens(settings)
        self._tokenizer: Any = None
        self._type = str(settings.get("type", "onnx"))
        self.vocabulary_tokens = int(settings["vocab_size"])
        self.context_tokens = int(settings["context_length"])

    def clear(self, room: int) -> None:
        parameters = self._library.GeneratorParams(self._model)
        # min_length keeps a random end token from ending the generator
        parameters.set_search_options(max_length=room, min_length=room, batch_size=1, num_beams=1, do_sample=False)
        self._generator = self._library.Generator(self._model, parameters)

    def feed(self, ids: Sequence[int]) -> None:
        with genai.failing_as(ExportError, f"{self._folder}: onnxruntime-genai cannot run {len(ids)} tokens", ""):
            self._generator.append_tokens(np.array(ids, np.int32))

    def choose(self) -> int:
        return int(np.asarray(self._generator.get_logits())[0, -1].argmax())

    def tokenise(self, text: str) -> list[int]:
        if self._tokenizer is None:
            self._tokenizer = self._library.Tokenizer(self._model)
        ids: list[int] = self._tokenizer.encode(text).tolist()
        return ids

    def ends(self, token: int) -> bool:
        return token in self._ends

    def facts(self) -> Facts:
        weights = sum(file.stat().st_size for file in self._folder.glob("model.onnx*"))
        return Facts(model_type=f"{self._type} onnx", model_parameters=None, weight_bytes=weights, embedding_bytes=None)


@contextmanager
def open_engine(folder: Path, threads: int) -> Iterator[OnnxEngine]:
    """The folder, loaded. Raises BadModel, MissingExtra."""
    settings = genai.read_settings(folder)
    library = genai.library()
    with genai.failing_as(BadModel, f"{folder}: onnxruntime-genai cannot read this folder", genai.UNREADABLE):
        config = library.Config(str(folder))
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        model = library.Model(config)
    yield OnnxEngine(library, model, folder, settings)
