"""`arte export` as users type it: a LoRA adapter with its base, files with verdicts, a card."""

import json
from pathlib import Path

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


def test_an_adapter_becomes_files_that_are_held_against_the_merged_model(adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "files"
    ended = command.run(
        "export",
        str(adapter),
        "--to",
        "gguf:f32",
        "--to",
        "gguf:q8_0",
        "--to",
        "ollama",
        "--test",
        "4",
        "--out",
        str(out),
    )
    assert ended.code in (0, 2), ended.err
    files = json.loads((out / "parity.json").read_text())
    assert ended.code == (0 if all(file["parity"]["passed"] for file in files) else 2)
    assert [file["scheme"] for file in files] == ["f32", "q8_0"]
    for file in files:
        parity = file["parity"]
        checks = ("token_ids", "vocabulary", "chat_template", "special_tokens")
        assert [parity[name] for name in checks] == [True] * 4
        assert parity["weights"]["deviating"] == parity["weights"]["missing"] == []
        assert (parity["greedy"]["prompts"], parity["task_accuracy"]["n"]) == (4, 4)
        assert (out / file["modelfile"]).read_text().count("FROM ./") == 1
        assert file["file"] in ended.out
    assert files[0]["parity"]["mean_kld"] < 1e-4
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
