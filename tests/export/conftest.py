"""A tiny Llama with a byte-level BPE tokenizer of its own, made on the fly, and its GGUF files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arte_export import converter, gguf
from arte_export.errors import DownloadFailed

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRAINING_TEXT = [
    "Ana has 12 apples and buys 3 more. 12 + 3 = 15\n#### 15",
    "Five boxes hold 10 pens each.  5 * 10 = 50, isn't it?\n\n#### 50",
    "user assistant system question answer how many are left in 2024",
] * 4


def make_model(folder: Path, pre_tokenizer: Any, ignore_merges: bool = False) -> Path:
    """A Llama of 2 layers, 64 wide, with a vocabulary of about 400 and ChatML."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    if ignore_merges:
        written = json.loads(tokenizer.to_str())
        written["model"]["ignore_merges"] = True
        tokenizer = Tokenizer.from_str(json.dumps(written))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=640, tie_word_embeddings=True, initializer_range=0.3,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_maker() -> Callable[..., Path]:
    return make_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import pre_tokenizers

    folder = tmp_path_factory.mktemp("model") / "tiny"
    return make_model(folder, pre_tokenizers.ByteLevel(add_prefix_space=False))


@pytest.fixture(scope="session")
def converter_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    try:
        converter.fetch(home)
    except DownloadFailed as error:
        pytest.skip(f"llama.cpp's converter cannot be had here: {error}")
    return home


@pytest.fixture(scope="session")
def tiny_files(tiny_model: Path, converter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model in every scheme, from one export."""
    from arte_export.schemes import SCHEMES

    out = tmp_path_factory.mktemp("gguf")
    return dict(zip(SCHEMES, gguf.export(tiny_model, out, list(SCHEMES), "tiny", converter_home), strict=True))
