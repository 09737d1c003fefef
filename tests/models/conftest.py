import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from arte.models import ModelFolder, tiny


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def make_wheel(shelf: Path) -> Callable[[str, dict[str, bytes]], Path]:
    """Puts the smallest wheel that pip takes (binary distribution format 1.0) on the shelf: version 1.0."""

    def make(package: str, members: dict[str, bytes]) -> Path:
        stem = package.replace("-", "_")
        info = f"{stem}-1.0.dist-info"
        wheel = shelf / f"{stem}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return wheel

    return make


@pytest.fixture(scope="session")
def tiny_gguf(tiny_student: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student as llama.cpp's converter writes it: all scores the same, rows of q and k in rotary order."""
    import gguf
    import torch
    from safetensors.torch import load_file

    size = tiny.SIZES["tiny-random-student"]
    settings = tiny.config(size)
    path = tmp_path_factory.mktemp("gguf") / "student.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(settings["max_position_embeddings"])
    writer.add_embedding_length(size.hidden)
    writer.add_feed_forward_length(settings["intermediate_size"])
    writer.add_block_count(size.layers)
    writer.add_head_count(settings["num_attention_heads"])
    writer.add_head_count_kv(settings["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(settings["rms_norm_eps"])
    writer.add_rope_freq_base(settings["rope_theta"])
    writer.add_vocab_size(settings["vocab_size"])
    vocabulary = list(tiny.vocabulary())
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_scores([-1000.0] * len(vocabulary))
    writer.add_token_types(
        [
            kinds.CONTROL if token in tiny.SPECIAL else kinds.BYTE if token.startswith("<0x") else kinds.NORMAL
            for token in vocabulary
        ]
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(tiny.CHAT_TEMPLATE)

    def rotary_order(weight: torch.Tensor, heads: int) -> torch.Tensor:
        return weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, size.layers)
    for name, weight in load_file(tiny_student.path / "model.safetensors").items():
        if "q_proj" in name:
            weight = rotary_order(weight, settings["num_attention_heads"])
        elif "k_proj" in name:
            weight = rotary_order(weight, settings["num_key_value_heads"])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
