"""A GGUF file under the clock, by llama.cpp's C API. In a child process only."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from arte_export import gguf_header, runtime
from arte_export.bench_engine import Facts, decode


class GgufEngine:
    """See bench_engine.Engine."""

    def __init__(self, model: runtime.Model, file: Path, threads: int, stack: ExitStack) -> None:
        self._model, self._file, self._threads, self._stack = model, file, threads, stack
        self.context: runtime.Context | None = None
        self._room = self._filled = self._last = 0
        self.vocabulary_tokens = model.tokens
        self.context_tokens = model.trained_context_tokens

    def clear(self, room: int) -> None:
        if self.context is None or room != self._room:
            self._stack.close()  # as llama-bench does: a context for each test, no larger than the test
            made = runtime.context(self._model, sequence_tokens=room, threads=self._threads)
            self.context, self._room = self._stack.enter_context(made), room
        self.context.clear()
        self._filled = 0

    def feed(self, ids: Sequence[int]) -> None:
        context = self.context
        assert context is not None
        for start in range(0, len(ids), context.batch_tokens):
            part = ids[start : start + context.batch_tokens]
            wanted = [len(part) - 1] if start + len(part) == len(ids) else []
            context.decode(part, range(self._filled, self._filled + len(part)), [0] * len(part), wanted)
            self._filled += len(part)
            self._last = len(part) - 1
        context.wait()

    def choose(self) -> int:
        assert self.context is not None
        return int(self.context.logits(self._last).argmax())

    def tokenise(self, text: str) -> list[int]:
        return self._model.tokenise(text)

    def ends(self, token: int) -> bool:
        return self._model.ends(token)

    def facts(self) -> Facts:
        header = gguf_header.read(self._file)
        embedding = header.tensors.get("token_embd.weight")
        own_output = "output.weight" in header.tensors
        return Facts(
            model_type=self._model.description,
            model_parameters=header.parameters,
            weight_bytes=sum(tensor.bytes for tensor in header.tensors.values()),
            embedding_bytes=embedding.bytes if embedding is not None and own_output else 0,
        )


@contextmanager
def open_engine(file: Path, threads: int) -> Iterator[GgufEngine]:
    """The file, loaded. Raises BadModel, MissingExtra."""
    with runtime.load(file) as model, ExitStack() as stack:
        yield GgufEngine(model, file, threads, stack)


def loop_overhead(file: Path, threads: int, tokens: int, repeats: int) -> list[float]:
    """What the clock's loop adds to decoding: its seconds over those that llama.cpp itself counted, less one.

    One share a run, after a warm-up; by llama_perf_context, which counts from a decode to the end of its computation.
    """
    shares = []
    with open_engine(file, threads) as engine:
        for _ in range(repeats + 1):
            engine.clear(tokens)
            assert engine.context is not None
            lib, pointer = engine.context.lib, engine.context.pointer
            lib.llama_perf_context_reset(pointer)
            seconds = sum(decode(engine, [1] * tokens))
            counted = lib.llama_perf_context(pointer)
            assert counted.n_eval == tokens, (counted.n_eval, tokens)
            shares.append(1000 * seconds / counted.t_eval_ms - 1)
    return shares[1:]
