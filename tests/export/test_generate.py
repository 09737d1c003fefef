from pathlib import Path
from typing import Any

import pytest
from arte_export import generate, reference
from arte_export.errors import BadModel, ExportError

PROMPTS = [f"<|im_start|>user\n{'Ana has ' * (i % 5)}{i} pens<|im_end|>\n<|im_start|>assistant\n" for i in range(13)]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny_model))


def test_batched_answers_are_those_of_torch_one_by_one(
    tiny_model: Path, tiny_files: dict[str, Path], tokenizer: Any
) -> None:
    # 13 prompts on 4 sequences: every slot is used again, beside others that are in mid-answer
    steps: list[tuple[int, int]] = []
    batched = generate.answers(
        tiny_files["f32"], PROMPTS, 24, parallel=4, progress=lambda *step: steps.append(step), threads=1
    )
    # the file ends at <|endoftext|> too, as llama.cpp does with every token of that name
    made = reference.answers(tiny_model, PROMPTS, 24).token_ids
    expected = [ids[: ids.index(0) + 1] if 0 in ids else ids for ids in made]
    assert batched.token_ids == expected
    assert batched.texts == [tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]
    assert steps == [(count, 13) for count in range(1, 14)]
    assert batched.tokens_in == sum(len(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS)
    assert batched.tokens_out == sum(map(len, expected)) > 13
    assert batched.peak_rss_bytes is not None


def test_an_answer_ends_before_a_stop_string(tiny_files: dict[str, Path]) -> None:
    [plain] = generate.answers(tiny_files["f32"], PROMPTS[:1], 24, threads=1).texts
    stop = " pen"  # written over several tokens
    assert stop in plain
    stopped = generate.answers(tiny_files["f32"], PROMPTS[:1], 24, stop=["never in there", stop], threads=1)
    assert stopped.texts == [plain[: plain.index(stop)]]
    assert stopped.tokens_out < 24


def test_prompts_longer_than_a_batch_and_a_full_context(tiny_files: dict[str, Path], tokenizer: Any) -> None:
    # 6 prompts of about 600 tokens do not fit one batch of 2048; the context of 640 ends their answers
    long = [f"{i} pens " + "z" * 600 for i in range(6)]
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in long]
    assert sum(lengths) > 2048
    together = generate.answers(tiny_files["f32"], long, 1000, parallel=6, threads=1)
    alone = generate.answers(tiny_files["f32"], long, 1000, parallel=1, threads=1)
    # far into a random model's answer, near-ties fall by the order of additions, which differs between batches
    assert [ids[:8] for ids in together.token_ids] == [ids[:8] for ids in alone.token_ids]
    full = [640 - length for length in lengths]
    ended = [ids[-1] in (0, 2) or len(ids) == room for ids, room in zip(together.token_ids, full, strict=True)]
    assert ended == [True] * 6


def test_no_prompts_no_answers(tiny_files: dict[str, Path]) -> None:
    assert generate.answers(tiny_files["f32"], [], 8, threads=1).texts == []


@pytest.mark.parametrize(("prompt", "words"), [("", "prompt 1 has 0 tokens"), ("z" * 700, "expected 1 to 639")])
def test_prompts_that_cannot_be_continued_are_named(tiny_files: dict[str, Path], prompt: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        generate.answers(tiny_files["f32"], ["fine", prompt], 8, threads=1)


@pytest.mark.parametrize("keep", [0, 3, 100, 5_000, -1000])
def test_a_cut_file_is_a_clear_error(tiny_files: dict[str, Path], tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_files["q8_0"].read_bytes()[:keep])
    with pytest.raises(BadModel, match=r"cut\.gguf: llama\.cpp cannot load this file"):
        generate.answers(cut, PROMPTS, 8, threads=1)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="no such file; expected a GGUF file"):
        generate.answers(tmp_path / "none.gguf", PROMPTS, 8, threads=1)
