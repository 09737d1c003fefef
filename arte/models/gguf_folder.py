"""A GGUF file made into a model folder that can be trained: bfloat16 safetensors, tokenizer, chat template.

transformers dequantises the weights and rebuilds the tokenizer. Two things it leaves out are put right here, because
they change token ids and so everything learnt from them: how some byte-level vocabularies split numbers, and that some
SentencePiece vocabularies put no space before the text.
"""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

from arte_export import gguf_header

from arte.errors import ModelError
from arte.models.load import bars_on_terminals_only, refuse_without_memory

CONVERSION = 1
"""Goes up when the folder made from a file changes, so that folders in the cache are made anew."""

# llama.cpp, src/llama-vocab.cpp: these cut every digit off first, then split as GPT-2 does.
DIGIT_PRE_TOKENIZERS = ("smollm", "starcoder", "refact", "command-r", "codeshell")
GPT2_PRE_TOKENIZERS = ("gpt-2", "gpt2")


def convert(file: Path, folder: Path) -> None:
    """Writes the model of a GGUF file into an existing folder. Needs about 6 bytes of memory a parameter.

    Raises arte_export's BadModel where the file is broken, ModelError where its architecture or tokenizer cannot be
    rebuilt, or memory is short.
    """
    header = gguf_header.read(file)
    if not header.tensors:
        raise ModelError(f"{file}: holds no tensors, so no model; expected a .gguf file with weights")
    refuse_without_memory(6 * header.parameters, f"{file}, dequantised", "cpu")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    bars_on_terminals_only()
    # One of transformers' bars heeds no setting; whatever goes wrong here is raised, not printed.
    bars = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    try:
        with bars:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model, loading = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
                output_loading_info=True,
            )
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        architecture = header.text("general.architecture")
        raise ModelError(
            f"{file}: transformers cannot rebuild this model (architecture {architecture}): {error}; "
            "use its folder with safetensors instead"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(f"{file}: {len(missing)} weights are missing ({missing[0]}); download it again")
    _mend_tokenizer(file, header, tokenizer)
    if template := header.text("tokenizer.chat_template"):
        tokenizer.chat_template = template
    tokenizer.padding_side = "left"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _check_saved(file, header, folder)


def _mend_tokenizer(file: Path, header: gguf_header.Header, tokenizer: Any) -> None:
    from tokenizers import Regex, decoders, pre_tokenizers

    kind, split = header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")
    backend = tokenizer.backend_tokenizer
    if kind == "gpt2" and split in DIGIT_PRE_TOKENIZERS:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif kind == "gpt2" and split not in GPT2_PRE_TOKENIZERS:
        # Where transformers knows the split by name it has set a Sequence; else it fell back on GPT-2's.
        if not isinstance(backend.pre_tokenizer, pre_tokenizers.Sequence):
            raise ModelError(
                f"{file}: its tokenizer splits text as {split!r}, which cannot be rebuilt from a GGUF file; "
                "use the model's folder with safetensors instead"
            )
    elif kind == "llama" and header.keys.get("tokenizer.ggml.add_space_prefix") is False:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def _check_saved(file: Path, header: gguf_header.Header, folder: Path) -> None:
    """Reads the saved tokenizer back and compares template, vocabulary and end token with the file's own."""
    from transformers import AutoTokenizer

    saved = AutoTokenizer.from_pretrained(folder)
    differs = []
    if saved.chat_template != header.text("tokenizer.chat_template"):
        differs.append("chat template")
    tokens = header.keys.get("tokenizer.ggml.tokens", [])
    if saved.convert_ids_to_tokens(list(range(len(tokens)))) != tokens:
        differs.append("vocabulary")
    if saved.eos_token_id != header.keys.get("tokenizer.ggml.eos_token_id"):
        differs.append("end token")
    if differs:
        raise ModelError(
            f"{file}: the tokenizer rebuilt from it is not the same ({', '.join(differs)}); "
            "use the model's folder with safetensors instead"
        )
