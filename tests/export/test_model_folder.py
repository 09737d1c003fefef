import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arte_export import architecture, model_folder
from arte_export.errors import BadModel

HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [5], "data_offsets": [12, 32]},
}


def whole(header: object = HEADER, data: int = 32) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="session")
def sharded(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("shards") / "model"))
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    (folder / "model.safetensors").unlink()
    loaded.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("model-*.safetensors"))) == 2
    return folder


def test_whole_models_are_described(model: Path, sharded: Path) -> None:
    # a Llama of 353 tokens, 64 wide, tied: 353·64 embedding, 2 layers of 64·64·2 + 64·32·2 attention,
    # 3·64·128 feed-forward and 2·64 norms, 64 in the last norm; float32
    parameters = 353 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64) + 64
    size = (model / "model.safetensors").stat().st_size
    assert model_folder.inspect(model) == model_folder.Weights(parameters, "F32", size)
    assert model_folder.inspect(sharded)[:2] == (parameters, "F32")
    assert model_folder.parameters(model) == model_folder.parameters(sharded) == parameters


def edit(path: Path, **changes: object) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **changes}))


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer.model", "vocab.json"):
        (folder / name).unlink(missing_ok=True)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def gguf_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-Q4_K_M.gguf")


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def wrong_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    parts = {"a": "model-00001-of-00001.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def same_tensor_twice(folder: Path) -> None:
    missing_shard(folder)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")


def quantised(method: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", quantization_config={"quant_method": method})


def file(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: written(folder / name, data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: missing"),
        (file("config.json", b"{"), "not readable as JSON"),
        (file("config.json", b""), "not readable as JSON"),
        (file("config.json", b"\xff"), "not readable as JSON"),
        (file("config.json", b'{"a":' + b"9" * 5000 + b"}"), "not readable as JSON"),
        (file("config.json", b"[]"), "expected a JSON object, found list"),
        (file("config.json", b"{}"), "names no architecture"),
        (file("config.json", b'{"architectures": [3]}'), "names no architecture"),
        (file("adapter_config.json", b"{}"), "LoRA adapter; merge it into its base"),
        (no_tokenizer, "no tokenizer"),
        (file("tokenizer.json", b""), "tokenizer.json: not readable as JSON"),
        (file("tokenizer.json", b'{"model": {"vocab": {}}}'), "holds no vocabulary"),
        (file("tokenizer.json", b'{"model": {"vocab": {"a": "1"}}}'), "token ids that are no numbers"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights; expected model.safetensors"),
        (file("model.safetensors", b""), "0 bytes cannot hold a header"),
        (file("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (file("model.safetensors", whole({}, 0)), "holds no tensors"),
        (file("model.safetensors", whole(data=31)), "31 bytes of data, the header says 32"),
        (file("model.safetensors", whole(data=33)), "33 bytes of data, the header says 32"),
        (file("model.safetensors", whole({**HEADER, "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}})), "hole at byte 4"),  # noqa: E501
        (file("model.safetensors", whole({**HEADER, "a": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}})), "overlap"),  # noqa: E501
        (file("model.safetensors", whole({**HEADER, "a": {"dtype": "BF61", "shape": [6], "data_offsets": [0, 12]}})), "unknown dtype 'BF61'"),  # noqa: E501
        (pickled, r"pickled weights only \(pytorch_model.bin\), which can run code"),
        (gguf_only, r"holds GGUF files \(model-Q4_K_M.gguf\), quantised already"),
        (missing_shard, r"1 of 2 weight files are missing \(model-00002-of-00002.safetensors\)"),
        (wrong_index, r"1 tensors are not in the file that it names \(first 'a'\)"),
        (same_tensor_twice, "is in model-00001-of-00002.safetensors too"),
        (quantised("bitsandbytes"), r"quantised already \(bitsandbytes\).*model.dequantize"),
        (quantised("gptq"), r"quantised already \(gptq\).*export the model that it was quantised from"),
        (quantised("awq"), r"\(awq\)"),
        (quantised("fp8"), r"\(fp8\).*FineGrainedFP8Config"),
        (quantised("mxfp4"), r"\(mxfp4\).*Mxfp4Config"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_before_anything_is_loaded(
    model: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(model)
    with pytest.raises(BadModel, match=words) as failure:
        model_folder.inspect(model)
    assert str(model) in str(failure.value)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="is a GGUF file, exported already"):
        model_folder.inspect(written(tmp_path / "m.gguf", b"GGUF"))


def test_an_adapter_is_known_by_its_configuration(tmp_path: Path) -> None:
    assert not model_folder.is_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert model_folder.is_adapter(tmp_path)


def resaved(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def narrower(state: dict[str, Any]) -> None:
    for layer in (0, 1):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        state[name] = state[name][:, :32].contiguous()


def differences(folder: Path) -> str:
    return architecture._said(architecture._differences(folder, "LlamaForCausalLM", own_code=False))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict.copy, ""),
        (
            narrower,
            "of another shape 2, first model.layers.0.mlp.up_proj.weight: [128, 32], declared [128, 64]",
        ),
        (lambda state: state.pop("model.norm.weight"), "absent 1, first model.norm.weight"),
        (lambda state: state.update(x=state["model.norm.weight"].clone()), "unexpected 1, first x"),
    ],
    ids=["none", "another shape", "absent", "unexpected"],
)
def test_tensors_of_another_architecture_are_named(
    model: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    resaved(model, change)
    assert differences(model) == words


def test_layers_and_heads_declared_beyond_those_stored(model: Path) -> None:
    edit(model / "config.json", num_hidden_layers=3, tie_word_embeddings=False)
    # a Llama layer has four attention, three feed-forward and two norm weights; untied, the output matrix too
    assert differences(model) == "absent 10, first lm_head.weight"


def test_an_inspected_model_of_another_architecture_is_refused(model: Path) -> None:
    resaved(model, narrower)
    with pytest.raises(BadModel, match=r"model.safetensors and config.json are not of the same model \(LlamaFor"):
        model_folder.inspect(model)


def test_a_tokenizer_larger_than_the_embedding(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 353, "content": "<new>"})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BadModel, match="token ids up to 353, the model's embedding has 353 rows"):
        model_folder.inspect(model)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["", "text_config"])
def test_an_architecture_of_absurd_size_is_not_built(model: Path, place: str) -> None:
    layers = {"num_hidden_layers": 10**9}
    edit(model / "config.json", **({place: layers} if place else layers))
    # embedding, last norm, and nine tensors in each of two layers
    with pytest.raises(BadModel, match="declares more layers than the weight files hold tensors, 20"):
        model_folder.inspect(model)


def test_a_process_without_transformers_has_a_child_compare(model: Path) -> None:
    resaved(model, narrower)
    code = (
        "import sys; from pathlib import Path; from arte_export import model_folder\n"
        "try: model_folder.inspect(Path(sys.argv[1]))\n"
        "except model_folder.BadModel as error: print('torch' in sys.modules, error)"
    )
    export = Path(model_folder.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], env={**os.environ, "PYTHONPATH": str(export)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"False {model}: model.safetensors and config.json are not of the same model")
    assert not done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["LlamaForCasualLM"]}, "LlamaForCasualLM is not a language model.*nearest known: LlamaFor"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "is not a language model that transformers 5"),
        ({"architectures": ["MineForCausalLM"], "auto_map": {}}, "brings code of its own, which is never run here"),
        ({"model_type": "qwen2"}, "'qwen2' does not belong to architecture LlamaForCausalLM; expected 'llama'"),
        ({"model_type": "nothing"}, "transformers cannot read it"),
        ({"hidden_size": "wide"}, "transformers cannot read it"),
        ({"hidden_act": "none"}, "cannot build LlamaForCausalLM from it"),
    ],
)
def test_a_configuration_that_transformers_cannot_use(model: Path, changes: dict[str, Any], words: str) -> None:
    edit(model / "config.json", **changes)
    config = model_folder.read_config(model)
    with pytest.raises(BadModel, match=words):
        architecture._differences(model, config["architectures"][0], "auto_map" in config)
