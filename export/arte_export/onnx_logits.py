"""The logits of an ONNX decoder after every token of a text, in plain onnxruntime.

Reads the two layouts in use: onnxruntime-genai's and optimum's decoder with past. Both take `input_ids` and
`attention_mask` (and mostly `position_ids`), a past per layer that is empty here, and give `logits`. Import this
module in a child only: the library may take its process down.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arte_export import runtime
from arte_export.errors import BadModel, MissingExtra
from arte_export.genai_files import CONFIG

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


class OnnxModel:
    """A loaded decoder; `vocabulary_tokens` is the width of its logits as the file declares it."""

    def __init__(self, session: Any, file: Path, past: dict[str, NDArray[Any]]) -> None:
        self._session, self._file, self._past = session, file, past
        self._types = {entry.name: TYPES[entry.type] for entry in session.get_inputs()}
        self.vocabulary_tokens = int(next(o for o in session.get_outputs() if o.name == "logits").shape[-1])

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits after each of the tokens, shape (tokens, vocabulary). Raises BadModel where the graph fails."""
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        row = np.asarray(ids)[None]
        given = {
            "input_ids": row,
            "attention_mask": np.ones_like(row),
            "position_ids": np.arange(row.shape[1])[None],
            "use_cache_branch": np.zeros(1, bool),  # of optimum's merged decoders: the branch without a past
        }
        inputs: dict[str, NDArray[Any]] = {
            name: given[name].astype(self._types[name]) for name in self._types if name in given
        }
        try:
            (logits,) = self._session.run(["logits"], inputs | self._past)
        except (states.Fail, states.RuntimeException, states.InvalidArgument, states.NotImplemented) as error:
            raise BadModel(f"{self._file}: onnxruntime cannot run it on {row.shape[1]} tokens: {error}") from None
        if not np.isfinite(logits).all():
            raise BadModel(f"{self._file}: its logits are not finite; weights were scaled or cast out of their range")
        return np.asarray(logits[0], np.float32)


@contextmanager
def open_model(file: Path, threads: int | None = None) -> Iterator[OnnxModel]:
    """A decoder for the time of a `with`; `file` is its *.onnx, or a folder that holds model.onnx.

    Raises BadModel where onnxruntime cannot read it or an input or output is not of the known layouts, MissingExtra.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtra("onnxruntime", "onnx", "An ONNX file") from None
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    file = file / "model.onnx" if file.is_dir() else file
    if not file.is_file():
        raise BadModel(f"{file}: no such file; expected an ONNX decoder")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads or runtime.cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other runtimes have their turn between
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except (states.Fail, states.InvalidProtobuf, states.InvalidGraph, states.InvalidArgument, states.NoSuchFile,
            states.NotImplemented, states.RuntimeException) as error:  # fmt: skip
        raise BadModel(
            f"{file}: onnxruntime cannot load it: {error}. It or its {file.name}.data may be cut short or missing; "
            "export it again"
        ) from None
    yield OnnxModel(session, file, _empty_past(session, file))


def _empty_past(session: Any, file: Path) -> dict[str, NDArray[Any]]:
    """A past of no tokens for each input that is one. Raises BadModel where the layout is unknown."""
    inputs = {entry.name: entry for entry in session.get_inputs()}
    missing = [name for name in ("input_ids", "attention_mask") if name not in inputs]
    missing += ["logits"] if all(output.name != "logits" for output in session.get_outputs()) else []
    if missing:
        raise BadModel(
            f"{file}: no {' and no '.join(missing)} (inputs {', '.join(list(inputs)[:6])}, outputs "
            f"{', '.join([output.name for output in session.get_outputs()][:6])}); expected a decoder as written by "
            "onnxruntime-genai's builder or by optimum"
        )
    known = {"input_ids", "attention_mask", "position_ids", "use_cache_branch"}
    past: dict[str, NDArray[Any]] = {}
    for name, entry in inputs.items():
        if entry.type not in TYPES:
            raise BadModel(f"{file}: input {name} is {entry.type}; expected {', '.join(TYPES)}")
        if name in known:
            continue
        if not (name.startswith("past_key_values.") and name.endswith((".key", ".value")) and len(entry.shape) == 4):
            raise BadModel(f"{file}: unknown input {name} {entry.shape}; expected past_key_values.N.key and .value")
        heads, size = entry.shape[1], entry.shape[3]
        if not isinstance(size, int):
            size = _head_size(name, file)
        if not isinstance(heads, int):
            raise BadModel(f"{file}: input {name} {entry.shape} does not say how many heads it has")
        past[name] = np.zeros((1, heads, 0, size), TYPES[entry.type])
    return past


def _head_size(name: str, file: Path) -> int:
    """The last side of a past, which onnxruntime-genai's graphs leave open: genai_config.json has it."""
    config = file.parent / CONFIG
    try:
        size = json.loads(config.read_text(encoding="utf-8"))["model"]["decoder"]["head_size"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        size = None
    if not isinstance(size, int):
        raise BadModel(f"{file}: input {name} does not say its head size, and {config} has no model.decoder.head_size")
    return size
