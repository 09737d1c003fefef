"""Tiny base models and LoRA adapters of them, as PEFT trains and saves them."""

import shutil
from pathlib import Path
from typing import Any

from arte_export import model_folder

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]
IDS = [[5, 17, 80, 3, 99, 250, 41, 7], [0, 1, 2, 3, 4, 5, 6, 352]]


def make_base(folder: Path, tokenizer: Path, kind: str = "llama", dtype: str = "float32", **changes: Any) -> Path:
    """A model of 353 tokens and 32 wide, with biases where the architecture has any, and the tokenizer's files."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=353, n_positions=64, n_embd=32, n_layer=2, n_head=2))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                **{
                    "vocab_size": 353, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                    "num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": True,
                    "tie_word_embeddings": False, "initializer_range": 0.3, **changes,
                }
            )
        )  # fmt: skip
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    for name in model_folder.TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copy(tokenizer / name, folder / name)
    return folder


def train(base: Path, folder: Path, resized_to: int | None = None, **settings: Any) -> Path:
    """An adapter made by PEFT: every trainable number is moved at random, as by training."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(2)
    if resized_to is not None:
        model.resize_token_embeddings(resized_to)
    tuned = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM", **settings}))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    tuned.save_pretrained(folder)
    return folder


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor(IDS)).logits
