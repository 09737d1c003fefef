import json
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from arte_export import child, converter, gguf, gguf_header, strings
from arte_export.errors import BadModel, ExportError
from arte_export.metadata import Metadata
from arte_export.schemes import SCHEMES


def test_names_and_sizes(tiny_files: dict[str, Path]) -> None:
    assert {file.name.split("-")[-1] for file in tiny_files.values()} == {
        f"{scheme.encoding}.gguf" for scheme in SCHEMES.values()
    }
    assert all(file.name.startswith("tiny-") for file in tiny_files.values())
    folder = tiny_files["f32"].parent
    assert sorted(os.listdir(folder)) == sorted(file.name for file in tiny_files.values())
    assert all(file.stat().st_nlink == 1 for file in tiny_files.values())
    size = {name: file.stat().st_size for name, file in tiny_files.items()}
    assert size["q4_0"] < size["q8_0"] < size["bf16"] == size["f16"] < size["f32"]


def test_unknown_scheme_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no GGUF scheme is called 'q4_km'; did you mean q4_k_m"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0", "q4_km"], "tiny", tmp_path)
    assert not (tmp_path / "out").exists()


usage = namedtuple("usage", "total used free")


def test_too_little_disk_is_found_before_any_work(
    tiny_model: Path, converter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 10**7, 10**7))
    with pytest.raises(ExportError, match=r"0\.0 GB free, about 0\.1 GB needed for f32, q8_0"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0"], "tiny", converter_home)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_architecture_is_named_with_the_nearest(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_model / "config.json").read_text())

    def declare(name: str, **more: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name], **more}))

    for name in ("LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma3ForCausalLM", "GPT2LMHeadModel"):
        declare(name)
        converter.check_architecture(tmp_path, converter_home)
    declare("NobodyKnows", text_config={"architectures": ["Qwen2ForCausalLM"]})
    converter.check_architecture(tmp_path, converter_home)
    declare("Qwen33ForCausalLM")
    with pytest.raises(
        BadModel,
        match=r"architecture Qwen33ForCausalLM is none of the \d{3} that llama\.cpp's converter 0\.1\.1 knows; "
        r"nearest known: Qwen3ForCausalLM, ",
    ):
        converter.check_architecture(tmp_path, converter_home)


def test_what_the_converter_cannot_take_is_named_and_leaves_nothing(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = tmp_path / "out"
    (out / gguf.WORK).mkdir(parents=True)
    (out / gguf.WORK / "source.gguf").write_bytes(b"left by a killed run")
    with pytest.raises(BadModel, match=r"llama\.cpp has no name for the way this tokenizer splits text"):
        gguf.export(copy, out, ["q8_0"], "tiny", converter_home)
    assert list(out.iterdir()) == []


def convert_each(folders: list[Path], out: Path) -> list[str]:
    """All in one process, to pay for the converter's imports once; the error of each, or ""."""
    errors = []
    for folder in folders:
        try:
            converter._convert(folder, out / f"{folder.name}.gguf", "f32", Metadata.named(folder.name, 10**5))
            errors.append("")
        except ExportError as error:
            errors.append(str(error))
    return errors


def token_ids(file: Path, texts: list[str]) -> list[list[int]]:
    from arte_export import runtime

    with runtime.load(file, vocabulary_only=True) as model:
        return [model.tokenise(text) for text in texts]


def test_tokenizers_that_no_hash_knows_convert_with_the_same_token_ids(
    model_maker: Callable[..., Path], converter_home: Path, tmp_path: Path
) -> None:
    from arte_export import pretokenizer
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split
    from transformers import AutoTokenizer

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
    texts = [*strings.test_strings(200), "<|im_start|>user\n12  34<|im_end|>\n"]
    for folder in folders[:-1]:
        file = tmp_path / f"{folder.name}.gguf"
        assert gguf_header.read(file).keys["tokenizer.ggml.pre"] == folder.name
        tokenizer = AutoTokenizer.from_pretrained(folder)
        expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert child.run(partial(token_ids, file, texts), holding=file, limit_s=60).result == expected
    assert len(texts) == 201
