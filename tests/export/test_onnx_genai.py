import json
import os
import shutil
import signal
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from arte_export import onnx_genai, onnx_logits
from arte_export.errors import BadModel, ChildDied, ExportError
from onnx import TensorProto

from tests.export.holders import holders

IDS = [1, 40, 41, 300, 7, 99, 120, 3, 200, 17]


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny Llama in every precision."""
    out = tmp_path_factory.mktemp("onnx")
    return {name: onnx_genai.export(tiny_model, out / name, name) for name in onnx_genai.PRECISIONS}


@pytest.fixture(scope="module")
def torch_logits(tiny_model: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.tensor([IDS])).logits[0].numpy()


def test_each_precision_is_as_near_to_torch_as_its_bits_allow(folders: dict[str, Path], torch_logits: Any) -> None:
    error = {}
    for name, folder in folders.items():
        with onnx_logits.open_model(folder) as model:
            found = model.logits(IDS)
        assert found.shape == torch_logits.shape
        assert found.dtype == np.float32
        error[name] = _relative_error(found, torch_logits)
        if name in ("fp32", "fp16"):
            assert (found.argmax(1) == torch_logits.argmax(1)).all()
    # 24, 11, 8 and 4 bits of a weight are kept; with 8 and 4 the activations are rounded to 8 bits as well
    assert error["fp32"] < 1e-5 < error["fp16"] < 5e-3 < error["int8"] < 0.15 < error["int4"] < 0.6


def _relative_error(found: Any, expected: Any) -> float:
    """Root mean square of the difference, of that of the expected numbers."""
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


def test_each_file_is_what_it_says(folders: dict[str, Path]) -> None:
    """Counted by hand: a layer has qkv, o, gate, up and down (5), the output matrix is the eleventh."""
    kinds = {}
    for name, folder in folders.items():
        graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
        bits = Counter(
            next(attribute.i for attribute in node.attribute if attribute.name == "bits")
            for node in graph.node
            if node.op_type in ("MatMulNBits", "GatherBlockQuantized")
        )
        matrices = Counter(
            TensorProto.DataType.Name(tensor.data_type)
            for tensor in graph.initializer
            if len(tensor.dims) > 1
            and not tensor.name.startswith(("cos_cache", "sin_cache"))
            and "scale" not in tensor.name
        )
        kinds[name] = (dict(bits), dict(matrices))
        assert {entry.name for entry in graph.input} >= {"input_ids", "attention_mask", "past_key_values.1.value"}
        assert {entry.name for entry in graph.output} >= {"logits", "present.0.key", "present.1.value"}
        types = {entry.type.tensor_type.elem_type for entry in [*graph.input, *graph.output]}
        assert types == {TensorProto.INT64, TensorProto.FLOAT}
    assert kinds["fp32"] == ({}, {"FLOAT": 11})  # tied: the output matrix is the embedding
    assert kinds["fp16"] == ({}, {"FLOAT16": 11})
    assert kinds["int8"] == ({8: 12}, {"UINT8": 11})  # 11 products and the look-up in the shared embedding
    # of two layers the first is the first eighth: its qkv and down, the output matrix and the look-up have 8 bits
    assert kinds["int4"] == ({8: 4, 4: 8}, {"UINT8": 11})
    size = {name: (folder / "model.onnx.data").stat().st_size for name, folder in folders.items()}
    assert size["int4"] < size["int8"] < size["fp16"] < size["fp32"]


def test_rows_in_blocks_of_32_by_hand() -> None:
    from arte_export import onnx_graph

    row = np.zeros(40, np.float32)
    row[:3] = 1.27, -1.27, 0.307  # the first block: scale 0.01, and 30.7 of it is rounded to 31
    row[33] = -2.54  # the second: 0.02
    stored, scales = onnx_graph.quantise(row[None])
    assert stored.shape == (1, 40)
    assert stored[0, :4].tolist() == [255, 1, 159, 128]
    assert stored[0, 32:35].tolist() == [128, 1, 128]
    assert scales[0].tolist() == pytest.approx([0.01, 0.02])
    assert onnx_graph.quantise(np.zeros((1, 32), np.float32))[0].tolist() == [[128] * 32]


def test_the_folder_has_the_models_own_template_and_end_tokens(folders: dict[str, Path], tiny_model: Path) -> None:
    for folder in folders.values():
        assert sorted(os.listdir(folder)) == [
            "chat_template.jinja", "genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json",
            "tokenizer_config.json",
        ]  # fmt: skip
        assert (folder / "chat_template.jinja").read_bytes() == (tiny_model / "chat_template.jinja").read_bytes()
        config = json.loads((folder / "genai_config.json").read_text())["model"]
        assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 0)
        assert config["context_length"] == 640
    assert sorted(os.listdir(folder.parent)) == sorted(folders)


def test_an_untied_embedding_is_stored_in_8_bits(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "untied"
    shutil.copytree(tiny_model, folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model.config.tie_word_embeddings = False
    torch.manual_seed(1)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
    model.save_pretrained(folder)
    # end tokens beside the tokenizer's own EOS, as chat models have them; and a template inside tokenizer_config.json
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 5]}))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    out = onnx_genai.export(folder, tmp_path / "onnx", "int8")
    with torch.inference_mode():
        expected = model.eval()(torch.tensor([IDS])).logits[0].numpy()
    with onnx_logits.open_model(out) as opened:
        found = opened.logits(IDS)
    assert _relative_error(found, expected) < 0.15
    graph = onnx.load(out / "model.onnx", load_external_data=False).graph
    table = next(tensor for tensor in graph.initializer if tensor.name == "model.embed_tokens.weight_Q8")
    assert list(table.dims) == [model.config.vocab_size, 64]
    assert json.loads((out / "genai_config.json").read_text())["model"]["eos_token_id"] == [2, 0, 5]
    assert (out / "chat_template.jinja").read_text() == template


def test_a_folder_that_is_there_is_replaced_and_a_failure_leaves_it(
    tiny_model: Path, tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "onnx"
    shutil.copytree(folders["fp32"], out)
    (out / "stale").touch()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 1_000_000, 1_000_000))
    with pytest.raises(ExportError, match=r"0\.001 GB free, about 0\.0\d+ GB needed to write onnx in int4"):
        onnx_genai.export(tiny_model, out, "int4")
    assert sorted(os.listdir(tmp_path)) == ["onnx"]
    assert (out / "stale").is_file()
    monkeypatch.undo()
    steps: list[tuple[int, int]] = []
    onnx_genai.export(tiny_model, out, "INT4", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not (out / "stale").exists()
    assert sorted(os.listdir(tmp_path)) == ["onnx"]


def test_a_killed_builder_leaves_nothing(tiny_model: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(*_progress: int) -> None:
        if not killed:
            killed.extend(child.pid for child in holders())
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(ChildDied, match="SIGKILL"):
        onnx_genai.export(tiny_model, tmp_path / "onnx", "fp32", progress=kill)
    assert len(killed) == 1
    assert os.listdir(tmp_path) == []


def test_a_weight_beyond_float16_is_named(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "large"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = 70_000.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match=r"layers\.1\.mlp\.up_proj.*70000, beyond float16's 65504; export .* fp32"):
        onnx_genai.export(folder, tmp_path / "onnx", "fp16")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Qwen2MoeForCausalLM", "does not write Qwen2MoeForCausalLM; nearest: Qwen2ForCausalLM"),
        ("OlmoForCausalLM", "does not write OlmoForCausalLM"),  # the builder does, but with other logits
    ],
)
def test_an_architecture_that_the_builder_does_not_write(
    name: str, message: str, tiny_model: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    with pytest.raises(BadModel, match=message):
        onnx_genai._check_architecture(tmp_path)


def test_heads_that_the_runtime_cannot_take(tiny_model: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    config |= {"hidden_size": 64, "num_attention_heads": 8, "head_dim": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel, match=r"attention heads of 8 numbers .* takes multiples of 16"):
        onnx_genai._check_architecture(tmp_path)


def test_every_architecture_offered_is_one_of_the_builders() -> None:
    import onnxruntime_genai

    assert onnxruntime_genai.__file__ is not None
    source = (Path(onnxruntime_genai.__file__).parent / "models" / "builder.py").read_text()
    missing = [name for name in onnx_genai.ARCHITECTURES if f'"{name}"' not in source]
    assert missing == []
    assert len(onnx_genai.ARCHITECTURES) == 14


def test_an_unknown_precision_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'int5'; did you mean int\d or int\d\? \(known: fp32, fp16, int8, int4\)"):
        onnx_genai.export(tiny_model, tmp_path / "onnx", "int5")
    assert os.listdir(tmp_path) == []
