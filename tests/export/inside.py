"""Functions of the tests that run in child processes, most of them in the environment of optimum-onnx (no pytest)."""

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from arte_export import optimum_env
from arte_export.errors import BadModel

ROOT = Path(__file__).resolve().parents[2]


def versions(names: list[str]) -> dict[str, str]:
    """The installed versions of these distributions."""
    return {name: metadata.version(name) for name in names}


def import_path() -> list[str]:
    """Where this interpreter looks for modules."""
    return sys.path


def last_logits(folders: list[Path], ids: list[int]) -> list[list[float]]:
    """The logits after the last token, by transformers 4 from each model folder."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM

    found = []
    for folder in folders:
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
        with torch.inference_mode():
            found.append(model(torch.tensor([ids])).logits[0, -1].tolist())
    return found


def overlooked(folders: list[Path]) -> list[str]:
    """What the export says of each config.json, empty where it goes on."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoConfig

    said = []
    for folder in folders:
        try:
            optimum_env.check_rope(folder, AutoConfig.from_pretrained(str(folder)))
            said.append("")
        except BadModel as error:
            said.append(str(error))
    return said


def generated(folder: Path, prompts: list[str], max_tokens: int) -> list[list[int]]:
    """The way the docstring of onnx_optimum shows, one prompt at a time."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from optimum.onnxruntime import ORTModelForCausalLM  # type: ignore[import-not-found]
    from transformers import AutoTokenizer

    model = ORTModelForCausalLM.from_pretrained(str(folder), subfolder="onnx", file_name="model_quantized.onnx")
    tokenizer: Callable[..., Any] = AutoTokenizer.from_pretrained(str(folder))
    made = []
    for prompt in prompts:
        asked = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**asked, max_new_tokens=max_tokens, do_sample=False)
        made.append(out[0, asked["input_ids"].shape[1] :].tolist())
    return made


def graph_logits(file: Path, ids: list[int]) -> list[list[float]]:
    """The logits after every token, from an empty past."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    row = np.array([ids])
    inputs = {"input_ids": row, "attention_mask": np.ones_like(row), "position_ids": np.arange(len(ids))[None]}
    for entry in session.get_inputs():
        if entry.name.startswith("past"):
            heads, width = entry.shape[1], entry.shape[3]
            inputs[entry.name] = np.zeros((1, heads, 0, width), np.float32)
    logits: list[list[float]] = session.run(["logits"], inputs)[0][0].tolist()
    return logits
