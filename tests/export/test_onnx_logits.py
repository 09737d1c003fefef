import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from arte_export import onnx_genai, onnx_logits
from arte_export.errors import BadModel
from onnx import TensorProto, helper, numpy_helper

# 48 tokens: more than the windows of 8 below
IDS = np.random.default_rng(0).integers(3, 350, 48).tolist()
WINDOW: dict[str, Any] = {"sliding_window": 8}
TWO_KINDS: dict[str, Any] = {"layer_types": ["sliding_attention", "full_attention"], **WINDOW}
ONE_ROPE: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
LLAMA3_ROPE: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
}  # fmt: skip
GRANITE: dict[str, Any] = {
    "embedding_multiplier": 2.0, "logits_scaling": 1.5, "residual_multiplier": 0.7, "attention_multiplier": 0.2,
}  # fmt: skip
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Qwen2", {}),
        ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
        ("Gemma3", {"head_dim": 16, "query_pre_attn_scalar": 16, **TWO_KINDS}),
        ("Mistral", {"head_dim": 16, **WINDOW}),
        pytest.param("Llama", LLAMA3_ROPE, marks=SLOW),
        pytest.param("Gemma", {"head_dim": 16}, marks=SLOW),
        pytest.param("Gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, **TWO_KINDS}, marks=SLOW),
        pytest.param("Phi3", {"original_max_position_embeddings": 640, **ONE_ROPE, **WINDOW}, marks=SLOW),
        pytest.param("Phi", {"partial_rotary_factor": 0.5, "num_attention_heads": 2}, marks=SLOW),
        pytest.param("Nemotron", {"num_attention_heads": 2}, marks=SLOW),
        pytest.param("Granite", GRANITE, marks=SLOW),
        pytest.param("SmolLM3", {}, marks=SLOW),
        pytest.param("HunYuanDenseV1", {"head_dim": 16}, marks=SLOW),
        pytest.param("Ernie4_5", {"head_dim": 16}, marks=SLOW),
    ],
)
def test_every_architecture_gives_the_logits_of_torch(
    name: str, settings: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    import transformers

    kind = getattr(transformers, f"{name}ForCausalLM")
    assert f"{name}ForCausalLM" in onnx_genai.ARCHITECTURES
    common: dict[str, Any] = {
        "vocab_size": 353, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 640, "initializer_range": 0.3,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": name.startswith("Gemma"),
    }  # fmt: skip
    torch.manual_seed(0)
    model = kind(kind.config_class(**(common | settings))).eval()
    with torch.inference_mode():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name or parameter_name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)  # or a forgotten one would not show
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    model.save_pretrained(folder)
    out = onnx_genai.export(folder, tmp_path / "onnx", "fp32")
    with torch.inference_mode():
        expected = model(torch.tensor([IDS])).logits[0].numpy()
    with onnx_logits.open_model(out / "model.onnx", threads=1) as opened:
        found = opened.logits(IDS)
        assert opened.vocabulary_tokens == 353
        shorter = opened.logits(IDS[:5])
    assert np.abs(found - expected).max() < 2e-4
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.abs(shorter - expected[:5]).max() < 2e-4


def _decoder(file: Path, precision: int, rename: dict[str, str] | None = None) -> Path:
    """A graph in optimum's layout: logits = table[id] + 10 × position + number of tokens that the mask shows."""
    names = {name: (rename or {}).get(name, name) for name in ("input_ids", "attention_mask", "position_ids", "logits")}
    table = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]], helper.tensor_dtype_to_np_dtype(precision))
    past: list[str | int | None] = ["batch", 2, "past", 8]
    nodes = [
        helper.make_node("Gather", ["table", names["input_ids"]], ["looked_up"]),
        helper.make_node("Mul", [names["position_ids"], "ten"], ["tens"]),
        helper.make_node("ReduceSum", [names["attention_mask"], "last"], ["shown"], keepdims=1),
        helper.make_node("Add", ["tens", "shown"], ["whole"]),
        helper.make_node("Unsqueeze", ["whole", "last2"], ["column"]),
        helper.make_node("Cast", ["column"], ["offset"], to=precision),
        helper.make_node("Add", ["looked_up", "offset"], [names["logits"]]),
        helper.make_node("Identity", ["past_key_values.0.key"], ["present.0.key"]),
        helper.make_node("Identity", ["past_key_values.0.value"], ["present.0.value"]),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info(names["input_ids"], TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info(names["attention_mask"], TensorProto.INT64, ["batch", "all"]),
            helper.make_tensor_value_info(names["position_ids"], TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("past_key_values.0.key", precision, past),
            helper.make_tensor_value_info("past_key_values.0.value", precision, past),
        ],
        [
            helper.make_tensor_value_info(names["logits"], precision, ["batch", "tokens", 3]),
            helper.make_tensor_value_info("present.0.key", precision, past),
            helper.make_tensor_value_info("present.0.value", precision, past),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array(10), "ten"),
            numpy_helper.from_array(np.array([1]), "last"),
            numpy_helper.from_array(np.array([2]), "last2"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), file)
    return file


@pytest.mark.parametrize("precision", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_optimums_layout_by_hand(precision: int, tmp_path: Path) -> None:
    file = _decoder(tmp_path / "decoder.onnx", precision)
    with onnx_logits.open_model(file) as model:
        found = model.logits([3, 0])
        assert model.vocabulary_tokens == 3
    # ids 3 and 0, at positions 0 and 1, of 2 tokens
    assert found.tolist() == [[9 + 2, 10 + 2, 11 + 2], [0 + 12, 1 + 12, 2 + 12]]
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"attention_mask": "mask"}, r"no attention_mask \(inputs input_ids, mask, position_ids"),
        ({"logits": "hidden"}, r"no logits .*outputs hidden, present\.0\.key"),
        ({"input_ids": "ids", "logits": "scores"}, "no input_ids and no logits"),
        ({"position_ids": "places"}, r"unknown input places \['batch', 'tokens'\]; expected past_key_values"),
    ],
)
def test_another_layout_is_named(rename: dict[str, str], message: str, tmp_path: Path) -> None:
    file = _decoder(tmp_path / "decoder.onnx", TensorProto.FLOAT, rename)
    with pytest.raises(BadModel, match=message), onnx_logits.open_model(file):
        pass


def test_a_file_that_is_no_graph_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"model\.onnx: no such file"), onnx_logits.open_model(tmp_path):
        pass
    file = _decoder(tmp_path / "model.onnx", TensorProto.FLOAT)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(BadModel, match=r"model\.onnx: onnxruntime cannot load it"), onnx_logits.open_model(tmp_path):
        pass


def test_a_token_beyond_the_vocabulary(tmp_path: Path) -> None:
    file = _decoder(tmp_path / "model.onnx", TensorProto.FLOAT)
    with onnx_logits.open_model(file) as model, pytest.raises(BadModel, match=r"cannot run it on 1 tokens"):
        model.logits([4])


def test_logits_that_are_no_numbers(tmp_path: Path) -> None:
    file = _decoder(tmp_path / "model.onnx", TensorProto.FLOAT16)
    with onnx_logits.open_model(file) as model, pytest.raises(BadModel, match="not finite"):
        model.logits([3] * 6600)  # 10 × 6599 is beyond float16


def test_a_folder_without_its_settings_or_with_weights_cut_short(tiny_model: Path, tmp_path: Path) -> None:
    out = onnx_genai.export(tiny_model, tmp_path / "onnx", "fp32")
    (out / "genai_config.json").rename(tmp_path / "settings")
    with pytest.raises(BadModel, match=r"does not say its head size, and .*genai_config\.json has no"):  # noqa: SIM117
        with onnx_logits.open_model(out):
            pass
    (tmp_path / "settings").rename(out / "genai_config.json")
    os.truncate(out / "model.onnx.data", (out / "model.onnx.data").stat().st_size // 2)
    with pytest.raises(BadModel, match=r"model\.onnx\.data may be cut short or missing"), onnx_logits.open_model(out):
        pass
