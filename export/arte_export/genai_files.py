"""Tokenizer, chat template and settings of an onnxruntime-genai folder, written so that its runtime reads them as
transformers reads the model folder's.

The runtime's tokenizer (onnxruntime-extensions) has rules of its own where tokenizer.json is not explicit. What can be
said otherwise is: the same splitting by other words, and whether BOS is put in front. Import this module in a child
only: `check` loads the runtime.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from arte_export import pretokenizer
from arte_export.errors import BadModel
from arte_export.model_folder import read_json

CONFIG = "genai_config.json"
TEMPLATE = "chat_template.jinja"
UNSAID = ("chat_template", "is_local", "local_files_only")  # of the machine that exported, or in a file of its own


def write(folder: Path, built: Path, out: Path) -> None:
    """Writes the files into `out`, from those that the builder left in `built` and the model folder's own.

    Raises BadModel where the folder names no end token.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(built / "tokenizer.json"))
    settings = read_json(built / "tokenizer_config.json", "it names the special tokens")
    special = {
        role: tokenizer.token_to_id(text) if text else None
        for role in ("bos", "eos", "pad")
        for text in [_text(settings.get(f"{role}_token"))]
    }
    with_specials: list[int] = tokenizer.encode("a").ids
    # the runtime guesses from the class and the post-processor where these are not said
    settings["add_bos_token"] = special["bos"] is not None and with_specials[:1] == [special["bos"]]
    settings["add_eos_token"] = special["eos"] is not None and with_specials[-1:] == [special["eos"]]
    template = _template(folder, settings)
    _dump(out / "tokenizer_config.json", {key: value for key, value in settings.items() if key not in UNSAID})
    written = read_json(built / "tokenizer.json", "it holds the tokens")
    steps = spelled_out(written.get("pre_tokenizer"))
    if steps == written.get("pre_tokenizer"):
        shutil.copyfile(built / "tokenizer.json", out / "tokenizer.json")
    else:
        _dump(out / "tokenizer.json", {**written, "pre_tokenizer": steps})
    if template is not None:
        (out / TEMPLATE).write_bytes(template)
    config = read_json(built / CONFIG, "the builder writes it")
    config["model"].update(_token_ids(folder, special))
    if special["bos"] is None:
        config["model"].pop("bos_token_id", None)  # the builder makes one up: 1
    _dump(out / CONFIG, config)


def check(folder: Path, out: Path) -> None:
    """Raises BadModel where the runtime cannot read the tokenizer of the finished folder."""
    import onnxruntime_genai

    try:
        onnxruntime_genai.Tokenizer(onnxruntime_genai.Config(str(out))).encode("a")
    except RuntimeError as error:
        raise BadModel(
            f"{folder}: onnxruntime-genai cannot read this tokenizer: {error}. It knows byte-pair encodings with "
            "published ways of splitting text; GGUF knows more"
        ) from None


def spelled_out(pre_tokenizer: Any) -> Any:
    """The same splitting, with every step that the runtime would ignore written as a regular expression.

    In a sequence the runtime follows `Split` steps alone, neither `Digits` nor the expression within `ByteLevel`.
    """
    if not isinstance(pre_tokenizer, dict) or pre_tokenizer.get("type") != "Sequence":
        return pre_tokenizer
    steps: list[dict[str, Any]] = []
    for step in pre_tokenizer.get("pretokenizers", []):
        match step:
            case {"type": "Digits", "individual_digits": True}:
                steps.append(_split(pretokenizer.DIGITS))
            case {"type": "ByteLevel", "add_prefix_space": False} if step.get("use_regex", True):
                steps += [_split(pretokenizer.GPT2), {**step, "use_regex": False}]
            case _:
                steps.append(step)
    return {**pre_tokenizer, "pretokenizers": steps}


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _text(token: Any) -> str | None:
    """A special token's text: tokenizer_config.json has it alone or with its flags."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def _template(folder: Path, settings: dict[str, Any]) -> bytes | None:
    """The model folder's own chat template, byte for byte."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_bytes()
    own = folder / "tokenizer_config.json"
    inside = read_json(own, "it names the special tokens").get("chat_template") if own.is_file() else None
    if isinstance(inside, list):  # named templates, of transformers 4
        inside = next((entry["template"] for entry in inside if entry.get("name") == "default"), None)
    inside = inside if inside is not None else settings.get("chat_template")
    return inside.encode() if isinstance(inside, str) else None


def _token_ids(folder: Path, special: dict[str, int | None]) -> dict[str, Any]:
    """BOS, PAD and all end tokens: the tokenizer's EOS first, then those at which transformers' generate stops."""
    config = read_json(folder / "config.json", "a model folder has its architecture there")
    generation = folder / "generation_config.json"
    chosen = read_json(generation, "it says where generation stops") if generation.is_file() else {}
    stops = chosen.get("eos_token_id", config.get("eos_token_id"))
    ends = [special["eos"], *(stops if isinstance(stops, list) else [stops])]
    known = list(dict.fromkeys(end for end in ends if end is not None))
    if not known:
        raise BadModel(
            f"{folder}: no end token: tokenizer_config.json has no eos_token, and neither generation_config.json nor "
            "config.json has eos_token_id; name one, or answers never end"
        )
    pad = special["pad"] if special["pad"] is not None else known[0]
    return {
        "bos_token_id": special["bos"],
        "eos_token_id": known[0] if len(known) == 1 else known,
        "pad_token_id": pad,
    }


def _dump(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
