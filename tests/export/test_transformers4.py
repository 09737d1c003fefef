"""Model folders written by transformers 5, in the terms of transformers 4: read there, they are the same model."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from arte_export import child, environment, transformers4
from arte_export.errors import BadModel

from tests.export import inside, optimum

THETA = {"rope_type": "default", "rope_theta": 500000.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 4.0, "original_max_position_embeddings": 64}
GEMMA3 = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
}
PARTIAL = THETA | {"partial_rotary_factor": 0.5}
# (architecture, rope_parameters): each a model whose logits change with what transformers 4 would take by default
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("llama", THETA), ("llama", LLAMA3), ("mistral", YARN), ("qwen2", THETA), ("qwen3", THETA), ("gemma3_text", GEMMA3),
    ("phi", PARTIAL), ("gpt_neox", PARTIAL), ("smollm3", THETA | {"rope_theta": 40000.0}),
]  # fmt: skip
IDS = list(range(3, 60))


def translated(written: dict[str, Any]) -> dict[str, Any]:
    return transformers4.config(written, Path("m"))


def test_a_rope_base_is_written_where_transformers_4_looks() -> None:
    made = translated({"model_type": "llama", "dtype": "bfloat16", "rope_parameters": THETA})
    assert made == {
        "model_type": "llama", "torch_dtype": "bfloat16", "rope_theta": 500000.0, "transformers_version": "4.57.6",
    }  # fmt: skip


def test_rope_scaling_keeps_its_kind_and_terms() -> None:
    made = translated({"model_type": "llama", "rope_parameters": LLAMA3})
    assert made["rope_theta"] == 500000.0
    assert made["rope_scaling"] == {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }  # fmt: skip


def test_architectures_with_names_of_their_own() -> None:
    neox = translated({"model_type": "gpt_neox", "rope_parameters": PARTIAL})
    assert (neox["rotary_emb_base"], neox["rotary_pct"]) == (500000.0, 0.5)
    assert "rope_theta" not in neox
    assert translated({"model_type": "phi", "rope_parameters": PARTIAL})["partial_rotary_factor"] == 0.5
    assert translated({"model_type": "qwen3_moe", "num_local_experts": 4})["num_experts"] == 4
    gemma = translated({"model_type": "gemma3_text", "rope_parameters": GEMMA3})
    assert (gemma["rope_theta"], gemma["rope_local_base_freq"]) == (500000.0, 20000.0)
    assert gemma["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}


def test_what_has_no_rope_gets_none() -> None:
    assert translated({"model_type": "gpt2", "n_head": 4}) == {
        "model_type": "gpt2", "n_head": 4, "transformers_version": "4.57.6",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "'dynamic' changes with"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "'longrope' changes with"),
        ({"rope_parameters": {"full_attention": THETA, "chunked_attention": THETA}}, "transformers 4 cannot say"),
        ({"rope_parameters": {"full_attention": THETA, "sliding_attention": LLAMA3}}, "transformers 4 cannot say"),
        ({"text_config": {"model_type": "gemma3_text"}}, "holds text_config; onnx-optimum takes text models only"),
    ],
)
def test_what_transformers_4_cannot_say_is_refused(written: dict[str, Any], said: str) -> None:
    with pytest.raises(BadModel, match=r"config\.json") as caught:
        translated(written)
    assert said in str(caught.value)


def make(folder: Path, kind: str, rope: dict[str, Any]) -> list[float]:
    """A tiny model folder by transformers 5, and its logits after IDS."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4 if kind == "phi" else 2, "max_position_embeddings": 256, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.2,
    }  # fmt: skip
    if kind in ("qwen3", "gemma3_text"):
        sizes |= {"head_dim": 32}
    torch.manual_seed(0)
    # a copy: transformers adds to the parameters that it is given
    config = AutoConfig.for_model(kind, **sizes, rope_parameters=json.loads(json.dumps(rope)))
    model: Any = AutoModelForCausalLM.from_config(config).float().eval()
    model.save_pretrained(folder)
    with torch.inference_mode():
        logits: list[float] = model(torch.tensor([IDS])).logits[0, -1].tolist()
    return logits


def test_transformers_4_computes_what_5_does(tmp_path: Path) -> None:
    from transformers import AutoConfig

    python = environment.python(optimum.optimum_home())
    folders, expected = [], []
    for number, (kind, rope) in enumerate(MODELS):
        folder = tmp_path / f"{number}-{kind}"
        expected.append(make(folder, kind, rope))
        untold = tmp_path / f"{number}-{kind}-untold"
        untold.mkdir()
        (untold / "model.safetensors").symlink_to(folder / "model.safetensors")
        as_written = (folder / "config.json").read_text(encoding="utf-8")
        (untold / "config.json").write_text(as_written, encoding="utf-8")
        made = transformers4.config(AutoConfig.from_pretrained(str(folder)).to_diff_dict(), folder)
        (folder / "config.json").write_text(json.dumps(made), encoding="utf-8")
        folders += [folder, untold]
    call = partial(inside.last_logits, folders, IDS)
    found = child.run(call, holding=tmp_path, limit_s=300, path=[inside.ROOT], python=python).result
    compared = 0
    for number, (kind, _) in enumerate(MODELS):
        same, untold_logits = found[2 * number], found[2 * number + 1]
        distance = max(abs(a - b) for a, b in zip(same, expected[number], strict=True))
        untold_distance = max(abs(a - b) for a, b in zip(untold_logits, expected[number], strict=True))
        assert distance < 1e-4, kind
        assert untold_distance > 1e-2, f"{kind}: this model would not show a lost RoPE"
        compared += 1
    assert compared == 9


def test_rope_that_transformers_4_overlooks_is_noticed(tmp_path: Path) -> None:
    """The guard of the export, for architectures whose own names are not known here."""
    written = {
        "heeded": {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        "overlooked": {"model_type": "gpt_neox", "rope_theta": 5e5},
    }
    for name, config in written.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    python = environment.python(optimum.optimum_home())
    call = partial(inside.overlooked, [tmp_path / name for name in written])
    heeded, overlooked = child.run(call, holding=tmp_path, limit_s=120, path=[inside.ROOT], python=python).result
    assert heeded == ""
    assert overlooked.endswith("transformers 4 reads rope_theta as 10000, written is 500000.0")


def test_the_tokenizer_leaves_everything_to_tokenizer_json(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source: Any = AutoTokenizer.from_pretrained(str(tiny_model))
    source.add_special_tokens({"extra_special_tokens": ["<|think|>"]})
    folder = tmp_path / "source"
    source.save_pretrained(folder)
    (folder / "config.json").write_text((tiny_model / "config.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "TokenizersBackend"

    out = tmp_path / "out"
    out.mkdir()
    transformers4.write(folder, out)
    made = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert made["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert made["model_input_names"] == ["input_ids", "attention_mask"]
    assert made["additional_special_tokens"] == ["<|think|>"]
    assert (made["bos_token"], made["eos_token"], made["pad_token"]) == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert made["chat_template"] == (out / "chat_template.jinja").read_text(encoding="utf-8") == source.chat_template
    assert not {"backend", "is_local", "extra_special_tokens"} & set(made)
    assert sorted(file.name for file in out.iterdir()) == [
        "chat_template.jinja", "config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip


def test_without_generation_settings_the_config_says_what_ends_an_answer(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((tiny_model / name).read_text(encoding="utf-8"), encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    transformers4.write(tmp_path, out)
    made = json.loads((out / "generation_config.json").read_text(encoding="utf-8"))
    assert made == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
