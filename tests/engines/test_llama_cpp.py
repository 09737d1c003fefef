"""llama.cpp's answers beside those of the model that its file was made from."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from arte_export import converter, generate, gguf
from arte_export.errors import DownloadFailed, ExportError

from arte.errors import EngineError
from arte.generation import Prompt
from arte.generation.kept_answers import KeptAnswers
from arte.generation.llama_cpp import LlamaCppEngine
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.recipe_engines import LlamaCpp, Server
from tests.cli import command
from tests.cli.command import SMOKE
from tests.engines.conftest import free_port, wait_for

SETTINGS = LlamaCpp(parallel=4, threads=1)
COMMAND = {
    "type": "object",
    "properties": {"action": {"enum": ["on", "off"]}, "room": {"enum": ["hall", "attic"]}},
    "required": ["action", "room"],
    "additionalProperties": False,
}
"""A JSON Schema with four values."""


@pytest.fixture(scope="module")
def llama(
    taught: ModelFolder, taught_engine: TransformersEngine, tmp_path_factory: pytest.TempPathFactory
) -> LlamaCppEngine:
    home = tmp_path_factory.mktemp("home")
    try:
        converter.fetch(home)
    except DownloadFailed as error:
        pytest.skip(f"llama.cpp's converter cannot be had: {error}")
    [file] = gguf.export(taught.path, home, ["f32"], "tiny", home)
    return LlamaCppEngine(file, taught_engine.tokenizer, SETTINGS, 8192)


def prompts(engine: TransformersEngine | LlamaCppEngine, count: int) -> list[Prompt]:
    chats = [[{"role": "user", "content": f"Ada has {number} cats. How many?"}] for number in range(count)]
    return [Prompt(engine.render(chat), seed) for seed, chat in enumerate(chats)]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_answers_are_those_of_transformers_with_the_same_seeds(
    llama: LlamaCppEngine, taught_engine: TransformersEngine, temperature: float
) -> None:
    asked = prompts(llama, 10)
    found = llama.generate(asked, max_tokens=40, temperature=temperature, top_p=0.9)
    here = taught_engine.generate(asked, max_tokens=40, temperature=temperature, top_p=0.9)
    same = sum(one == other for one, other in zip(found, here, strict=True))
    # A draw next to a boundary may fall to the other side: sums round differently in the two.
    assert same == 10 if temperature == 0 else same >= 8
    assert len({answer.text for answer in found}) > 5
    assert {answer.finish for answer in found} == {"stop", "length"}


def test_a_seed_gives_the_same_draw_in_any_company(llama: LlamaCppEngine) -> None:
    asked = prompts(llama, 6)
    together = llama.generate(asked, max_tokens=8, temperature=1.0)
    backwards = llama.generate(asked[::-1], max_tokens=8, temperature=1.0)[::-1]
    assert sum(one.text == other.text for one, other in zip(together, backwards, strict=True)) >= 5
    other_seeds = [prompt._replace(seed=prompt.seed + 100) for prompt in asked]
    elsewhere = llama.generate(other_seeds, max_tokens=8, temperature=1.0)
    assert sum(one.text != other.text for one, other in zip(together, elsewhere, strict=True)) >= 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_held_to_a_schema(llama: LlamaCppEngine, temperature: float) -> None:
    """A teacher that was never taught JSON writes nothing else, and the same whatever is asked beside it."""
    asked = prompts(llama, 6)
    free = llama.generate(asked, max_tokens=40, temperature=temperature)
    asked = [prompt._replace(schema=json.dumps(COMMAND)) for prompt in asked]
    held = llama.generate(asked, max_tokens=40, temperature=temperature)
    valid = jsonschema.Draft202012Validator(COMMAND).is_valid
    assert not any(answer.text.startswith("{") for answer in free)
    assert [answer.finish for answer in held] == ["stop"] * 6
    assert all(valid(json.loads(answer.text)) for answer in held)
    backwards = llama.generate(asked[::-1], max_tokens=40, temperature=temperature)[::-1]
    assert sum(one.text == other.text for one, other in zip(held, backwards, strict=True)) >= 5
    if temperature:
        assert len({answer.text for answer in held}) > 1


def test_a_schema_that_no_grammar_can_be_made_of(llama: LlamaCppEngine) -> None:
    with pytest.raises(ExportError, match="makes no grammar of the JSON Schema"):
        llama.generate([Prompt("Ada", schema='{"type": "no such type"}')], max_tokens=4, temperature=0.0)


def test_a_stop_string_ends_an_answer(llama: LlamaCppEngine) -> None:
    [prompt] = prompts(llama, 1)
    [plain] = llama.generate([prompt], max_tokens=12, temperature=0.0)
    stop = plain.text[3:5]
    [stopped] = llama.generate([prompt], max_tokens=12, temperature=0.0, stop=[stop])
    assert (stopped.text, stopped.finish) == (plain.text[: plain.text.index(stop)], "stop")


def test_a_prompt_that_is_too_long_falls_out_alone(llama: LlamaCppEngine) -> None:
    asked = prompts(llama, 2)
    found = llama.generate([asked[0], Prompt("cat " * 9000), asked[1]], max_tokens=4, temperature=0.0)
    assert (found[1].text, found[1].finish) == ("", "too_long")
    assert [found[0], found[2]] == llama.generate(asked, max_tokens=4, temperature=0.0)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """Shares 0.5, 0.3, 0.15, 0.05 and a nucleus of 0.9: what stands before the last is 0.95, so it is never drawn."""
    shares = np.array([0.15, 0.5, 0.05, 0.3])
    drawn = generate.Drawn(temperature=1.0, top_p=0.9, seeds=[0])
    stream = np.random.default_rng(3)
    logits = np.log(shares).astype(np.float32)
    found = Counter(generate.next_token(logits, drawn, stream) for _ in range(20_000))
    assert set(found) == {0, 1, 3}
    for token, share in ((0, 0.15), (1, 0.5), (3, 0.3)):
        assert found[token] / 20_000 == pytest.approx(share / 0.95, abs=0.015)
    assert generate.next_token(logits, None, None) == 1
    assert generate.next_token(logits, generate.Drawn(temperature=0, top_p=1.0, seeds=[0]), stream) == 1


@pytest.fixture(scope="module")
def server(llama: LlamaCppEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama-cpp-python's server of the same file."""
    port, log = free_port(), tmp_path_factory.mktemp("llama") / "log.txt"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(llama.file), "--model_alias", "taught"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048", "--n_threads", "1"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def test_its_server_gives_the_same_answers(server: str, llama: LlamaCppEngine, tmp_path: Path) -> None:
    settings = Server(url=server, requests=4)
    engine = OpenAIEngine(Served.look("taught", settings), settings, KeptAnswers(tmp_path / "kept.jsonl"))
    chats = [[{"role": "user", "content": f"Ada has {number} cats. How many?"}] for number in range(10)]
    found = engine.generate([Prompt(engine.render(chat)) for chat in chats], max_tokens=12, temperature=0.0)
    here = llama.generate(prompts(llama, 10), max_tokens=12, temperature=0.0)
    assert [answer.text for answer in found] == [answer.text for answer in here]
    assert len({answer.text for answer in here}) > 3
    assert [answer.tokens_in for answer in found] == [answer.tokens_in for answer in here]
    held_to = Prompt(engine.render(chats[0]), schema=json.dumps(COMMAND))
    [held] = engine.generate([held_to], max_tokens=40, temperature=0.0)
    assert set(json.loads(held.text)) == {"action", "room"}
    [long] = engine.generate(
        [Prompt(engine.render([{"role": "user", "content": "cat " * 3000}]))], max_tokens=12, temperature=0.0
    )
    assert long.finish == "too_long"
    with pytest.raises(EngineError, match=r"serves no tought; did you mean taught\?"):
        Served.look("tought", settings)


@pytest.mark.slow
def test_a_run_whose_teacher_is_a_gguf_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = command.run(*SMOKE, "--until", "tailor", "--out", str(out), "teacher.engine=llama_cpp")
    assert ended.code == 0, ended
    ledger = (out / "ledger.jsonl").read_text()
    assert '"stage":"elicit","engine":"llama_cpp"' in ledger
    assert '"stage":"tailor","engine":"llama_cpp"' in ledger
    assert not (out / "tailor" / "aligned-teacher").exists()
