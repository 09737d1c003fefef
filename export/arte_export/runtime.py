"""llama.cpp through its C API, as the child processes use it: a file, a context, a batch of tokens, logits.

The low-level API, for its many sequences in one batch; `llama_cpp.Llama` holds one. Import this module in a child only:
the library may take its process down.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arte_export.errors import BadModel, ExportError, MissingExtra

BATCH_TOKENS = 2048  # llama.cpp's defaults of n_batch and n_ubatch, which llama-bench uses too
UBATCH_TOKENS = 512

_said: list[str] = []
_callback: Any = None


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def library() -> Any:
    """The bindings, quiet: warnings and errors are kept for `last_words`. Raises MissingExtra."""
    global _callback
    try:
        from llama_cpp import llama_cpp
    except ModuleNotFoundError:
        raise MissingExtra("llama-cpp-python", "gguf", "A GGUF file") from None
    if _callback is None:

        def keep(level: int, text: bytes, _user: Any) -> None:
            warning, error, continued = 3, 4, 5
            if level in (warning, error, continued) and text.strip():
                _said[:-5] = []
                _said.append(text.decode(errors="replace").strip())

        _callback = llama_cpp.llama_log_callback(keep)
        llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


def last_words() -> str:
    """What the library said last, for an error message."""
    return "; ".join(_said) or "nothing said"


class Model:
    """A loaded GGUF file."""

    def __init__(self, lib: Any, pointer: Any, file: Path) -> None:
        self.lib, self.pointer, self.file = lib, pointer, file
        self.vocabulary = lib.llama_model_get_vocab(pointer)
        self.tokens = int(lib.llama_vocab_n_tokens(self.vocabulary))
        self.trained_context_tokens = int(lib.llama_model_n_ctx_train(pointer))
        # a recurrent state cannot be cut back to a shared prefix
        self.recurrent = bool(lib.llama_model_is_recurrent(pointer) or lib.llama_model_is_hybrid(pointer))

    @property
    def description(self) -> str:
        """Architecture, size and scheme, as llama-bench names a model: `llama 256M Q4_K - Medium`."""
        buffer = ctypes.create_string_buffer(128)
        self.lib.llama_model_desc(self.pointer, buffer, 128)
        return buffer.value.decode()

    def tokenise(self, text: str) -> list[int]:
        """Token ids; special-token text becomes special tokens, and nothing is put in front or behind."""
        data = text.encode()
        room = len(data) + 8
        while True:
            ids = (self.lib.llama_token * room)()
            count = int(self.lib.llama_tokenize(self.vocabulary, data, len(data), ids, room, False, True))
            if count >= 0:
                return list(ids[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes of a token; those of a special token are none."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = int(self.lib.llama_token_to_piece(self.vocabulary, token, buffer, room, 0, False))
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def ends(self, token: int) -> bool:
        """Whether the token ends a generation (llama.cpp's EOG: EOS, EOT and their like)."""
        return bool(self.lib.llama_vocab_is_eog(self.vocabulary, token))

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata as text."""
        room = 1 << 20
        buffer = ctypes.create_string_buffer(room)
        count = int(self.lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, room))
        return None if count < 0 else buffer.value.decode()


@contextmanager
def load(file: Path, *, vocabulary_only: bool = False) -> Iterator[Model]:
    """A model for the time of a `with`. Raises BadModel where llama.cpp cannot read the file."""
    lib = library()
    if not file.is_file():
        raise BadModel(f"{file}: no such file; expected a GGUF file")
    parameters = lib.llama_model_default_params()
    parameters.vocab_only = vocabulary_only
    pointer = lib.llama_model_load_from_file(os.fsencode(file), parameters)
    if not pointer:
        size = file.stat().st_size
        raise BadModel(
            f"{file}: llama.cpp cannot load this file ({size} bytes): {last_words()}. It may be cut short, no GGUF "
            "file, or newer than the installed llama-cpp-python; make or fetch it again"
        )
    try:
        yield Model(lib, pointer, file)
    finally:
        lib.llama_model_free(pointer)


class Context:
    """A key-value cache of `sequences` equal parts, and one batch to fill."""

    batch_tokens = BATCH_TOKENS

    def __init__(self, model: Model, pointer: Any) -> None:
        self.lib, self.pointer, self.file = model.lib, pointer, model.file
        self.memory = self.lib.llama_get_memory(pointer)
        self._vocabulary_tokens = model.tokens
        # llama_batch by numpy arrays of our own: filling it by ctypes assignments costs as much as a small model
        self._token = np.zeros(BATCH_TOKENS, np.int32)
        self._position = np.zeros(BATCH_TOKENS, np.int32)
        self._one = np.ones(BATCH_TOKENS, np.int32)
        self._sequence = np.zeros(BATCH_TOKENS, np.int32)
        addresses = self._sequence.ctypes.data + 4 * np.arange(BATCH_TOKENS)
        self._sequence_pointers = addresses.astype(np.uintp)
        self._wanted = np.zeros(BATCH_TOKENS, np.int8)
        batch = self.lib.llama_batch()
        for field, array in (
            ("token", self._token),
            ("pos", self._position),
            ("n_seq_id", self._one),
            ("seq_id", self._sequence_pointers),
            ("logits", self._wanted),
        ):
            kind = dict(batch._fields_)[field]
            setattr(batch, field, ctypes.cast(ctypes.c_void_p(array.ctypes.data), kind))
        self._batch = batch

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[int]
    ) -> None:
        """Runs at most BATCH_TOKENS tokens; `wanted` are the indices whose logits are to be kept."""
        count = len(tokens)
        self._token[:count] = tokens
        self._position[:count] = positions
        self._sequence[:count] = sequences
        self._wanted[:count] = 0
        self._wanted[list(wanted)] = 1
        self._batch.n_tokens = count
        status = self.lib.llama_decode(self.pointer, self._batch)
        if status != 0:
            raise ExportError(
                f"{self.file}: llama.cpp could not evaluate {count} tokens (status {status}): {last_words()}"
            )

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits after the batch's token `index`, valid until the next decode; shape (vocabulary,)."""
        pointer = self.lib.llama_get_logits_ith(self.pointer, index)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary_tokens,))

    def logits_of(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits of every position of a row that stands alone; shape (tokens, vocabulary)."""
        self.clear()
        parts = []
        for start in range(0, len(ids), self.batch_tokens):
            part = ids[start : start + self.batch_tokens]
            self.decode(part, range(start, start + len(part)), [0] * len(part), wanted=range(len(part)))
            kept = self.lib.llama_get_logits(self.pointer)
            parts.append(np.ctypeslib.as_array(kept, shape=(len(part), self._vocabulary_tokens)).copy())
        return np.concatenate(parts)

    def wait(self) -> None:
        """Returns when all that was asked is computed."""
        self.lib.llama_synchronize(self.pointer)

    def share(self, sequences: int) -> None:
        """Copies what sequence 0 holds to all others."""
        for sequence in range(1, sequences):
            self.lib.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)

    def move(self, sequence: int, to: int) -> None:
        """Gives a free sequence what another holds, which is free then."""
        self.lib.llama_memory_seq_rm(self.memory, to, -1, -1)
        self.lib.llama_memory_seq_cp(self.memory, sequence, to, -1, -1)
        self.lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def cut(self, sequence: int, tokens: int) -> None:
        """Forgets all of the sequence after its first `tokens`."""
        if not self.lib.llama_memory_seq_rm(self.memory, sequence, tokens, -1):
            raise ExportError(f"{self.file}: this architecture cannot go back to token {tokens} of a sequence")

    def clear(self) -> None:
        """Forgets everything."""
        self.lib.llama_memory_clear(self.memory, True)


@contextmanager
def context(model: Model, *, sequence_tokens: int, sequences: int = 1, threads: int | None = None) -> Iterator[Context]:
    """A context for the time of a `with`. Raises ExportError where there is no memory for it."""
    lib = model.lib
    parameters = lib.llama_context_default_params()
    # a cache each: measured a fifth faster at 32 sequences than one that all share, until the prefix is long
    parameters.kv_unified = False
    rounded = -(-sequence_tokens // 256) * 256  # llama.cpp pads each sequence's part to 256
    parameters.n_ctx = rounded * sequences
    parameters.n_seq_max = sequences
    parameters.n_batch = BATCH_TOKENS
    parameters.n_ubatch = UBATCH_TOKENS
    parameters.no_perf = False  # llama.cpp's own clock, by which the benchmark tells what our loop adds
    parameters.n_threads = parameters.n_threads_batch = threads or cores()
    pointer = lib.llama_init_from_model(model.pointer, parameters)
    if not pointer:
        raise ExportError(
            f"{model.file}: llama.cpp cannot make a context of {sequences} × {rounded} tokens: {last_words()}; "
            "use fewer parallel sequences or fewer tokens"
        )
    try:
        yield Context(model, pointer)
    finally:
        lib.llama_free(pointer)
