"""What transformers 5 writes into a model folder, in the terms of transformers 4 and transformers.js.

Both read the older terms only, and take what they do not find for its default: a RoPE base that stays in
`rope_parameters` would silently be 10,000. Folders are read with transformers 5, so those written by 4 serve as well.

Source: the configuration classes and modeling_rope_utils of transformers 4.57 and 5.23.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from arte_export.errors import BadModel

WRITTEN_FOR = "4.57.6"
# Their frequencies depend on the text's length, and a traced graph would keep those of a short text.
LENGTH_DEPENDENT = ("dynamic", "longrope")
NAMES = {
    "gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"},
    "qwen3_moe": {"num_local_experts": "num_experts"},
}
SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def write(folder: Path, out: Path) -> None:
    """Writes the config, generation config, tokenizer and chat template of `folder` into the existing folder `out`.

    Raises BadModel where transformers 4 has no term for what the folder says, or the tokenizer has no tokenizer.json.
    """
    from transformers import AutoConfig, AutoTokenizer

    read = AutoConfig.from_pretrained(str(folder))
    _json(out / "config.json", config(read.to_diff_dict(), folder))
    _json(out / "generation_config.json", generation_config(folder, read))
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadModel(
            f"{folder}: its tokenizer ({type(tokenizer).__name__}) has no tokenizer.json form, which transformers.js "
            "needs; save the model with a fast tokenizer"
        )
    backend.no_truncation()
    backend.no_padding()
    (out / "tokenizer.json").write_text(backend.to_str(pretty=True), encoding="utf-8")
    _json(out / "tokenizer_config.json", tokenizer_config(tokenizer))
    _json(out / "special_tokens_map.json", special_tokens(tokenizer))
    if isinstance(tokenizer.chat_template, str):
        (out / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    for licence in folder.glob("LICENSE*"):
        shutil.copyfile(licence, out / licence.name)


def config(written: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`config.json` of transformers 4 from that of 5; `folder` is named in errors.

    `{"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "dtype": "bfloat16"}` becomes
    `{"rope_theta": 5e5, "torch_dtype": "bfloat16"}`.
    """
    made = {key: value for key, value in written.items() if key not in ("dtype", "rope_parameters")}
    nested = [key for key, value in made.items() if isinstance(value, dict) and "model_type" in value]
    if nested:
        raise BadModel(f"{folder / 'config.json'}: holds {', '.join(nested)}; onnx-optimum takes text models only")
    made["transformers_version"] = WRITTEN_FOR
    if written.get("dtype") is not None:
        made["torch_dtype"] = str(written["dtype"]).removeprefix("torch.")
    rope = written.get("rope_parameters")
    if rope:
        made |= _rope(rope, folder / "config.json")
    names = NAMES.get(str(written.get("model_type")), {})
    return {names.get(key, key): value for key, value in made.items()}


def _rope(rope: dict[str, Any], file: Path) -> dict[str, Any]:
    """The top-level keys that say in transformers 4 what `rope_parameters` say in 5."""
    if not any(isinstance(value, dict) for value in rope.values()):
        return _rope_of_one_kind(rope, file)
    # by kind of layer, for which transformers 4 has terms in Gemma 3 alone
    kinds = {key: value for key, value in rope.items() if value is not None}
    sliding = kinds.get("sliding_attention", {})
    if set(kinds) != {"full_attention", "sliding_attention"} or sliding.get("rope_type", "default") != "default":
        raise BadModel(f"{file}: transformers 4 cannot say rope_parameters {json.dumps(rope)}; export to gguf or onnx")
    return _rope_of_one_kind(kinds["full_attention"], file) | {"rope_local_base_freq": sliding["rope_theta"]}


def _rope_of_one_kind(rope: dict[str, Any], file: Path) -> dict[str, Any]:
    kind = rope.get("rope_type", "default")
    if kind in LENGTH_DEPENDENT:
        raise BadModel(
            f"{file}: rope_type {kind!r} changes with the length of the text, which a traced graph cannot; "
            "export to gguf or onnx"
        )
    top = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if rope.get(key) is not None}
    scaling = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
    return top if kind == "default" else top | {"rope_scaling": scaling}


def generation_config(folder: Path, model_config: Any) -> dict[str, Any]:
    """The folder's generation settings; without any, the special tokens of its config."""
    from transformers import GenerationConfig

    if (folder / "generation_config.json").is_file():
        made: dict[str, Any] = GenerationConfig.from_pretrained(str(folder)).to_diff_dict()
    else:
        made = {key: getattr(model_config, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    dropped = ("_from_model_config", "transformers_version")  # the first would have it thrown away on loading
    return {key: value for key, value in made.items() if key not in dropped and value is not None}


def special_tokens(tokenizer: Any) -> dict[str, Any]:
    """`special_tokens_map.json`; what 5 calls extra special tokens is additional here."""
    made = {name: str(getattr(tokenizer, name)) for name in SPECIAL if getattr(tokenizer, name, None) is not None}
    extra = [str(token) for token in tokenizer.extra_special_tokens]
    return made | ({"additional_special_tokens": extra} if extra else {})


def tokenizer_config(tokenizer: Any) -> dict[str, Any]:
    """`tokenizer_config.json` that leaves everything to tokenizer.json.

    The generic class: the architectures' own classes of transformers 4 and transformers.js change what they read. It
    would return token types without `model_input_names`. transformers.js knows the chat template only from here.
    """
    made: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": tokenizer.model_max_length,
        "padding_side": "left",
        "clean_up_tokenization_spaces": bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)),
        **special_tokens(tokenizer),
    }
    if isinstance(tokenizer.chat_template, str):
        made["chat_template"] = tokenizer.chat_template
    elif tokenizer.chat_template:
        templates = tokenizer.chat_template.items()
        made["chat_template"] = [{"name": name, "template": template} for name, template in templates]
    return made


def _json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
