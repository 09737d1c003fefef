import json
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arte_export import child, converter, gguf, parity, schemes
from arte_export.errors import BadModel, ExportError
from safetensors import safe_open

WEIGHT = "blk.0.ffn_down.weight"
TORCH_WEIGHT = "model.layers.0.mlp.down_proj.weight"


def test_every_scheme_is_read_back_within_its_rounding(tiny_model: Path, tiny_files: dict[str, Path]) -> None:
    from gguf import GGUFReader, dequantize

    with safe_open(tiny_model / "model.safetensors", "np") as weights:
        expected = weights.get_tensor(TORCH_WEIGHT)
    seen = []
    for name, file in tiny_files.items():
        reader = GGUFReader(file)
        assert reader.fields["general.file_type"].contents() == schemes.load(name).ftype
        assert reader.fields["general.architecture"].contents() == "llama"
        assert reader.fields["tokenizer.ggml.pre"].contents() == "gpt-2"
        tensor = next(tensor for tensor in reader.tensors if tensor.name == WEIGHT)
        error = np.abs(dequantize(tensor.data, tensor.tensor_type).reshape(expected.shape) - expected).max()
        # 128 columns are no multiple of 256, so K-quants fall back: to q8_0, q5_1 or q5_0 blocks of 32
        seen.append((name, tensor.tensor_type.name, bool(error <= {"F32": 0.0, "F16": 1e-3, "BF16": 8e-3}.get(
            tensor.tensor_type.name, 0.01 if tensor.tensor_type.name == "Q8_0" else 0.13))))  # fmt: skip
    assert [entry for entry in seen if not entry[2]] == []
    assert [kind for _, kind, _ in seen[:4]] == ["F32", "F16", "BF16", "Q8_0"]
    assert len(seen) == 8


def test_names_and_sizes(tiny_files: dict[str, Path]) -> None:
    # 403 × 64 embeddings (tied), 2 × (4 × 64 × 64 / ... ) layers: about a hundred thousand parameters
    assert {name: file.name.split("-")[-1] for name, file in tiny_files.items()} == {
        "f32": "F32.gguf", "f16": "F16.gguf", "bf16": "BF16.gguf", "q8_0": "Q8_0.gguf", "q6_k": "Q6_K.gguf",
        "q5_k_m": "Q5_K_M.gguf", "q4_k_m": "Q4_K_M.gguf", "q4_0": "Q4_0.gguf",
    }  # fmt: skip
    assert all(file.name.startswith("tiny-") for file in tiny_files.values())
    folder = tiny_files["f32"].parent
    assert sorted(os.listdir(folder)) == sorted(file.name for file in tiny_files.values())
    size = {name: file.stat().st_size for name, file in tiny_files.items()}
    assert size["q4_0"] < size["q8_0"] < size["bf16"] == size["f16"] < size["f32"]


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("maths", 134_515_008, "maths-135M-Q4_K_M.gguf"),
        ("SmolLM2-135M-Instruct", 134_515_008, "SmolLM2-135M-Instruct-Q4_K_M.gguf"),
        ("my student/v2", 7_241_732_096, "my-student-v2-7.2B-Q4_K_M.gguf"),
        ("Qwen2.5-Coder-0.5B", 630_000_000, "Qwen2.5-Coder-0.5B-Q4_K_M.gguf"),
        ("mixtral-8x7B", 46_700_000_000, "mixtral-8x7B-Q4_K_M.gguf"),
        ("tiny", 104_256, "tiny-104K-Q4_K_M.gguf"),
    ],
)
def test_file_names_follow_the_convention(name: str, parameters: int, expected: str) -> None:
    assert gguf.file_name(name, parameters, schemes.load("q4_k_m")) == expected


def test_unknown_scheme_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no GGUF scheme is called 'q4_km'; did you mean q4_k_m"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0", "q4_km"], "tiny", tmp_path)
    assert not (tmp_path / "out").exists()


def test_schemes_are_llama_cpps_own() -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    names = {scheme.name: scheme.ftype for scheme in schemes.SCHEMES.values()}
    assert names == {name: getattr(llama_cpp, f"LLAMA_FTYPE_{'ALL' if name == 'f32' else 'MOSTLY'}_{name.upper()}")
                     for name in names}  # fmt: skip
    assert len(names) == 8
    assert schemes.of_ftype(15) == schemes.load("Q4_K_M")
    assert schemes.of_ftype(1024) is None


def test_too_little_disk_is_found_before_any_work(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 10**7, 10**7))
    with pytest.raises(ExportError, match=r"0\.0 GB free, about 0\.1 GB needed for f32, q8_0"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0"], "tiny", tmp_path)


def test_what_the_converter_cannot_take_is_named_and_leaves_nothing(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"architectures": ["NobodyForCausalLM"]}))
    out = tmp_path / "out"
    (out / gguf.WORK).mkdir(parents=True)
    (out / gguf.WORK / "source.gguf").write_bytes(b"left by a killed run")
    with pytest.raises(BadModel, match="NobodyForCausalLM is not supported"):
        gguf.export(copy, out, ["q8_0"], "tiny", converter_home)
    assert list(out.iterdir()) == []


def test_a_failed_quantisation_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source.gguf").write_bytes(b"GGUF" + bytes(100))
    call = partial(gguf._quantize, tmp_path / "source.gguf", [(tmp_path / "out.gguf", 7)])
    with pytest.raises(ExportError, match=r"could not quantise source\.gguf"):
        child.run(call, holding=tmp_path / "out.gguf", limit_s=60)


def convert_each(folders: list[Path], out: Path) -> list[str]:
    """All in one process, to pay for the converter's imports once; the error of each, or ""."""
    errors = []
    for folder in folders:
        try:
            converter._convert(folder, out / f"{folder.name}.gguf", "f32", folder.name)
            errors.append("")
        except ExportError as error:
            errors.append(str(error))
    return errors


def test_tokenizers_that_no_hash_knows_convert_with_the_same_token_ids(
    model_maker: Callable[..., Path], converter_home: Path, tmp_path: Path
) -> None:
    from arte_export import pretokenizer
    from gguf import GGUFReader
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

    def split(pattern: str) -> PreTokenizer:
        steps = [Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
        return Sequence(steps)

    byte_level = ByteLevel(add_prefix_space=False)
    wanted = {
        "smollm": (Sequence([Digits(individual_digits=True), byte_level]), False),
        "qwen2": (split(pretokenizer.QWEN2), False),
        "smaug-bpe": (split(pretokenizer.LLAMA3), False),
        "llama-bpe": (split(pretokenizer.LLAMA3), True),
        "unknown": (split(r"[a-z]+|\s+"), False),
    }
    folders = [model_maker(tmp_path / name, *how) for name, how in wanted.items()]
    call = partial(convert_each, folders, tmp_path)
    path = [converter.fetch(converter_home)]
    *errors, unknown = child.run(call, holding=tmp_path, limit_s=300, path=path).result
    assert errors == ["", "", "", ""]
    assert "llama.cpp has no name for the way this tokenizer splits text" in unknown
    assert "[a-z]+" in unknown
    strings = parity.test_strings(200)
    for folder in folders[:-1]:
        file = tmp_path / f"{folder.name}.gguf"
        assert GGUFReader(file).fields["tokenizer.ggml.pre"].contents() == folder.name
        found = parity.check(folder, file, strings, [[{"role": "user", "content": "12  34"}]], [])
        assert (found.passed, found.why, found.strings, found.greedy_match) == (True, [], 201, None)
