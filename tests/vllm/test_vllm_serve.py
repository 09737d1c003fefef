"""`vllm serve` on loopback, asked by the engine for servers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from arte import models
from arte.errors import EngineError
from arte.generation import Answer, Message, Prompt
from arte.generation.kept_answers import KeptAnswers
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.generation.transformers import TransformersEngine
from arte.generation.vllm import HELD
from arte.recipe import Teacher
from arte.recipe_engines import Server
from arte.served_teacher import served_teacher
from arte.stages.align import merge_adapter

NAME, KEY, KEY_VARIABLE = "tiny", "sk-of-a-test", "ARTE_TEST_VLLM_KEY"


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    # What `vllm serve` starts; the CPU build's own command looks for a package of another name.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder), "--served-model-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "1024"]
    command += ["--enforce-eager", "--gpu-memory-utilization", "0.1", "--api-key", KEY]
    command += ["--enable-lora", "--max-lora-rank", "8", "--structured-outputs-config", json.dumps(HELD)]
    environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"vllm serve did not come up: {log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def settings(url: str) -> Server:
    return Server(url=url, key_variable=KEY_VARIABLE, requests=8)


def engine_of(url: str, kept: Path, tokenizer: object = None) -> OpenAIEngine:
    return OpenAIEngine(Served.look(NAME, settings(url)), settings(url), KeptAnswers(kept), tokenizer)


def chats() -> list[list[Message]]:
    """The second of each pair leaves the assistant's turn open, as lists of questions do."""
    asked: list[list[Message]] = []
    for number in range(6):
        question: Message = {"role": "user", "content": f"Ada has {number} cats. How many?"}
        asked += [[question], [question, {"role": "assistant", "content": f"1. Ada has {number}\n2. She"}]]
    return asked


def ask(engine: OpenAIEngine | TransformersEngine) -> list[Answer]:
    prompts = [Prompt(engine.render(chat), seed) for seed, chat in enumerate(chats())]
    return engine.generate(prompts, max_tokens=12, temperature=0.0)


@pytest.mark.parametrize("rendered_here", [False, True], ids=["chat", "completions"])
def test_greedy_answers_are_those_of_transformers(
    url: str, here: TransformersEngine, tmp_path: Path, rendered_here: bool
) -> None:
    engine = engine_of(url, tmp_path / "kept.jsonl", here.tokenizer if rendered_here else None)
    found = ask(engine)
    assert found == ask(here)
    assert len({answer.text for answer in found}) > 6
    assert engine.served.takes_adapters


@pytest.mark.parametrize("rendered_here", [False, True], ids=["chat", "completions"])
def test_answers_are_held_to_a_schema(url: str, here: TransformersEngine, tmp_path: Path, rendered_here: bool) -> None:
    engine = engine_of(url, tmp_path / "kept.jsonl", here.tokenizer if rendered_here else None)
    schema = '{"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "maxProperties": 1}'
    prompts = [Prompt(engine.render(chat), seed, schema=schema) for seed, chat in enumerate(chats()[::2])]
    held = engine.generate(prompts, max_tokens=30, temperature=0.0)
    assert len(held) == 6
    assert all(json.loads(answer.text) in ({"on": True}, {"on": False}) for answer in held)


def test_an_aligned_teacher_is_loaded_while_the_server_runs(
    url: str, folder: Path, adapter: Path, tmp_path: Path
) -> None:
    weights = models.resolve(Teacher(name=str(folder)))
    teacher = Teacher(name=NAME, engine="openai", weights=str(folder), server=settings(url))
    for turn in range(2):  # the second time the server holds it already
        engine = served_teacher(teacher, weights, KeptAnswers(tmp_path / f"kept-{turn}.jsonl"), adapter)
        assert engine is not None
        model, tokenizer = models.load(folder, "float32", "cpu")
        merged = TransformersEngine(merge_adapter(model, adapter), tokenizer)
        found = ask(engine)
        assert sum(one == other for one, other in zip(found, ask(merged), strict=True)) >= 11
    plain = ask(TransformersEngine(*models.load(folder, "float32", "cpu")))
    assert sum(one.text != other.text for one, other in zip(found, plain, strict=True)) >= 10


def test_an_adapter_that_the_server_refuses(url: str, adapter: Path, tmp_path: Path) -> None:
    broken = tmp_path / "adapter"
    broken.mkdir()
    for file in adapter.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "adapter_model.safetensors").write_bytes(b"no tensors")
    served = Served.look(NAME, settings(url))
    with pytest.raises(EngineError, match=r"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve tiny --enable-lora .* 4,"):
        served.load_adapter(broken, settings(url))


def test_it_is_asked_beforehand_whether_it_loads_adapters(url: str) -> None:
    served = Served.look(NAME, settings(url))
    served.require_adapters(settings(url), 8)
    elsewhere = served._replace(url=f"{url}/elsewhere")  # where nothing is
    with pytest.raises(EngineError, match=r"loads no adapter while it runs.* vllm serve tiny --enable-lora"):
        elsewhere.require_adapters(settings(url), 8)


def test_a_prompt_that_is_too_long_falls_out_alone(url: str, tmp_path: Path) -> None:
    engine = engine_of(url, tmp_path / "kept.jsonl")
    asked = [[*chats()[0]], [{"role": "user", "content": "cat " * 3000}], [*chats()[2]]]
    found = engine.generate([Prompt(engine.render(chat)) for chat in asked], max_tokens=12, temperature=0.0)
    assert [answer.finish == "too_long" for answer in found] == [False, True, False]


def test_a_model_that_is_not_served_and_a_wrong_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"serves no tinny; did you mean tiny\? \(teacher.name; it serves .*tiny"):
        Served.look("tinny", settings(url))
    with pytest.raises(EngineError, match=r"no key was sent \(401\)\. Put the key into an environment variable"):
        Served.look(NAME, settings(url).model_copy(update={"key_variable": None}))
    monkeypatch.setenv(KEY_VARIABLE, "sk-wrong")
    with pytest.raises(EngineError, match=rf"it refuses the key in {KEY_VARIABLE} \(401\)") as caught:
        Served.look(NAME, settings(url))
    assert "sk-wrong" not in str(caught.value)
