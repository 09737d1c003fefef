"""onnx-optimum: the traced and rounded model is the torch model, and both its consumers load and generate from it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from arte_export import child, environment, onnx_optimum, optimum_env
from arte_export.answers import Answers
from arte_export.errors import BadModel, ExportError
from arte_export.strings import test_strings as make_strings
from arte_export.vocabulary import Conversation

from tests.export import inside, optimum

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
PROMPTS = [
    "<|im_start|>user\nAna has 12 apples<|im_end|>\n<|im_start|>assistant\n",
    "how many",
    "<|im_start|>user\nFive boxes hold 10 pens each, 5 * 10 is what? " + "pens " * 30 + "<|im_end|>\n",
    "#### 15",
    "question answer",
]


class Exported(NamedTuple):
    source: Path
    folder: Path
    home: Path


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny Llama with another RoPE than the default one, exported over what a killed export had left."""
    home = optimum.optimum_home()
    source = tmp_path_factory.mktemp("optimum") / "source"
    shutil.copytree(tiny_model, source)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (source / "config.json").write_text(json.dumps(config | {"rope_parameters": LLAMA3}), encoding="utf-8")
    out = source.parent / "exported"
    for left in (".exported.partial", ".exported.work", "exported"):
        (source.parent / left).mkdir()
        (source.parent / left / "old").touch()
    told: list[tuple[int, int]] = []
    made = onnx_optimum.export(source, out, home, progress=lambda done, total: told.append((done, total)))
    assert made == out
    assert told == [(1, 5), (2, 5), (3, 5), (5, 5)]
    assert sorted(entry.name for entry in source.parent.iterdir()) == ["exported", "source"]
    return Exported(source, out, home)


@pytest.fixture(scope="module")
def answered(exported: Exported) -> Answers:
    told: list[tuple[int, int]] = []
    made = onnx_optimum.answers(
        exported.folder, exported.home, PROMPTS, 24, parallel=3, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(3, 5), (5, 5)]
    return made


def run_inside(call: "partial[Any]", home: Path) -> Any:
    return child.run(call, holding=home, limit_s=120, path=[inside.ROOT], python=environment.python(home)).result


def torch_logits(folder: Path, ids: list[int], theta: float | None = None) -> np.ndarray[Any, Any]:
    """Shape (tokens, vocabulary), in float32 by transformers 5; with a default RoPE of base `theta` if given."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(folder))
    if theta is not None:
        config.rope_parameters = {"rope_type": "default", "rope_theta": theta}
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), config=config, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits: np.ndarray[Any, Any] = model(torch.tensor([ids])).logits[0].numpy()
    return logits


def mean_kl(reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Of the distributions that two logits of shape (tokens, vocabulary) give, in nats."""
    logs = [
        array - np.logaddexp.reduce(array.astype(np.float64), axis=1, keepdims=True) for array in (reference, other)
    ]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=1).mean())


def test_the_layout_that_both_consumers_read(exported: Exported) -> None:
    files = sorted(str(file.relative_to(exported.folder)) for file in exported.folder.rglob("*") if file.is_file())
    assert files == [
        "chat_template.jinja", "config.json", "generation_config.json", "onnx/model_quantized.onnx",
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    config = json.loads((exported.folder / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == 500000.0
    assert config["rope_scaling"]["factor"] == 8.0
    assert config["transformers.js_config"] == {"dtype": "q8", "use_external_data_format": {"model_quantized.onnx": 0}}
    # 8 bits, and a scale of 32 a block of 32: 1.125 bytes a parameter; the tied embedding is there once
    tokens = config["vocab_size"]
    parameters = sum(
        np.prod(shape) for shape in [(tokens, 64), *[(64, 64), (32, 64), (32, 64), (64, 64)] * 2, *[(128, 64)] * 6]
    )
    size = (exported.folder / optimum_env.GRAPH).stat().st_size
    assert 1.125 * parameters < size < 1.125 * parameters + 150_000  # the nodes of the graph, whatever the model's size


def test_the_graph_computes_what_torch_does(exported: Exported) -> None:
    ids = [3 + (7 * place) % 350 for place in range(80)]
    call = partial(inside.graph_logits, exported.folder / "onnx" / "model_quantized.onnx", ids)
    found = np.array(run_inside(call, exported.home), np.float32)
    reference = torch_logits(exported.source, ids)
    assert found.shape == reference.shape == (80, reference.shape[1])
    assert mean_kl(reference, found) < 0.02
    assert float((reference.argmax(1) == found.argmax(1)).mean()) > 0.9
    # what a lost RoPE would do to this model, so that the bound above would see it
    assert mean_kl(reference, torch_logits(exported.source, ids, theta=10000.0)) > 0.2
    assert mean_kl(reference, torch_logits(exported.source, ids, theta=500000.0)) > 0.1


def test_answers_are_those_of_generate_alone_and_in_a_batch(exported: Exported, answered: Answers) -> None:
    expected: list[list[int]] = run_inside(partial(inside.generated, exported.folder, PROMPTS, 24), exported.home)
    assert answered.token_ids == expected
    assert answered.tokens_out == sum(map(len, expected)) > 60
    assert answered.tokens_in == 78
    assert answered.peak_rss_bytes is not None
    assert answered.peak_rss_bytes > 10**7
    assert onnx_optimum.answers(exported.folder, exported.home, PROMPTS, 24, parallel=32).token_ids == expected


def test_an_answer_ends_with_a_stop_string_or_the_context(exported: Exported, answered: Answers) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(exported.source))
    text = answered.texts[1]
    assert text == tokenizer.decode(answered.token_ids[1], skip_special_tokens=True)
    assert len(text) > 6
    stop = text[4:6]
    at = text.find(stop)
    long = "a" * 637  # a token each, of 640 that the model was trained for
    assert len(tokenizer(long, add_special_tokens=False)["input_ids"]) == 637
    stopped = onnx_optimum.answers(exported.folder, exported.home, [PROMPTS[1], long], 24, stop=[stop])
    assert stopped.texts[0] == text[:at]
    made = stopped.token_ids[0]
    assert made == answered.token_ids[1][: len(made)]
    assert stop in tokenizer.decode(made, skip_special_tokens=True)
    assert stop not in tokenizer.decode(made[:-1], skip_special_tokens=True)
    assert len(stopped.token_ids[1]) <= 3
    with pytest.raises(ExportError, match="prompt 1 has 0 tokens; expected 1 to 639"):
        onnx_optimum.answers(exported.folder, exported.home, ["a", ""], 4)


def test_the_tokenizer_and_template_are_the_same_in_transformers_4(exported: Exported) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(exported.source))
    strings = make_strings(1000)
    asked: list[tuple[list[dict[str, str]], bool]] = [
        ([{"role": "user", "content": "Hi"}], True),
        ([{"role": "system", "content": "Short."}, {"role": "user", "content": "a\n b "}], False),
        ([{"role": "user"}], True),  # its template adds text to the missing content
    ]
    chats = [Conversation(messages=messages, generation_prompt=opened) for messages, opened in asked]
    found = onnx_optimum.vocabulary(exported.folder, exported.home, strings, chats)
    assert found.token_ids == [tokenizer(text, add_special_tokens=False)["input_ids"] for text in strings]
    assert len(found.token_ids) == 1000
    assert found.rendered == [
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nShort.<|im_end|>\n<|im_start|>user\na\n b <|im_end|>\n",
        None,
    ]
    assert found.chat_template == tokenizer.chat_template
    assert found.tokens == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert (found.control, found.added) == ([0, 1, 2], [])
    assert (found.bos, found.eos, found.pad, found.ends, found.adds_bos) == (1, 2, 0, [2], False)


def test_transformers_js_generates_the_same(exported: Exported, answered: Answers) -> None:
    packages = optimum.transformers_js()
    messages = [{"role": "user", "content": "Ana has 12 apples"}]
    request = {"prompts": PROMPTS, "max_tokens": 24, "messages": messages}
    script = Path(__file__).with_name("transformers_js.mjs")
    done = subprocess.run(
        ["node", str(script), str(packages), str(exported.folder), json.dumps(request)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ids"] == answered.token_ids
    assert found["texts"] == answered.texts
    assert found["rendered"] == PROMPTS[0]
    assert len(found["ids"]) == 5


def test_a_killed_export_leaves_no_folder(tiny_model: Path, tmp_path: Path) -> None:
    home = optimum.optimum_home()
    code = "import sys; from pathlib import Path; from arte_export import onnx_optimum; "
    code += "onnx_optimum.export(*map(Path, sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_model), str(tmp_path / "out"), str(home)],
        env=os.environ | {"PYTHONPATH": str(Path(onnx_optimum.__file__).parents[1])},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / ".out.work" / "model" / "config.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_said_before(tiny_model: Path, tmp_path: Path) -> None:
    home = optimum.optimum_home()
    with pytest.raises(ExportError, match=r"no precision 'int4' \(known: int8\)"):
        onnx_optimum.export(tiny_model, tmp_path / "out", home, precision="int4")
    with pytest.raises(ExportError, match="arte doctor --install optimum"):
        onnx_optimum.export(tiny_model, tmp_path / "out", tmp_path / "no-home")
    with pytest.raises(BadModel, match="no such folder"):
        onnx_optimum.export(tmp_path / "nothing", tmp_path / "out", home)
    assert list(tmp_path.iterdir()) == []


def test_what_the_environment_cannot_read_is_refused_there(tiny_model: Path, tmp_path: Path) -> None:
    """An architecture that optimum-onnx lacks, and weights that transformers 4 would fill with noise."""
    from safetensors.numpy import load_file, save_file

    python = environment.python(optimum.optimum_home())
    for name in ("unknown", "lacking"):
        shutil.copytree(tiny_model, tmp_path / name)
    config = tmp_path / "unknown" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"llama"', '"lfm2"'), encoding="utf-8")
    tensors = load_file(tmp_path / "lacking" / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    for name, said in (
        ("unknown", r"no exporter for the architecture 'lfm2'; export to onnx or gguf .*llama"),
        ("lacking", r"other weights than this folder holds: missing_keys .*layers\.1\.mlp\.up_proj"),
    ):
        call = partial(optimum_env.export, tmp_path / name, tmp_path / "work", tmp_path / "out")
        with pytest.raises(BadModel, match=said):
            child.run(call, holding=tmp_path / name, limit_s=120, python=python)


def test_a_file_cut_short_is_one_clear_error(exported: Exported, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(exported.folder, broken)
    graph = broken / "onnx" / "model_quantized.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    with pytest.raises(BadModel, match=r"onnxruntime cannot load this file .* make or fetch it again"):
        onnx_optimum.answers(broken, exported.home, ["a"], 2)
    graph.unlink()
    with pytest.raises(BadModel, match="expected the folder of an onnx-optimum export"):
        onnx_optimum.answers(broken, exported.home, ["a"], 2)
