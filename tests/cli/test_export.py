"""`arte export` as users type it: a LoRA adapter with its base, files with verdicts, a card."""

import json
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from arte_export import converter
from arte_export.errors import DownloadFailed

from arte import models
from arte.recipe import Model
from tests.cli import command


@pytest.fixture(scope="module")
def adapter(session_home: Path, _session_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the attention of the tiny random student, as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    try:
        converter.fetch(session_home)
    except DownloadFailed as error:
        pytest.skip(f"llama.cpp's converter cannot be had here: {error}")
    base = models.resolve(Model(name="tiny-random-student")).path
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    tuned = get_peft_model(model, config)
    tuned.save_pretrained(folder)
    described = json.loads((folder / "adapter_config.json").read_text())
    described["base_model_name_or_path"] = "tiny-random-student"
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


TARGETS = ("--to", "gguf:f32", "--to", "gguf:q8_0", "--to", "onnx:fp32", "--to", "ollama", "--test", "4")
CHECKS = ("token_ids", "vocabulary", "chat_template", "special_tokens")


@pytest.fixture(scope="module")
def exported(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, command.Ended]:
    pytest.importorskip("onnxruntime_genai", reason="the extra `onnx` is not installed")
    out = tmp_path_factory.mktemp("exported") / "files"
    return out, command.run("export", str(adapter), *TARGETS, "--out", str(out))


def parities(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "parity.json").read_text())
    return found


def test_an_adapter_becomes_files_that_are_held_against_the_merged_model(exported: tuple[Path, command.Ended]) -> None:
    out, ended = exported
    assert ended.code in (0, 2), f"{ended.out}\n{ended.err}"
    assert (out / "parity.json").is_file(), f"{ended.code}\n{ended.out}\n{ended.err}"
    files = parities(out)
    assert ended.code == (0 if all(file["parity"]["passed"] for file in files) else 2)
    assert [(file["format"], file["scheme"]) for file in files] == [("gguf", "f32"), ("gguf", "q8_0"), ("onnx", "fp32")]
    for file in files:
        parity = file["parity"]
        assert [parity[name] for name in CHECKS] == [True] * 4
        assert (parity["greedy"]["prompts"], parity["task_accuracy"]["n"]) == (4, 4)
        assert file["file"] in ended.out
    for file in files[:2]:
        assert file["parity"]["weights"]["deviating"] == file["parity"]["weights"]["missing"] == []
        assert (out / file["modelfile"]).read_text().count("FROM ./") == 1
    assert files[0]["parity"]["mean_kld"] < 1e-4
    assert files[2]["parity"]["mean_kld"] < 1e-4
    merged = json.loads((out / "merged" / "config.json").read_text())
    assert merged["model_type"] == "llama"
    assert sorted(path.name for path in out.glob("*.samples.jsonl")) == sorted(
        f"{name}.samples.jsonl" for name in ("model", *(file["file"] for file in files))
    )
    card = (out / "MODEL_CARD.md").read_text()
    for part in (
        "base_model: tiny-random-student",
        "## Files and parity",
        "## Evaluation",
        "## How to run",
        "llama-cli",
    ):
        assert part in card


def alike(a: str, b: str) -> int:
    """Characters that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def test_evaluate_asks_a_device_file_as_the_export_did(exported: tuple[Path, command.Ended], tmp_path: Path) -> None:
    out, _ = exported
    for file in parities(out):
        kept = tmp_path / file["file"]
        ended = command.done("evaluate", str(out / file["file"]), "--test", "4", "--out", str(kept))
        asked = [json.loads(line) for line in (kept / "samples.jsonl").read_text().splitlines()]
        before = [json.loads(line) for line in (out / f"{file['file']}.samples.jsonl").read_text().splitlines()]
        pairs = [(row["text"], again["text"]) for row, again in zip(before, asked[:4], strict=True)]
        if file["format"] == "onnx":
            assert all(said == again for said, again in pairs)
        else:
            # In other batches llama.cpp rounds otherwise, and parts two greedy answers of random weights sooner or
            # later; until then they are each other's, and not another prompt's.
            own = fmean(alike(said, again) for said, again in pairs)
            others = fmean(alike(said, again) for (said, _), (_, again) in pairwise(pairs))
            assert own > 3 * others
        assert [sample["slice"] for sample in asked[:4]] == ["test"] * 4
        assert [sample["gold"] for sample in asked[:4]] == [row["gold"] for row in before]
        assert "of 4:" in ended.out


def test_the_same_export_again_gives_the_same_files(adapter: Path, exported: tuple[Path, command.Ended]) -> None:
    out, _ = exported
    before = parities(out)
    weights = (out / "merged" / "model.safetensors").read_bytes()
    ended = command.run("export", str(adapter), *TARGETS, "--out", str(out))
    assert ended.code in (0, 2), ended.err
    assert (out / "merged" / "model.safetensors").read_bytes() == weights
    assert [(file["file"], file["parity"]["failed"]) for file in parities(out)] == [
        (file["file"], file["parity"]["failed"]) for file in before
    ]
    assert [file["sha256"] for file in parities(out)[:2]] == [file["sha256"] for file in before[:2]]
