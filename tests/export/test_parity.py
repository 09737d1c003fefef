"""The gate on a tiny model: a faithful file passes, and each sabotage is caught by its own check and named."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arte_export import distributions, gguf, parity, strings, thresholds
from arte_export.answers import Answers
from arte_export.device_file import DeviceFile
from arte_export.gate import Greedy, Parity, TaskAccuracy

PROMPTS = [f"<|im_start|>user\n{i} + 3 = ?<|im_end|>\n<|im_start|>assistant\n" for i in range(16)]
ROWS = [[1, *range(20 + i, 60 + i), 2] for i in range(8)]


def last_word(_: str, text: str) -> str | None:
    return text.split()[-1] if text.split() else None


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> parity.Reference:
    return parity.Reference(tiny_model, ROWS, PROMPTS, 12, last_word)


def file_of(path: Path, scheme: str = "f32") -> DeviceFile:
    return DeviceFile(path=path, format="gguf", scheme=scheme, home=path.parent)


def checked(model: parity.Reference, file: DeviceFile, source: Path | None) -> tuple[Parity, Answers | None]:
    near = distributions.measure(model.folder, [file], model.rows)[0] if model.rows else None
    return parity.check(model, file, source, near, threads=1)


def test_strings_are_many_distinct_and_always_the_same() -> None:
    found = strings.test_strings(1000)
    assert len(found) == 1000
    assert len(set(found)) >= 990
    assert found == strings.test_strings(1000)
    assert found[:200] == strings.test_strings(200)
    assert found[0] == ""
    assert max(map(len, found)) >= 20_000
    assert all(unicodedata.is_normalized("NFC", text) for text in found)
    wanted = {
        "Arabic": "\u0645",
        "Hebrew": "\u05e9",
        "emoji": "🚀",
        "special": "<|im_end|>",
        "control": "\x00",
        "gap": " " * 77,
    }
    assert [name for name, part in wanted.items() if not any(part in text for text in found[:200])] == []


def test_a_faithful_file_passes(model: parity.Reference, tiny_files: dict[str, Path]) -> None:
    found, answers = checked(model, file_of(tiny_files["f32"]), tiny_files["f32"])
    assert (found.passed, found.failed, found.why) == (True, [], [])
    assert (found.strings, found.conversations) == (1008, 35)
    assert found.greedy is not None
    assert (found.greedy.prompts, found.greedy.exact, found.greedy.answers_equal) == (16, 1.0, 1.0)
    assert found.top1_agreement == 1.0
    assert answers is not None
    assert len(answers.texts) == 16
    dumped = json.loads(found.model_dump_json())
    for name in ("token_ids", "chat_template", "special_tokens", "passed"):
        assert dumped[name] is True
    assert (dumped["greedy_match"], dumped["top1_agreement"]) == (1.0, 1.0)
    assert type(found).model_validate(dumped) == found


def _json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return spoil


def _template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("assistant", "assistent"))


def _rename_token(tokenizer: Any) -> Any:
    """A token that merging never makes, so that only the list of tokens shows it."""
    name = next(token for token, index in tokenizer["model"]["vocab"].items() if index == 2)
    tokenizer["model"]["vocab"]["<|renamed|>"] = tokenizer["model"]["vocab"].pop(name)
    tokenizer["added_tokens"][2]["content"] = "<|renamed|>"
    return tokenizer


def _swap_two_tokens(tokenizer: Any) -> Any:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    return tokenizer


def _scale(folder: Path) -> None:
    _tensors(folder, "model.layers.1.mlp.up_proj.weight", 1.05)


def _forget_adapter(folder: Path) -> None:
    """The model that is compared with has a LoRA merged into all of its attention; the file has not."""
    for layer in (0, 1):
        for name in ("q", "k", "v", "o"):
            _tensors(folder, f"model.layers.{layer}.self_attn.{name}_proj.weight", None)


def _tensors(folder: Path, name: str, factor: float | None) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    if factor is not None:
        weights[name] = weights[name] * factor
    else:
        draw = torch.Generator().manual_seed(1)
        rows, columns = weights[name].shape
        a, b = torch.randn(2, columns, generator=draw), torch.randn(rows, 2, generator=draw)
        weights[name] = weights[name] + 0.05 * b @ a
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


SABOTAGES = {
    "template": (_template, "chat_template", "differs at character"),
    "eos": (
        _json("tokenizer_config.json", lambda config: config | {"eos_token": "<|endoftext|>"}),
        "special_tokens",
        "EOS is 2 ('<|im_end|>') in the model, 0 ('<|endoftext|>') in the file",
    ),
    "swapped": (_json("tokenizer.json", _swap_two_tokens), "token_ids", "texts differ, first 'a'"),
    "scaled": (_scale, "weights", "blk.1.ffn_up.weight (F32): scale 1.0500"),
    "adapter": (_forget_adapter, "weights", "a LoRA adapter was forgotten or merged twice"),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_is_caught_and_named(
    name: str,
    model: parity.Reference,
    tiny_model: Path,
    tiny_files: dict[str, Path],
    converter_home: Path,
    tmp_path: Path,
) -> None:
    spoil, check, words = SABOTAGES[name]
    spoiled = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    spoil(spoiled)
    (made,) = gguf.export(spoiled, tmp_path / "out", ["f32"], "tiny", converter_home)
    found, _ = checked(model, file_of(made), tiny_files["f32"])
    assert not found.passed
    assert found.failed[0] == check
    assert words in found.why[0]
    expected = {"template": {"chat_template"}, "eos": {"special_tokens"}, "swapped": {"token_ids", "vocabulary"}}
    assert set(found.failed) - {"distributions", "answers"} == expected.get(name, {"weights"})


def test_a_renamed_token_is_caught_though_no_text_shows_it(
    tiny_model: Path, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    renamed = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tokens = json.loads((renamed / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last + "x"] = vocabulary.pop(last)
    tokens["model"]["merges"].pop()  # the one that made it
    (renamed / "tokenizer.json").write_text(json.dumps(tokens))
    found, _ = checked(parity.Reference(renamed, [], [], 1, last_word), file_of(tiny_files["f32"]), None)
    assert "vocabulary" in found.failed
    line = next(line for line in found.why if line.startswith("vocabulary"))
    assert f"1 of {len(vocabulary)} tokens have another text, first {len(vocabulary) - 1}: {last + 'x'!r}" in line


def test_a_coarse_file_is_not_the_model_to_full_precision(
    model: parity.Reference, tiny_model: Path, tiny_files: dict[str, Path]
) -> None:
    file = file_of(tiny_files["q8_0"], "q8_0")
    [measured] = distributions.measure(tiny_model, [file], model.rows)
    found = thresholds.failures(thresholds.FULL, None, measured, None, None)
    assert list(found) == ["distributions"]
    assert "expected at most 0.002" in found["distributions"]


def test_limits_loosen_with_fewer_bits() -> None:
    order = ["bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k"]
    found = [thresholds.of("gguf", scheme) for scheme in order]
    assert [limits.mean_kld for limits in found] == sorted(limits.mean_kld for limits in found)
    assert [limits.top1_agreement for limits in found] == [0.995] + [None] * 6
    assert thresholds.of("gguf", "f32") == thresholds.FULL
    assert thresholds.of("onnx", "fp32") == thresholds.FULL._replace(answers_equal=0.99)
    assert thresholds.FULL.top1_agreement == 0.995


@pytest.mark.parametrize(("equal", "fails"), [(63 / 64, True), (1.0, False)])
def test_in_float32_throughout_answers_are_equal(equal: float, fails: bool) -> None:
    greedy = Greedy(
        prompts=64, tokens=20.0, match_tokens=20.0, exact=1.0, answers_equal=equal, first_difference="after 'x'"
    )
    found = thresholds.failures(thresholds.of("onnx", "fp32"), None, None, greedy, None)
    assert set(found) == ({"answers"} if fails else set())
    assert thresholds.failures(thresholds.of("gguf", "bf16"), None, None, greedy, None) == {}


@pytest.mark.parametrize(
    ("ci95", "fails"), [((-0.20, -0.04), True), ((-0.20, -0.02), False), ((0.0, 0.1), False), ((-0.5, 0.4), False)]
)
def test_only_a_loss_beyond_chance_fails(ci95: tuple[float, float], fails: bool) -> None:
    accuracy = TaskAccuracy(
        task="starter", n=100, model=0.5, file=0.4, model_flexible=0.5, file_flexible=0.4, difference=-0.1, ci95=ci95
    )
    found = thresholds.failures(thresholds.of("gguf", "q4_k_m"), None, None, None, accuracy)
    assert set(found) == ({"task_accuracy"} if fails else set())


@pytest.mark.parametrize(
    ("prompts", "exact", "match_tokens", "unequal", "fails"),
    [
        (64, 43 / 64, 95.9, 0.0032, False),  # SmolLM2 in bf16: 21 partings in 6,159 tokens, 20 explained
        (64, 6 / 64, 24.3, 0.0222, False),  # and as ONNX in 8 bits: 58 in 1,613, 36 explained
        (64, 0.0, 5.4, 0.2307, False),  # and in 4 bits: 64 in 410, 95 explained
        (64, 0.0, 5.4, 0.0032, True),  # the same answers of a file whose top tokens are those of bf16
        (64, 0.25, 0.0, 0.02, True),  # 48 part at their first token
        (4, 0.0, 0.0, 0.0032, True),  # 4 of 4 at the first: chance makes that with 0.015 to the fourth
        (4, 0.75, 0.0, 0.0032, False),  # 1 of 4: 0.06
        (64, 1.0, 128.0, 0.0, False),
    ],
)
def test_answers_fail_where_they_part_sooner_than_top_tokens_explain(
    prompts: int, exact: float, match_tokens: float, unequal: float, fails: bool
) -> None:
    greedy = Greedy(
        prompts=prompts, tokens=128.0, match_tokens=match_tokens, exact=exact, answers_equal=0.5, first_difference=None
    )
    zeros, ones = np.zeros(10_000), np.ones(10_000)
    row = distributions.Row(zeros, np.arange(10_000) >= round(10_000 * unequal), ones, ones, ones)
    near = distributions.summary([row], "float32")
    assert near.top1_agreement.value == pytest.approx(1 - unequal)
    found = thresholds.failures(thresholds.of("gguf", "q2_k"), None, near, greedy, None)
    assert set(found) == ({"answers"} if fails else set())
    assert all("part from the model's" in line for line in found.values())


def _answers(*token_ids: list[int]) -> Answers:
    texts = [" ".join(map(str, ids)) for ids in token_ids]
    return Answers(texts=texts, token_ids=list(token_ids), seconds=1, load_s=1, tokens_in=1, tokens_out=1)


def test_greedy_by_hand() -> None:
    model = _answers([5, 6, 7, 2], [5, 6, 7, 2], [5, 6, 9], [5, 0, 8, 2])
    file = _answers([5, 6, 7, 2], [5, 6, 8, 2], [5, 6, 9], [5, 0])
    found = parity.compare_answers(["a", "b", "c", "d"], model, file, {0, 2}, last_word)
    assert found.match_tokens == (4 + 2 + 3 + 2) / 4
    assert found.exact == 3 / 4  # the last: the file ends at 0, which the model made too
    assert found.answers_equal == 1.0  # the second ends in 2 on both sides
    other = parity.compare_answers(["b"], _answers([5, 7]), _answers([5, 8]), {2}, last_word)
    assert other.answers_equal == 0.0
    assert other.first_difference is not None
    assert "the model says '5 7' (7), the file '5 8' (8); they part at token 1" in other.first_difference
