import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arte_export import parity

CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "12 + 3?"}]
PROMPTS = [f"<|im_start|>user\n{i} + 3 = ?<|im_end|>\n<|im_start|>assistant\n" for i in range(8)]


def test_strings_are_many_distinct_and_always_the_same() -> None:
    strings = parity.test_strings(1000)
    assert len(strings) == 1000
    assert len(set(strings)) >= 990
    assert strings == parity.test_strings(1000)
    assert strings[:200] == parity.test_strings(200)
    assert strings[0] == ""
    assert max(map(len, strings)) >= 1200
    assert all(unicodedata.is_normalized("NFC", text) for text in strings)
    wanted = {
        "Arabic": "\u0645",
        "Hebrew": "\u05e9",
        "emoji": "🚀",
        "special": "<|im_end|>",
        "control": "\x00",
        "gap": " " * 77,
    }
    assert [name for name, part in wanted.items() if not any(part in text for text in strings[:200])] == []


def test_a_faithful_file_passes(tiny_model: Path, tiny_files: dict[str, Path]) -> None:
    found = parity.check(
        tiny_model, tiny_files["f32"], parity.test_strings(200), [CONVERSATION], PROMPTS, 16, threads=1
    )
    assert (found.passed, found.why, found.greedy_match, found.greedy_threshold) == (True, [], 1.0, 0.9)
    assert found.answers_file == found.answers_model
    assert len(found.answers_file) == 8
    assert (found.mean_kld, found.top1_agreement, found.ppl_ratio) == (None, None, None)


def _change(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return spoil


def _swap_two_tokens(tokenizer: Any) -> Any:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    return tokenizer


def _template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("assistant", "assistent"))


@pytest.mark.parametrize(
    ("spoil", "failed", "words"),
    [
        (_template, "chat_template", "differs at character"),
        (_change("tokenizer.json", _swap_two_tokens), "token_ids", "texts differ, first 'a'"),
        (
            _change("tokenizer_config.json", lambda config: config | {"eos_token": "<|endoftext|>"}),
            "special_tokens",
            "EOS is 0 in the model, 2 in the file",
        ),
        (
            _change("tokenizer_config.json", lambda config: config | {"bos_token": "<|endoftext|>"}),
            "special_tokens",
            "BOS is 0 in the model, 1 in the file",
        ),
    ],
)
def test_each_sabotage_is_caught_and_named(
    tiny_model: Path,
    tiny_files: dict[str, Path],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    failed: str,
    words: str,
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    spoil(model)
    found = parity.check(model, tiny_files["f32"], parity.test_strings(30), [CONVERSATION], [])
    assert not found.passed
    gates = {name: getattr(found, name) for name in ("token_ids", "chat_template", "special_tokens")}
    assert [name for name, holds in gates.items() if not holds] == [failed]
    assert len(found.why) == 1
    assert found.why[0].startswith(failed)
    assert words in found.why[0]


def test_other_weights_show_in_the_greedy_match(tiny_model: Path, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"] = -weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert torch.isfinite(weights["model.norm.weight"]).all()
    found = parity.check(model, tiny_files["f32"], ["a"], [CONVERSATION], PROMPTS, 16, threads=1)
    assert found.greedy_match is not None
    assert found.greedy_match < 0.5
    assert "expected 0.90" in found.why[0]
