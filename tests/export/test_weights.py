"""Tensor by tensor: what rounding leaves, and what sabotage shows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from arte_export import weights
from arte_export.weights import Deviation

TENSOR = "blk.1.ffn_up.weight"


def _changed(file: Path, to: Path, factor: float) -> Path:
    """A copy of an f32 GGUF file with one tensor multiplied, in place."""
    from gguf import GGUFReader

    shutil.copy(file, to)
    tensor = next(each for each in GGUFReader(to, "r+").tensors if each.name == TENSOR)
    tensor.data[:] = (tensor.data * np.float32(factor)).astype(np.float32)
    return to


def test_sound_files_of_every_scheme_are_within_their_limits(tiny_files: dict[str, Path]) -> None:
    seen = {}
    for name in ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"):
        found = weights.compare(tiny_files["f32"], tiny_files[name])
        assert (found.deviating, found.unchecked, found.missing) == ([], [], []), name
        assert found.largest_error is not None
        seen[name] = found.largest_error.error
        assert found.tensors == 20  # embedding, final norm, 2 layers of 9 tensors each
    assert seen["f32"] == 0.0
    assert seen["f32"] < seen["bf16"] < seen["q8_0"] < seen["q4_0"]


@pytest.mark.parametrize("factor", [1.05, 0.95, -1.0])
def test_a_scaled_tensor_is_named_with_its_scale(tiny_files: dict[str, Path], tmp_path: Path, factor: float) -> None:
    spoiled = _changed(tiny_files["f32"], tmp_path / "spoiled.gguf", factor)
    found = weights.compare(tiny_files["f32"], spoiled)
    assert [each.tensor for each in found.deviating] == [TENSOR]
    assert found.deviating[0].scale == pytest.approx(factor, abs=1e-5)
    assert found.deviating[0].error == pytest.approx(abs(factor - 1.0), rel=1e-3)


def test_excess_is_counted_from_the_type_s_own_scale() -> None:
    three = Deviation(tensor="a", type="IQ3_S", scale=1.03, error=0.17)
    assert weights.limit("IQ3_S").centre == 1.03
    assert weights._excess(three) < 1.0
    assert weights._excess(three.model_copy(update={"scale": 1.03 * 1.05})) > 1.0
    assert weights._excess(three.model_copy(update={"type": "Q8_0"})) > 10.0
