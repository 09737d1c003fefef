"""Tiny chat models made on the fly, so that a whole run needs no download: random weights, real formats.

llama.cpp's converter knows a byte-level BPE tokenizer by a hash of the token ids of one long string, so a vocabulary of
our own can never pass as one. It does take a BPE with byte fallback (the kind of Llama 2) whatever its vocabulary, but
writes the same score for every token: llama.cpp then joins pairs from the left, where `tokenizers` joins them by rank.
The vocabulary here is one where the order cannot matter: a consonant joins the vowel after it, a space joins whatever
syllable or letter follows it, and no piece competes for both neighbours. Both libraries therefore give the same ids.
"""

import hashlib
import json
import string
from pathlib import Path
from typing import Any, NamedTuple

from arte.models.load import bars_on_terminals_only

SPACE = "▁"
SPECIAL = ("<unk>", "<|im_start|>", "<|im_end|>", "<|pad|>")
CONSONANTS = "bcdfghklmnprstvw"
VOWELS = "aeiou"
HEAD = 16  # numbers of an attention head: the fewest that onnxruntime takes

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Size(NamedTuple):
    """What tells the tiny models apart. Widths are multiples of 32, the block of llama.cpp's q8_0 and q4_0."""

    hidden: int
    layers: int
    tied: bool


TAUGHT = "tiny-taught-teacher"
"""The tiny teacher that arte.models.taught then trains."""

SIZES = {
    "tiny-random-teacher": Size(hidden=64, layers=2, tied=False),
    TAUGHT: Size(hidden=64, layers=2, tied=False),
    "tiny-random-student": Size(hidden=32, layers=2, tied=True),
}


def merges() -> list[tuple[str, str]]:
    """Every pair that joins. A syllable after a space is reached both ways, so whichever pair joins first."""
    syllables = [(consonant, vowel) for consonant in CONSONANTS for vowel in VOWELS]
    return [
        *syllables,
        *((SPACE, consonant + vowel) for consonant, vowel in syllables),
        *((SPACE, letter) for letter in CONSONANTS + VOWELS),
        *((SPACE + consonant, vowel) for consonant, vowel in syllables),
    ]


def vocabulary() -> dict[str, int]:
    """Token to id: special tokens, the 256 bytes, printable ASCII, then what the merges make. 536 in all."""
    printable = string.digits + string.ascii_letters + string.punctuation
    joined = [left + right for left, right in merges()]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), SPACE, *printable, *joined]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def tokenizer_json() -> dict[str, Any]:
    """The tokenizer in the format of the `tokenizers` library."""
    special = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, token in enumerate(SPECIAL)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary(),
            "merges": [list(pair) for pair in merges()],
        },
    }


def config(size: Size) -> dict[str, Any]:
    """The settings of a `LlamaConfig`. The wide initialisation makes the next token clear-cut: rounding moves few."""
    return {
        "vocab_size": len(vocabulary()),
        "hidden_size": size.hidden,
        "intermediate_size": 2 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.hidden // HEAD,
        "num_key_value_heads": size.hidden // HEAD // 2,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": size.tied,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }


def parameters(name: str) -> int:
    """How many numbers the model holds: embeddings, attention (half as many key-value heads), MLP, norms."""
    size = SIZES[name]
    embeddings = len(vocabulary()) * size.hidden * (1 if size.tied else 2)
    layer = 3 * size.hidden**2 + 6 * size.hidden**2 + 2 * size.hidden
    return embeddings + size.layers * layer + size.hidden


def fingerprint(name: str, seed: int) -> str:
    """Changes with anything the folder is made from."""
    made_from = [name, seed, config(SIZES[name]), tokenizer_json(), CHAT_TEMPLATE]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def make(name: str, seed: int, folder: Path) -> None:
    """Writes a tiny model (one of `SIZES`) into an existing folder: bfloat16 safetensors, tokenizer, chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bars_on_terminals_only()
    tokenizer_file = folder / "tokenizer.json"
    tokenizer_file.write_text(json.dumps(tokenizer_json(), ensure_ascii=False), encoding="utf-8")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file),
        unk_token="<unk>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        add_bos_token=False,
        add_eos_token=False,
        add_prefix_space=False,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**config(SIZES[name]))).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
