import struct
from pathlib import Path

import pytest
from arte_export import gguf_header
from arte_export.errors import BadModel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arte import models
from arte.errors import ModelError
from arte.models import ModelFolder, gguf_probe, tiny
from arte.recipe import Model


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "probe.gguf"
    gguf_probe.write(path)
    return path


def test_header_says_what_the_file_holds(probe: Path) -> None:
    header = gguf_header.read(probe)
    assert header.text("general.architecture") == "llama"
    assert header.keys["llama.embedding_length"] == 256
    assert header.keys["tokenizer.ggml.tokens"][:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert header.keys["tokenizer.ggml.add_bos_token"] is False
    assert header.text("tokenizer.ggml.eos_token_id") is None  # a number
    assert header.tensors["blk.0.ffn_down.weight"].shape == (512, 256)
    # 268 tokens: 3 special, 256 bytes, 9 merges; two matrices of them, attention, MLP, three norms
    assert header.parameters == 2 * 268 * 256 + 4 * 256**2 + 3 * 256 * 512 + 3 * 256


def test_every_byte_cut_off_is_noticed(probe: Path, tmp_path: Path) -> None:
    whole = probe.read_bytes()
    refused = 0
    for length in [*range(0, 400, 7), len(whole) // 2, len(whole) - 1]:
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(BadModel, match=r"cut\.gguf: (not a|broken) GGUF file"):
            gguf_header.read(tmp_path / "cut.gguf")
        refused += 1
    assert refused == 60


def header_bytes(*parts: bytes, tensors: int = 0, keys: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + b"".join(parts)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def test_announced_sizes_are_held_against_the_file(tmp_path: Path) -> None:
    huge = struct.pack("<Q", 2**60)
    filler = bytes(400)
    broken = {
        b"GGML" + bytes(40): "not a GGUF file",
        b"GGUF" + struct.pack("<I", 1) + filler: "version 1, expected 2 or 3",
        header_bytes(filler, keys=2**60): "announces 1152921504606846976 entries",
        header_bytes(filler, tensors=2**60): "announces 1152921504606846976 entries",
        header_bytes(huge, filler, keys=1): "announces 1152921504606846976 entries",
        header_bytes(
            text(b"k"), struct.pack("<II", 9, 4), huge, filler, keys=1
        ): "announces 1152921504606846976 entries",
        header_bytes(text(b"k"), struct.pack("<I", 77), filler, keys=1): "unknown value type",
        header_bytes(text(b"\xff\xff"), filler, keys=1): "not UTF-8",
        header_bytes(text(b"t"), struct.pack("<IQIQ", 1, 32, 99, 0), filler, tensors=1): "unknown type 99",
        header_bytes(text(b"t"), struct.pack("<IQIQ", 1, 2**50, 0, 0), filler, tensors=1): "'t' ends at byte",
    }
    for content, message in broken.items():
        (tmp_path / "broken.gguf").write_bytes(content)
        with pytest.raises(BadModel, match=message):
            gguf_header.read(tmp_path / "broken.gguf")
    assert len(broken) == 10


@settings(max_examples=300, deadline=2000)
@given(data=st.data())
def test_a_damaged_header_gives_a_model_error_or_a_header(
    data: st.DataObject, probe: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(probe.read_bytes())
    header_length = content.index(b"blk.0.ffn_norm.weight") + 60
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, header_length))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("gguf") / "damaged.gguf"
    path.write_bytes(content)
    try:
        assert gguf_header.read(path).parameters >= 0
    except BadModel:
        return


def test_a_gguf_file_becomes_the_folder_it_was_made_from(tiny_gguf: Path, tiny_student: ModelFolder) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    made = models.resolve(Model(name=str(tiny_gguf)))
    assert (made.name, made.source, made.parameters) == (str(tiny_gguf), "folder", tiny_student.parameters)
    assert made.path.parent == models.arte_home() / "models"
    ours, theirs = (load_file(folder.path / "model.safetensors") for folder in (made, tiny_student))
    assert len(ours) == 20
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, theirs[name]), name

    again, original = (AutoTokenizer.from_pretrained(folder.path) for folder in (made, tiny_student))
    sample = "  Ana's cat, 12 é\n<|im_end|>\n bo"
    assert again(sample)["input_ids"] == original(sample)["input_ids"]
    assert again.decode(again(sample)["input_ids"]) == sample
    assert again.chat_template == tiny.CHAT_TEMPLATE
    assert models.resolve(Model(name=str(tiny_gguf))) == made


SPLITS = ["gpt-2", "smollm", "starcoder", "refact", "command-r", "codeshell", "qwen2", "tekken"]
TEXTS = st.lists(
    st.sampled_from(["12", " 12", "  123", "ab", " ab", "'s", "'S", "\n", "\n\n", ".", ".\n", "½", "天", "1 a", "\t"]),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module", params=SPLITS)
def both_splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, object]:
    llama_cpp = pytest.importorskip("llama_cpp")
    from transformers import AutoTokenizer

    path = tmp_path_factory.mktemp("split") / f"{request.param}.gguf"
    gguf_probe.write(path, request.param)
    made = models.resolve(Model(name=str(path)))
    return AutoTokenizer.from_pretrained(made.path), llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


@settings(max_examples=60, deadline=None)
@example(sample="and  2/5")
@given(sample=TEXTS)
def test_text_is_split_as_the_file_says(sample: str, both_splits: tuple[object, object]) -> None:
    ours, theirs = both_splits
    assert callable(ours)
    ids = ours(sample)["input_ids"]
    assert ids == theirs.tokenize(sample.encode(), add_bos=False, special=True)  # type: ignore[attr-defined]


def test_a_split_that_cannot_be_rebuilt_is_refused(tmp_path: Path) -> None:
    gguf_probe.write(tmp_path / "odd.gguf", "deepseek-llm")
    with pytest.raises(
        ModelError, match=r"odd\.gguf: its tokenizer splits text as 'deepseek-llm'.*use the model's folder"
    ):
        models.resolve(Model(name=str(tmp_path / "odd.gguf")))
    cached = [path.name for path in (models.arte_home() / "models").iterdir()]
    assert not [name for name in cached if name.endswith(".partial")]


def test_a_broken_gguf_file_is_refused(probe: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(probe.read_bytes()[:-100])
    with pytest.raises(BadModel, match=r"broken GGUF file: tensor '.*' ends at byte .* make or fetch it again"):
        models.resolve(Model(name=str(tmp_path / "cut.gguf")))
