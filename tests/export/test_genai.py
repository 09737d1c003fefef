import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from arte_export import genai, genai_files, onnx_genai, strings
from arte_export.conversations import conversations
from arte_export.errors import BadModel, ExportError

END, PAD = "<|im_end|>", "<|endoftext|>"
PROMPTS = [
    "Ana has 12 apples",
    "Five boxes hold 10 pens each.  5 * 10 = 50, isn't it?\n\n" * 3,
    "a",
    "<|im_start|>user\nhow many are left in 2024<|im_end|>\n<|im_start|>assistant\n",
    "question answer " * 20,
    f"a turn that ends{END}",  # the last token is an end token
    f"text that ends with the pad token{PAD}{PAD}",
    "x y z",
]


@pytest.fixture(scope="module")
def folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_genai.export(tiny_model, tmp_path_factory.mktemp("onnx") / "fp32", "fp32")


def torch_answers(folder: Path, prompts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Greedy, one prompt at a time, by the plainest loop there is: no cache, no padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    made = []
    for prompt in prompts:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        start = len(ids)
        while len(ids) < start + max_tokens and (len(ids) == start or ids[-1] != tokenizer.eos_token_id):
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        made.append(ids[start:])
    return made


@pytest.mark.parametrize("parallel", [1, 3, 32])
def test_answers_are_those_of_torch_in_any_batch(parallel: int, folder: Path, tiny_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = genai.answers(
        folder, PROMPTS, 12, threads=1, parallel=parallel, progress=lambda done, total: seen.append((done, total))
    )
    expected = torch_answers(tiny_model, PROMPTS, 12)
    assert found.token_ids == expected
    assert [len(ids) for ids in expected] == [12] * len(PROMPTS)  # none ends early: all steps were compared
    assert found.tokens_out == 12 * len(PROMPTS)
    assert found.tokens_in == 181
    assert seen == [(done, len(PROMPTS)) for done in range(1, len(PROMPTS) + 1)]
    assert found.peak_rss_bytes is not None


def test_a_batch_is_broken_off_and_rows_go_on_in_the_next(folder: Path) -> None:
    """Ends are made of tokens that the model is known to say, so that rows end at many different steps."""
    whole = genai.answers(folder, PROMPTS, 40, parallel=1)
    chosen = sorted({text[6:8] for text in whole.texts})
    alone = genai.answers(folder, PROMPTS * 3, 40, stop=chosen, parallel=1)
    together = genai.answers(folder, PROMPTS * 3, 40, stop=chosen, parallel=5)
    assert together.token_ids == alone.token_ids
    assert together.texts == alone.texts
    assert len({len(ids) for ids in alone.token_ids}) >= 3
    for text, before in zip(alone.texts, whole.texts * 3, strict=True):
        first = min((at for stop in chosen if (at := before.find(stop)) >= 0), default=len(before))
        assert text == before[:first]


def test_an_answer_ends_with_the_context(folder: Path) -> None:
    """The context is 640 tokens; "a" repeated is a token each time, whatever is beside it."""
    long = "<|im_start|>" * 630
    found = genai.answers(folder, [long, "a", long + PAD * 9], 50)
    assert [len(ids) for ids in found.token_ids] == [10, 50, 1]
    alone = [genai.answers(folder, [prompt], 50).token_ids[0] for prompt in (long, "a", long + PAD * 9)]
    assert found.token_ids == alone


def test_prompts_that_cannot_be_answered(folder: Path) -> None:
    for prompt, message in (
        ("", "prompt 1 has 0 tokens; expected 1 to 639"),
        (PAD * 640, "prompt 1 has 640 tokens"),
        ("a\0b", "prompt 1 has a NUL character"),
    ):
        with pytest.raises(ExportError, match=message):
            genai.answers(folder, ["a", prompt], 4)
    assert genai.answers(folder, [], 4).texts == []


def test_a_sliding_window_holds_in_batches_too(tiny_model: Path, tmp_path: Path) -> None:
    """Gemma 3: local layers of 8 tokens and global ones, each with a rotary base of its own."""
    import torch
    from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

    model = tmp_path / "gemma"
    shutil.copytree(tiny_model, model)
    torch.manual_seed(0)
    Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(AutoTokenizer.from_pretrained(tiny_model)), hidden_size=64, intermediate_size=128,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=16,
            sliding_window=8, layer_types=["sliding_attention", "full_attention"], max_position_embeddings=640,
            initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    ).save_pretrained(model)  # fmt: skip
    folder = onnx_genai.export(model, tmp_path / "onnx", "fp32")
    found = genai.answers(folder, PROMPTS, 12, parallel=4)
    assert found.token_ids == torch_answers(model, PROMPTS, 12)
    assert max(map(len, PROMPTS)) > 8 * 8


def test_the_vocabulary_is_that_of_transformers(folder: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)
    texts = [text for text in strings.test_strings(1000) if "\0" not in text]
    chats = conversations()
    found = genai.vocabulary(folder, texts, chats)
    assert found.token_ids == [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert len(texts) > 900
    assert found.rendered == [
        tokenizer.apply_chat_template(
            chat.messages, tokenize=False, add_generation_prompt=chat.generation_prompt
        )
        for chat in chats
    ]  # fmt: skip
    assert len(chats) > 20
    assert found.chat_template == tokenizer.chat_template
    assert found.tokens == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert found.control == [0, 1, 2]
    assert (found.added, found.bos, found.eos, found.pad, found.ends, found.adds_bos) == ([], 1, 2, 0, [2], False)


def test_a_sequence_of_splits_is_spelled_out(tmp_path: Path, model_maker: Callable[..., Path], folder: Path) -> None:
    """SmolLM's own: digits alone, then GPT-2's expression within ByteLevel; the runtime would follow neither."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    model = model_maker(tmp_path / "model", pre_tokenizers.Sequence(steps))
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    texts = [text for text in strings.test_strings(1000) if "\0" not in text]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    out = tmp_path / "onnx"
    shutil.copytree(folder, out)
    built = tmp_path / "built"
    shutil.copytree(folder, built)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(model / name, built / name)
        shutil.copyfile(model / name, out / name)
    as_it_is = genai.vocabulary(out, texts, []).token_ids
    assert sum(ids != other for ids, other in zip(as_it_is, expected, strict=True)) > 50
    genai_files.write(model, built, out)
    assert genai.vocabulary(out, texts, []).token_ids == expected
    written: Any = AutoTokenizer.from_pretrained(out)
    assert [written(text, add_special_tokens=False)["input_ids"] for text in texts] == expected
    assert json.loads((out / "tokenizer.json").read_text())["pre_tokenizer"]["pretokenizers"][0]["type"] == "Split"


def test_bos_is_put_in_front_where_the_model_does(tmp_path: Path, tiny_model: Path, folder: Path) -> None:
    from tokenizers import Tokenizer, processors

    built, out = tmp_path / "built", tmp_path / "onnx"
    shutil.copytree(folder, built)
    shutil.copytree(folder, out)
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing("<|im_start|> $A", None, [("<|im_start|>", 1)])
    tokenizer.save(str(built / "tokenizer.json"))
    genai_files.write(tiny_model, built, out)
    found = genai.vocabulary(out, ["ab"], [])
    assert found.adds_bos
    assert found.token_ids == [Tokenizer.from_file(str(tiny_model / "tokenizer.json")).encode("ab").ids]


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("model.onnx.data", 0.5), ("model.onnx.data", 0.0), ("model.onnx", 0.5), ("genai_config.json", 0.5),
        ("tokenizer.json", 0.5),
    ],
)  # fmt: skip
def test_a_file_cut_short_is_an_error_that_names_the_folder(
    name: str, keep: float, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "onnx"
    shutil.copytree(folder, out)
    os.truncate(out / name, int((out / name).stat().st_size * keep))
    with pytest.raises(BadModel, match=f"{out}.*"):
        genai.answers(out, ["a"], 2)


def test_settings_without_an_end_token(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "onnx"
    shutil.copytree(folder, out)
    config = json.loads((out / "genai_config.json").read_text())
    del config["model"]["eos_token_id"]
    (out / "genai_config.json").write_text(json.dumps(config))
    for ask in (lambda: genai.answers(out, ["a"], 2), lambda: genai.vocabulary(out, ["a"], [])):
        with pytest.raises(BadModel, match=r"genai_config\.json: no eos_token_id in it"):
            ask()
