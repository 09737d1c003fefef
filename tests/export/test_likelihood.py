"""The log-probability of given replies by a device file: that of the torch model's own logits."""

from pathlib import Path

import pytest
import torch
from arte_export import likelihood, onnx_genai
from arte_export.device_file import DeviceFile, Format
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ("<|im_start|>user\nFive boxes hold 10 pens.<|im_end|>\n<|im_start|>assistant\n", "Ana has 12 apples")
REPLIES = ("#### 15", "#### 12", "5 * 10")


@pytest.fixture(params=["gguf", "onnx"])
def device_file(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> DeviceFile:
    form: Format = request.param
    if form == "gguf":
        path = request.getfixturevalue("tiny_files")["f32"]
    else:
        path = onnx_genai.export(tiny_model, tmp_path / "tiny-onnx", "fp32")
    return DeviceFile(path=path, format=form, scheme=None, home=tmp_path)


def test_the_log_probability_is_that_of_torch(device_file: DeviceFile, tiny_model: Path) -> None:
    asked = [(prompt, reply) for prompt in PROMPTS for reply in REPLIES]
    found = likelihood.of(device_file, asked)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(found) == len(asked)
    for (prompt, reply), each in zip(asked, found, strict=True):
        start, given = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, reply))
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([start + given])).logits[0].double()
        seen = torch.log_softmax(logits[len(start) - 1 : -1], dim=-1)
        wanted = sum(float(row[token]) for row, token in zip(seen, given, strict=True))
        # llama.cpp keeps keys and values in 16 bits
        assert each.logprob == pytest.approx(wanted, abs=0.03 if device_file.format == "gguf" else 2e-3)
        assert each.greedy == (seen.argmax(dim=-1).tolist() == given)


def test_nothing_asked_reads_nothing(tmp_path: Path) -> None:
    assert likelihood.of(DeviceFile(path=tmp_path / "no.gguf", format="gguf", scheme=None, home=tmp_path), []) == []
