"""What is changed in a graph of onnxruntime-genai's builder before it is shipped.

- fp16: the matrices are stored in float16 and cast to float32, once, when the file is loaded.
- int8, int4: the embedding, which the builder leaves in float32, is stored in 8 bits: tied, it is the output matrix
  itself. Without that an int8 file of a small model is as large as the float16 one.

Operators: ONNX's Cast, and onnxruntime's MatMulNBits and GatherBlockQuantized (its docs/ContribOperators.md), which
store symmetric 8-bit weights as unsigned bytes around 128. Import this module in a child only.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from arte_export.errors import BadModel

GRAPH = "model.onnx"
BLOCK = 32
ROWS = 8192  # of the embedding at a time
CENTRE = 128


def finish(built: Path, out: Path, precision: str) -> None:
    """Writes the builder's graph and weights into the folder `out`. Raises BadModel where a weight does not fit."""
    if precision == "fp32":
        for file in (GRAPH, f"{GRAPH}.data"):
            shutil.move(built / file, out / file)
        return
    model = ir.load(built / GRAPH)  # its weights stay on disk, mapped
    if precision == "fp16":
        _halve(model.graph)
    else:
        _quantise_embedding(model.graph)
    model.graph.sort()
    # small tensors stay in the graph: onnxruntime must know shapes before it maps the weights
    ir.save(model, out / GRAPH, external_data=f"{GRAPH}.data", size_threshold_bytes=256)


def _halve(graph: ir.Graph) -> None:
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        # norms and rotary tables are small and sensitive
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2 or _is_rotary(value):
            continue
        name = value.name
        value.name = f"{name}.fp16"
        stored = ir.Value(
            name=value.name,
            shape=value.shape,
            type=ir.TensorType(ir.DataType.FLOAT16),
            const_value=ir.LazyTensor(
                lambda tensor=tensor, name=name: ir.tensor(_half(tensor.numpy(), name), name=f"{name}.fp16"),
                dtype=ir.DataType.FLOAT16, shape=tensor.shape, name=f"{name}.fp16",
            ),
        )  # fmt: skip
        cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT}, name=f"{name}.Cast")
        cast.outputs[0].name, cast.outputs[0].shape, cast.outputs[0].type = name, value.shape, value.type
        del graph.initializers[value.name]
        graph.register_initializer(stored)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        graph.append(cast)


def _half(matrix: NDArray[Any], name: str | None) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = matrix.astype(np.float16)
    if not np.isfinite(half).all():
        raise BadModel(
            f"{name}: its largest weight is {np.abs(matrix).max():g}, beyond float16's 65504; export this model as fp32"
        )
    return half


def _is_rotary(value: ir.Value) -> bool:
    return any(use.node.op_type in ("GroupQueryAttention", "RotaryEmbedding") for use in value.uses())


def _quantise_embedding(graph: ir.Graph) -> None:
    for node in list(graph.all_nodes()):
        table = node.inputs[0].const_value if node.op_type == "Gather" and node.inputs[0] is not None else None
        if table is not None and table.dtype == ir.DataType.FLOAT and len(table.shape) == 2:
            _replace_gather(graph, node, table.numpy())


def _replace_gather(graph: ir.Graph, gather: ir.Node, table: NDArray[np.float32]) -> None:
    old, ids, looked_up = gather.inputs[0], gather.inputs[1], gather.outputs[0]
    assert old is not None
    shared = _output_matrix_of(graph, table)
    if shared is None:
        rows, scales = quantise(table)
        quantised = _constant(graph, f"{old.name}_Q8", rows)
        scale = _constant(graph, f"{old.name}_scales", scales)
    else:
        weight, scale = shared
        shape = _constant(graph, f"{old.name}_shape", np.array(table.shape, np.int64))
        reshape = ir.node("Reshape", [weight, shape], name="/model/embed_tokens/Reshape")
        reshape.outputs[0].name = "/model/embed_tokens/Reshape/output_0"
        graph.insert_before(gather, reshape)
        quantised = reshape.outputs[0]
    lookup = ir.node(
        "GatherBlockQuantized", [quantised, ids, scale],
        {"bits": 8, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1},
        domain="com.microsoft", name="/model/embed_tokens/GatherBlockQuantized",
    )  # fmt: skip
    lookup.outputs[0].shape, lookup.outputs[0].type = looked_up.shape, looked_up.type
    graph.insert_before(gather, lookup)
    ir.convenience.replace_all_uses_with(looked_up, lookup.outputs[0])
    lookup.outputs[0].name = looked_up.name
    graph.remove(gather, safe=True)
    if not old.uses():
        assert old.name is not None
        del graph.initializers[old.name]


def _output_matrix_of(graph: ir.Graph, table: NDArray[np.float32]) -> tuple[ir.Value, ir.Value] | None:
    """The weight and scales of an 8-bit MatMulNBits that holds the embedding's own numbers; None where none does."""
    rows, width = table.shape
    for node in graph.all_nodes():
        if node.op_type != "MatMulNBits" or node.attributes.get_int("bits", 4) != 8:
            continue
        weight, scale = node.inputs[1], node.inputs[2]
        symmetric = len(node.inputs) == 3 or node.inputs[3] is None
        if (
            weight is None or scale is None or weight.const_value is None or scale.const_value is None
            or not symmetric or width % BLOCK or node.attributes.get_int("block_size", 0) != BLOCK
            or tuple(weight.const_value.shape) != (rows, width // BLOCK, BLOCK)
        ):  # fmt: skip
            continue
        stored, scales = weight.const_value.numpy(), scale.const_value.numpy().reshape(rows, width // BLOCK, 1)
        if all(
            _same(table[at : at + ROWS], stored[at : at + ROWS], scales[at : at + ROWS]) for at in range(0, rows, ROWS)
        ):
            return weight, scale
    return None


def _same(table: NDArray[np.float32], stored: NDArray[np.uint8], scales: NDArray[np.float32]) -> bool:
    """Whether the stored bytes are the rounded numbers of the table: no further off than one step each."""
    error = (stored.astype(np.float32) - CENTRE) * scales - table.reshape(stored.shape)
    return bool((np.abs(error) <= 1.01 * np.abs(scales)).all())


def quantise(table: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Rows in blocks of 32, each with one scale: value = (byte - 128) * scale. Shapes (rows, width), (rows, blocks)."""
    rows, width = table.shape
    blocks = -(-width // BLOCK)
    stored = np.empty((rows, width), np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    for at in range(0, rows, ROWS):
        part = np.pad(table[at : at + ROWS], ((0, 0), (0, blocks * BLOCK - width)))
        split = part.reshape(len(part), blocks, BLOCK)
        scale = np.abs(split).max(axis=2) / 127
        step = np.where(scale > 0, scale, 1)[:, :, None]
        levels = np.rint(split / step) + CENTRE
        stored[at : at + ROWS] = levels.astype(np.uint8).reshape(len(part), -1)[:, :width]
        scales[at : at + ROWS] = scale
    return stored, scales


def _constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
