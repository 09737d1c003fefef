import shutil
from pathlib import Path

import pytest
from arte_export import gguf, model_folder, schemes
from arte_export.metadata import Metadata, Source, size_label

CARD = """---
license: mit
language: [fr]
tags: [from-the-card]
base_model: someone/Guessed-7B-v3
datasets: [someone/guessed-data]
license_link: https://example.org/card
---
"""


@pytest.mark.parametrize(
    ("name", "parameters", "parts", "file"),
    [
        ("maths", 134_515_008, ("maths", "135M", None, None), "maths-135M-Q4_K_M.gguf"),
        (
            "SmolLM2-135M-Instruct", 134_515_008, ("SmolLM2", "135M", "Instruct", None),
            "SmolLM2-135M-Instruct-Q4_K_M.gguf",
        ),
        ("my student/v2", 7_241_732_096, ("my-student-v2", "7.2B", None, None), "my-student-v2-7.2B-Q4_K_M.gguf"),
        ("Qwen2.5-Coder-0.5B", 630_000_000, ("Qwen2.5-Coder", "0.5B", None, None), "Qwen2.5-Coder-0.5B-Q4_K_M.gguf"),
        ("mixtral-8x7B", 46_700_000_000, ("mixtral", "8x7B", None, None), "mixtral-8x7B-Q4_K_M.gguf"),
        ("Hermes-7B-Chat-SFT-v1.2", 7, ("Hermes", "7B", "Chat-SFT", "v1.2"), "Hermes-7B-Chat-SFT-v1.2-Q4_K_M.gguf"),
        ("tiny", 104_256, ("tiny", "104K", None, None), "tiny-104K-Q4_K_M.gguf"),
        ("135M", 134_515_008, ("135M", "135M", None, None), "135M-135M-Q4_K_M.gguf"),
        ("éà 中", 2_000_000, ("éà-中", "2.0M", None, None), "éà-中-2.0M-Q4_K_M.gguf"),
        ("///", 2_000_000, ("model", "2.0M", None, None), "model-2.0M-Q4_K_M.gguf"),
    ],
)  # fmt: skip
def test_a_name_has_the_parts_of_the_convention(
    name: str, parameters: int, parts: tuple[str, str, str | None, str | None], file: str
) -> None:
    found = Metadata.named(name, parameters)
    assert (found.basename, found.size_label, found.finetune, found.version) == parts
    assert found.name == name
    assert found.file_name(schemes.load("q4_k_m").encoding) == file


@pytest.mark.parametrize(
    ("parameters", "label"),
    [(134_515_008, "135M"), (7_241_732_096, "7.2B"), (9_400_000_000, "9.4B"), (9_600_000_000, "10B"), (999, "1.0K"),
     (46_700_000_000, "47B"), (1_000_000_000_000, "1.0T"), (500_000_000, "500M")],
)  # fmt: skip
def test_size_labels_have_two_digits(parameters: int, label: str) -> None:
    assert size_label(parameters) == label


@pytest.fixture(scope="module")
def described(tiny_model: Path, converter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The general.* keys of a q8_0 file of a folder whose README.md says other things."""
    from gguf import GGUFReader

    folder = tmp_path_factory.mktemp("guessed") / "Folder-3B-guess-v9"
    shutil.copytree(tiny_model, folder)
    (folder / "README.md").write_text(CARD)
    metadata = Metadata.named(
        "Student-1.5B-Maths", model_folder.inspect(folder).parameters, version="v2.0", license="apache-2.0",
        quantized_by="ARTE", author="Ana", tags=["distilled", "gsm8k"],
        base_models=[Source(name="Base 1.5B", organization="Org", version="v1", repo_url="https://example.org/base"),
                     Source(name="an adapter")],
        datasets=[Source(name="drafts", description="written by the teacher")],
    )  # fmt: skip
    out = tmp_path_factory.mktemp("out")
    with gguf.converted(folder, out, "ignored", converter_home, metadata) as source:
        file = out / metadata.file_name("Q8_0")
        gguf.quantize(source, [gguf.Wanted(file, schemes.load("q8_0"))])
    assert [path.name for path in out.iterdir()] == ["Student-1.5B-Maths-v2.0-Q8_0.gguf"]
    fields = GGUFReader(file).fields
    return {key.removeprefix("general."): fields[key].contents() for key in fields if key.startswith("general.")}


def test_what_is_given_wins_over_what_the_converter_guesses(described: dict[str, object]) -> None:
    expected = {
        "name": "Student-1.5B-Maths", "basename": "Student", "size_label": "1.5B", "finetune": "Maths",
        "version": "v2.0", "license": "apache-2.0", "quantized_by": "ARTE", "author": "Ana",
        "tags": ["distilled", "gsm8k"],
        "base_model.count": 2, "base_model.0.name": "Base 1.5B", "base_model.0.organization": "Org",
        "base_model.0.version": "v1", "base_model.0.repo_url": "https://example.org/base",
        "base_model.1.name": "an adapter",
        "dataset.count": 1, "dataset.0.name": "drafts", "dataset.0.description": "written by the teacher",
        "type": "model", "architecture": "llama", "file_type": 7,
    }  # fmt: skip
    assert {key: described[key] for key in expected} == expected
    others = {key for key in described if key not in expected}
    assert {key for key in others if "base_model" in key or "dataset" in key} == set()


def test_the_model_card_answers_what_is_not_given(described: dict[str, object]) -> None:
    assert described["languages"] == ["fr"]
    assert described["license.link"] == "https://example.org/card"


def test_a_plain_export_writes_no_part_that_the_folder_s_name_suggests(
    tiny_files: dict[str, Path],
) -> None:
    from gguf import GGUFReader

    fields = GGUFReader(tiny_files["q8_0"]).fields
    written = {key: fields[f"general.{key}"].contents() for key in ("name", "basename", "size_label")}
    label = tiny_files["q8_0"].name.split("-")[1]
    assert written == {"name": "tiny", "basename": "tiny", "size_label": label}
    assert not {"general.finetune", "general.version"} & set(fields)
