"""What runs in an environment with vLLM only: `make test` makes one and runs this folder there."""

import importlib.util
import os
from pathlib import Path

import pytest

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB: the models are tiny

from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder, load

HEAD = 64
"""vLLM's CPU build has no kernel for the heads of 16 that other tiny models have."""


@pytest.fixture(scope="session")
def folder(tiny_student: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that write printable letters: runtimes differ in how they show bytes that are no text."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    made = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(tiny_student.path)
    tokenizer.save_pretrained(made)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=2 * HEAD,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=1024,
            initializer_range=0.2,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for token in range(len(tokenizer)):
            text = tokenizer.decode([token])
            if token != tokenizer.eos_token_id and not (text.isascii() and text.isprintable() and text):
                model.lm_head.weight[token] = 0
    model.save_pretrained(made)
    return made


@pytest.fixture(scope="session")
def here(folder: Path) -> TransformersEngine:
    """The same model with transformers."""
    return TransformersEngine(*load(folder, "float32", "cpu"))


@pytest.fixture(scope="session")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with random weights, as alignment writes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False),
    )
    made = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(made)
    return made
