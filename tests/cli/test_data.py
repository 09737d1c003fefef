"""`arte data`: the tailored data of a smoke run as others would load it."""

import json
import re
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from tests.cli import command
from tests.cli.command import SmokeRun


@pytest.mark.slow
def test_the_folder_is_loaded_as_the_hub_would(smoke_run: SmokeRun, tmp_path: Path) -> None:
    out = tmp_path / "data"
    said = command.done("data", str(smoke_run.folder), "--out", str(out)).out
    card = DatasetCard.load(out / "README.md")
    configs = {each["config_name"]: each for each in card.data.to_dict()["configs"]}
    assert set(configs) == {"sft-verified", "sft-arte", "preference"}
    assert [name for name, each in configs.items() if each.get("default")] == ["sft-arte"]
    for name in configs:
        loaded = load_dataset("json", data_files=str(out / configs[name]["data_files"]), split="train",
                              cache_dir=str(tmp_path / "cache"))  # fmt: skip
        assert f"{name}.jsonl: {len(loaded)} rows" in said
        columns = {"prompt", "chosen", "rejected"} if name == "preference" else {"prompt", "completion"}
        assert set(loaded.column_names) == columns
        assert all(row["prompt"][-1]["role"] in ("user", "assistant") for row in loaded)
    kept = (smoke_run.folder / "distill" / "arte" / "examples.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in (out / "data" / "sft-arte.jsonl").read_text().splitlines()]
    for row, example in zip(rows, map(json.loads, kept), strict=True):
        assert row == {
            "prompt": [{"role": "user", "content": example["question"]}],
            "completion": [{"role": "assistant", "content": f"{example['rationale']}\n#### {example['answer']}"}],
        }
    pairs = (smoke_run.folder / "prefer" / "pairs.jsonl").read_text().splitlines()
    preferred = [json.loads(line) for line in (out / "data" / "preference.jsonl").read_text().splitlines()]
    assert [row["chosen"][0]["content"] for row in preferred] == [json.loads(pair)["chosen"] for pair in pairs]
    assert "Seeds, probes and tests:" in card.text
    assert re.search(
        rf"`sft-arte`: \d+ of {len(kept)} training examples share 8 words in a row .* items of test", card.text
    )
    assert "hold a whole item" not in card.text
    assert str(smoke_run.folder) not in card.content


@pytest.mark.slow
def test_what_cannot_be_exported_is_named(smoke_run: SmokeRun, tmp_path: Path) -> None:
    assert "holds no recipe.yaml" in command.run("data", str(tmp_path)).err
    there = command.run("data", str(smoke_run.folder), "--out", str(tmp_path))
    assert (there.code, "is there already" in there.err) == (1, True)
    (tmp_path / "recipe.yaml").write_bytes((smoke_run.folder / "recipe.yaml").read_bytes())
    untrained = command.run("data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert (untrained.code, "has trained no student yet" in untrained.err) == (1, True)
