import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from arte_export import model_folder
from arte_export.errors import BadModel
from hypothesis import given
from hypothesis import strategies as st

HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [5], "data_offsets": [12, 32]},
}


def whole(header: object = HEADER, data: int = 32) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def folder(path: Path, weights: bytes) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_counts_by_hand(tmp_path: Path) -> None:
    found = model_folder.inspect(folder(tmp_path, whole()))
    # 2 × 3 in bf16 and 5 in f32: 11 parameters, most of them bf16
    assert found == model_folder.Weights(parameters=11, dtype="BF16", bytes=len(whole()))


@given(st.integers(0, len(whole()) - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = folder(tmp_path_factory.mktemp("cut"), whole()[:length])
    with pytest.raises(BadModel, match=r"model\.safetensors"):
        model_folder.inspect(path)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_safetensors_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with pytest.raises(BadModel, match=r"model\.safetensors"):
        model_folder.inspect(folder(tmp_path_factory.mktemp("noise"), data))


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_headers_of_any_json_are_refused(tmp_path_factory: pytest.TempPathFactory, header: object) -> None:
    with pytest.raises(BadModel, match=r"model\.safetensors"):
        model_folder.inspect(folder(tmp_path_factory.mktemp("json"), whole(header)))


def _pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def _index(path: Path) -> None:
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: shutil.rmtree(path), "no such folder"),
        (lambda path: (path / "config.json").unlink(), "config.json: missing"),
        (lambda path: (path / "config.json").write_text("{"), "not readable as JSON"),
        (lambda path: (path / "config.json").write_bytes(b"\xff"), "not readable as JSON"),
        (lambda path: (path / "config.json").write_text("[]"), "expected a JSON object, found list"),
        (lambda path: (path / "config.json").write_text("{}"), "names no architecture"),
        (lambda path: (path / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda path: (path / "model.safetensors").unlink(), "found none"),
        (_pickle, "only pytorch_model.bin, which may run code"),
        (_index, "model-00001-of-00002.safetensors: missing"),
        (lambda path: (path / "adapter_config.json").write_text("{}"), "LoRA adapter"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    path = folder(tmp_path / "model", whole())
    spoil(path)
    with pytest.raises(BadModel, match=words):
        model_folder.inspect(path)
