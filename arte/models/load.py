"""Loading a checked model folder: from safetensors, in the number type that is fastest here, where memory allows."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arte import machine
from arte.errors import ModelError
from arte.models.folder import inspect_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPE_BYTES = {"float32": 4, "bfloat16": 2}
GIB = 2**30
MATRIX = {"cpu": 512, "cuda": 4096}
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Answer: ' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ ('Question: ' if message['role'] == 'user' else '') + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer: ' }}{% endif %}"
)
"""For base models that bring no chat template; it is saved with the student and shipped in its files."""


def load(
    folder: Path, dtype: str, device: str, trust_remote_code: bool = False
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Model in eval mode and tokenizer. `dtype` is auto, float32 or bfloat16; `device` is what torch calls it.

    The tokenizer pads on the left and has a pad token (the end token where the model brings none) and a chat template.
    Raises ModelError where the device is not there, memory is short, or the folder is not a whole model.
    """
    dtype = compute_dtype(dtype)
    import torch
    from transformers import AutoModelForCausalLM

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"{folder}: asked for on {device}, but torch sees no GPU; choose a scale that needs none")
    weights = inspect_weights(folder)
    refuse_without_memory(weights.parameters * DTYPE_BYTES[dtype], f"{folder} in {dtype}", device)
    bars_on_terminals_only()
    machine.keep_memory()
    try:
        tokenizer = load_tokenizer(folder, trust_remote_code)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        own_code = "; a model that brings its own code needs teacher.trust_remote_code=true, once you have read it"
        raise ModelError(
            f"{folder}: transformers cannot load it: {error}{'' if trust_remote_code else own_code}"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{folder}: {len(missing)} weights that its config.json asks for are missing ({missing[0]}); "
            "config and weights are not of the same model, or the download is not whole"
        )
    _close_gaps_before_output(model)
    return model.to(device).eval(), tokenizer


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> "PreTrainedTokenizerBase":
    """The tokenizer of a checked model folder, as `load` gives it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def _close_gaps_before_output(model: "PreTrainedModel") -> None:
    """Has the output layer see contiguous rows.

    `logits_to_keep` leaves it a view with gaps. There torch multiplies sequence by sequence, in bfloat16 with a copy of
    the layer's weights for each: 15 GB and ten seconds for 54 prompts of a 0.5B model.
    """
    output = model.get_output_embeddings()
    if output is not None:
        output.register_forward_pre_hook(lambda _layer, given: tuple(states.contiguous() for states in given))


def refuse_without_memory(needed_bytes: int, what: str, device: str) -> None:
    """Raises ModelError where so many bytes are not free: sooner than the system ends the process."""
    if device.startswith("cuda"):
        import torch

        free_bytes = torch.cuda.mem_get_info(device)[0]
    else:
        import psutil

        free_bytes = psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        raise ModelError(
            f"{what}: needs {needed_bytes / GIB:.1f} GiB of memory, {free_bytes / GIB:.1f} GiB are free on {device}; "
            "close other programs, take a smaller model (teacher.name=…, student.name=…), or a smaller --scale"
        )


def compute_dtype(setting: str) -> Literal["float32", "bfloat16"]:
    """The number type to compute in. `auto`: bfloat16 on a GPU that has it; on a CPU, the faster of the two.

    A CPU with AMX or AVX512-BF16 is some times faster in bfloat16, one without is hundreds of times slower.
    """
    if setting in ("float32", "bfloat16"):
        return "bfloat16" if setting == "bfloat16" else "float32"
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if _flops("bfloat16", "cpu") > _flops("float32", "cpu") else "float32"


def products_per_second(setting: str) -> float:
    """Floating-point operations a second of a matrix product in the number type that `setting` comes to."""
    dtype = compute_dtype(setting)
    import torch

    return _flops(dtype, "cuda" if torch.cuda.is_available() else "cpu")


@functools.cache
def _flops(dtype: str, device: str) -> float:
    """Measured once in this process."""
    import torch

    width = MATRIX[device]
    left = torch.ones(width, width, dtype=getattr(torch, dtype), device=device)

    def product() -> None:
        torch.mm(left, left)
        if device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        return 2 * width**3 / machine.quickest_s(product)


def bars_on_terminals_only() -> None:
    """Turns transformers' progress bars off where nobody would see them."""
    if not sys.stderr.isatty():
        from transformers.utils import logging

        logging.disable_progress_bar()
