"""The importance matrix: how much each input column of a weight matters, for the quantizer to weigh its rounding with.

For every matrix W of a block, the mean over calibration tokens of x² for each column of its input x: an error dW in W
adds dW·x to the output, so its expected square is the sum of dW² times these means (columns taken as uncorrelated).

File format and conventions are those of llama-imatrix (llama.cpp tools/imatrix): a GGUF file of type "imatrix" with
NAME.in_sum2 (the sums of x², experts × columns) and NAME.counts (tokens, per expert) for the tensors of the blocks;
embedding and output matrix are not in it. It is read as llama-quantize does: an expert that saw no token gets ones.
"""

import math
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arte_export import activations, child, gguf_header
from arte_export.errors import BadModel, ExportError

CHUNK_TOKENS = 2048
LIMIT_S = 24 * 3600.0
SUMS, COUNTS = ".in_sum2", ".counts"
F32 = 0  # ggml_type
NEVER_QUANTIZED = ("_norm.", "ffn_gate_inp.", "ssm_conv1d.", "shortconv.conv.")  # llama.cpp src/llama-quant.cpp


class Summary(BaseModel):
    """What a matrix was computed from. `uncalibrated` are the block weights that it says nothing of; they are quantised
    without. `idle_experts` counts experts that saw no token."""

    model_config = ConfigDict(frozen=True)

    tensors: int
    rows: int
    tokens: int
    chunks: int
    uncalibrated: list[str]
    idle_experts: int
    seconds: float
    peak_rss_bytes: int | None = None


class Importance(NamedTuple):
    """`means`: for every tensor the mean of x² by column, of all experts one after the other."""

    means: dict[str, NDArray[np.float32]]
    datasets: list[str]
    chunks: int


def collect(
    folder: Path,
    source: Path,
    rows: Sequence[Sequence[int]],
    out: Path,
    dataset: str,
    chunk_tokens: int = CHUNK_TOKENS,
    progress: child.Progress | None = None,
) -> Summary:
    """Runs the torch model of `folder` over the rows (token ids), in float32, and writes the matrix to `out`.

    `source` is the model's GGUF file at its own precision: it gives architecture, names and shapes. `dataset` names the
    rows in the file. A row longer than `chunk_tokens` is cut into pieces, each of which starts anew. Nothing is padded:
    only rows of equal length share a batch. The torch model lives in a child process.

    Raises BadModel (folder, source), ExportError (no rows, token ids that the model does not have, activations that
    are not finite), ChildDied.
    """
    pieces = [list(row[start : start + chunk_tokens]) for row in rows for start in range(0, len(row), chunk_tokens)]
    if not pieces:
        raise ExportError(f"{dataset}: no tokens to calibrate on; give at least one row that is not empty")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.partial").resolve()
    call = partial(_collect, folder.resolve(), source.resolve(), pieces, unfinished, dataset, chunk_tokens)
    try:
        finished = child.run(call, holding=folder, limit_s=LIMIT_S, progress=progress)
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return finished.result.model_copy(update={"rows": len(rows), "peak_rss_bytes": finished.peak_rss_bytes})


def read(file: Path) -> Importance:
    """A matrix in the GGUF format. Raises BadModel where it is none, or holds what no quantizer should be given."""
    header = gguf_header.read(file)
    missing = [key for key in ("datasets", "chunk_count", "chunk_size") if f"imatrix.{key}" not in header.keys]
    if header.keys.get("general.type") != "imatrix" or missing:
        raise BadModel(
            f"{file}: a GGUF file, but no importance matrix (general.type is {header.keys.get('general.type')!r}, "
            f"expected 'imatrix' and keys imatrix.datasets, .chunk_count, .chunk_size)"
        )
    names = sorted(name.removesuffix(SUMS) for name in header.tensors if name.endswith(SUMS))
    if not names:
        raise BadModel(f"{file}: an importance matrix of no tensors; collect it again")
    means = {name: _mean(file, header, name) for name in names}
    return Importance(means, list(header.keys["imatrix.datasets"]), int(header.keys["imatrix.chunk_count"]))


def _mean(file: Path, header: gguf_header.Header, name: str) -> NDArray[np.float32]:
    found = []
    for part in (name + SUMS, name + COUNTS):
        tensor = header.tensors.get(part)
        if tensor is None or tensor.kind != F32:
            raise BadModel(f"{file}: {part} is {'missing' if tensor is None else 'not F32'}; collect the matrix again")
        found.append(np.fromfile(file, np.float32, math.prod(tensor.shape), offset=tensor.start))
    sums, counts = found
    if not len(counts) or len(sums) % len(counts):
        raise BadModel(f"{file}: {name} has {len(sums)} sums for {len(counts)} counts; collect the matrix again")
    for values, part in ((sums, SUMS), (counts, COUNTS)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise BadModel(f"{file}: {name}{part} holds values that are negative or not finite; collect it again")
    if not counts.any():
        raise BadModel(f"{file}: {name} saw no token; collect the matrix again, on text that the model can read")
    by_expert = sums.reshape(len(counts), -1)
    seen = counts[:, None]
    mean: NDArray[np.float32] = np.where(seen > 0, by_expert / np.maximum(seen, 1), 1.0).astype(np.float32).ravel()
    return mean


def _collect(
    folder: Path, source: Path, pieces: list[list[int]], out: Path, dataset: str, chunk_tokens: int
) -> Summary:
    begun = time.perf_counter()
    header = gguf_header.read(source)
    sums = activations.squared(folder, header, pieces)
    chunks = -(-sum(map(len, pieces)) // chunk_tokens)
    _write(out, sums, dataset, chunks, chunk_tokens)
    return Summary(
        tensors=len(sums),
        rows=len(pieces),
        tokens=sum(map(len, pieces)),
        chunks=chunks,
        uncalibrated=[name for name in _quantizable(header) if name not in sums],
        idle_experts=sum(int((one.counts == 0).sum()) for one in sums.values()),
        seconds=time.perf_counter() - begun,
    )


def _quantizable(header: gguf_header.Header) -> list[str]:
    return [
        name
        for name, tensor in header.tensors.items()
        if name.startswith("blk.")
        and name.endswith(".weight")
        and len(tensor.shape) > 1
        and not any(part in name for part in NEVER_QUANTIZED)
    ]


def _write(out: Path, sums: dict[str, activations.Sum], dataset: str, chunks: int, chunk_tokens: int) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(out, "")
    writer.kv_data[0].clear()  # the writer's own general.architecture: this file is no model
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", chunk_tokens)
    for name in sorted(sums):
        writer.add_tensor(name + SUMS, sums[name].squares.astype(np.float32))
        writer.add_tensor(name + COUNTS, sums[name].counts.astype(np.float32)[:, None])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
