"""Weights in 8-bit blocks: the rounding by hand, and graphs that onnxruntime runs to the same values."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from arte_export import child, onnx_int8
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper


def test_a_block_by_hand() -> None:
    row = np.zeros((1, 40), np.float32)
    row[0, :4] = [127.0, -127.0, 63.4, 0.6]  # largest 127: a scale of 1
    row[0, 32:34] = [-25.4, 12.7]  # of the second block, filled up with 24 zeros: 25.4 / 127
    codes, scales = onnx_int8.blocks(row)
    assert codes.shape == (1, 2, 32)
    assert scales.tolist() == [[1.0, pytest.approx(0.2)]]
    assert codes[0, 0, :5].tolist() == [255, 1, 191, 129, 128]
    assert codes[0, 1].tolist() == [1, 192, *[128] * 30]  # 12.7 / 0.2 = 63.5 rounds to the even 64


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 70)),
        elements=st.floats(-1e4, 1e4, width=32).filter(lambda value: value == 0 or abs(value) > 1e-20),
    )
)
def test_rounding_is_off_by_half_a_scale_at_most(rows: Any) -> None:
    codes, scales = onnx_int8.blocks(rows)
    restored = ((codes.astype(np.float64) - 128) * scales[..., None]).reshape(len(rows), -1)
    padded = np.zeros_like(restored)
    padded[:, : rows.shape[1]] = rows
    allowed = np.repeat(scales.astype(np.float64), 32, axis=1) * (0.5 + 1e-4)
    assert (np.abs(restored - padded) <= allowed).all()
    assert codes.min() >= 1


def write_graph(file: Path, *, tied: bool) -> dict[str, Any]:
    """logits = embed[ids] @ up @ head, 40 wide and 96 in the middle; gives its weights."""
    random = np.random.default_rng(0)
    embed = random.normal(size=(50, 40)).astype(np.float32)
    up = random.normal(size=(40, 96)).astype(np.float32)
    down = random.normal(size=(96, 40)).astype(np.float32)
    head = np.ascontiguousarray(embed.T) if tied else random.normal(size=(40, 50)).astype(np.float32)
    weights = {"embed": embed, "up": up, "down": down, "head": head}
    nodes = [
        helper.make_node("Gather", ["embed", "input_ids"], ["h0"], name="gather"),
        helper.make_node("MatMul", ["h0", "up"], ["h1"], name="up"),
        helper.make_node("MatMul", ["h1", "down"], ["h2"], name="down"),
        helper.make_node("MatMul", ["h2", "head"], ["logits"], name="head"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", 50])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    return weights


def run_graph(file: Path, ids: list[list[int]]) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    result: list[Any] = session.run(None, {"input_ids": np.array(ids)})[0].tolist()
    return result


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("one_file_bytes", [onnx_int8.ONE_FILE_BYTES, 100])
def test_a_graph_in_8_bits_gives_nearly_the_same(tmp_path: Path, tied: bool, one_file_bytes: int) -> None:
    weights = write_graph(tmp_path / "in.onnx", tied=tied)
    out = tmp_path / "out.onnx"
    beside = onnx_int8.quantise(tmp_path / "in.onnx", out, one_file_bytes)
    assert beside == (tmp_path / "out.onnx_data").is_file() == (one_file_bytes == 100)

    ids = [[1, 2, 3], [47, 48, 49]]
    expected = weights["embed"][np.array(ids)] @ weights["up"] @ weights["down"] @ weights["head"]
    found = np.array(child.run(partial(run_graph, out, ids), holding=out, limit_s=60).result)
    assert found.shape == (2, 3, 50)
    # weights and activations are each off by a 256th of the largest of 32; errors of 3 products add up
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()

    model = onnx.load(out, load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulNBits") == 3
    assert "MatMul" not in kinds
    codes = [tensor for tensor in model.graph.initializer if tensor.name.endswith("_codes")]
    assert len(codes) == (3 if tied else 4)
    assert {tuple(tensor.dims) for tensor in codes} == {(50, 2, 32), (96, 2, 32), (40, 3, 32)}
    assert not [tensor for tensor in model.graph.initializer if tensor.name in weights]


def test_a_product_of_two_activations_stays_as_it_is(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"], name="scores")], "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("a", "b")],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4, 4])],
    )  # fmt: skip
    file = tmp_path / "in.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    onnx_int8.quantise(file, tmp_path / "out.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node] == ["MatMul"]
