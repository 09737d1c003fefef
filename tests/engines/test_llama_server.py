"""llama-server, llama.cpp's own, beside the model that its file was made from.

The program is no package of ours: ARTE_LLAMA_SERVER, or `llama-server` on the path.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from arte_export import converter, gguf
from arte_export.errors import DownloadFailed

from arte.errors import EngineError
from arte.generation import Message, Prompt
from arte.generation.kept_answers import KeptAnswers
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.recipe_engines import Server
from tests.engines.conftest import free_port, wait_for

PROGRAM = os.environ.get("ARTE_LLAMA_SERVER") or shutil.which("llama-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no llama-server: name one in ARTE_LLAMA_SERVER")
SCHEMA = {
    "type": "object",
    "properties": {"action": {"enum": ["on", "off"]}, "room": {"enum": ["hall", "attic"]}},
    "required": ["action", "room"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def settings(taught: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    try:
        converter.fetch(home)
    except DownloadFailed as error:
        pytest.skip(f"llama.cpp's converter cannot be had: {error}")
    [file] = gguf.export(taught.path, home, ["f32"], "tiny", home)
    port, log = free_port(), home / "log.txt"
    command = [str(PROGRAM), "-m", str(file), "--alias", "taught", "--host", "127.0.0.1", "--port", str(port)]
    command += ["-c", "8192", "-np", "4", "-t", "1"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield Server(url=f"http://127.0.0.1:{port}/v1", requests=4)
        finally:
            process.terminate()


def chats() -> list[list[Message]]:
    """The second of each pair leaves the assistant's turn open, as lists of questions do."""
    asked: list[list[Message]] = []
    for number in range(6):
        question: Message = {"role": "user", "content": f"Ada has {number} cats. How many?"}
        asked += [[question], [question, {"role": "assistant", "content": f"1. Ada has {number}\n2. She"}]]
    return asked


@pytest.mark.parametrize("rendered_here", [False, True], ids=["chat", "completions"])
def test_greedy_answers_are_those_of_transformers(
    settings: Server, taught_engine: TransformersEngine, tmp_path: Path, rendered_here: bool
) -> None:
    served = Served.look("taught", settings)
    assert served.owner == "llamacpp"
    tokenizer = taught_engine.tokenizer if rendered_here else None
    engine = OpenAIEngine(served, settings, KeptAnswers(tmp_path / "kept.jsonl"), tokenizer)
    found = engine.generate([Prompt(engine.render(chat)) for chat in chats()], max_tokens=12, temperature=0.0)
    here = taught_engine.generate(
        [Prompt(taught_engine.render(chat)) for chat in chats()], max_tokens=12, temperature=0.0
    )
    assert [answer.text for answer in found] == [answer.text for answer in here]
    assert [answer.tokens_in for answer in found] == [answer.tokens_in for answer in here]
    assert [answer.finish for answer in found] == [answer.finish for answer in here]
    assert len({answer.text for answer in here}) > 5

    held_to = Prompt(engine.render(chats()[0]), schema=json.dumps(SCHEMA))
    [held] = engine.generate([held_to], max_tokens=60, temperature=1.0)
    assert set(json.loads(held.text)) == {"action", "room"}
    [long] = engine.generate(
        [Prompt(engine.render([{"role": "user", "content": "cat " * 3000}]))], max_tokens=12, temperature=0.0
    )
    assert long.finish == "too_long"


def test_a_seed_gives_the_same_draw_again(settings: Server, taught_engine: TransformersEngine, tmp_path: Path) -> None:
    found = []
    for turn in range(2):
        engine = OpenAIEngine(
            Served.look("taught", settings), settings, KeptAnswers(tmp_path / f"{turn}"), taught_engine.tokenizer
        )
        prompts = [Prompt(engine.render(chat), seed) for seed, chat in enumerate(chats())]
        found.append([answer.text for answer in engine.generate(prompts, max_tokens=12, temperature=1.0)])
    assert sum(one == other for one, other in zip(*found, strict=True)) >= 11
    greedy = engine.generate(prompts, max_tokens=12, temperature=0.0)
    assert sum(one != other.text for one, other in zip(found[0], greedy, strict=True)) >= 3


def test_a_name_that_it_does_not_serve(settings: Server) -> None:
    with pytest.raises(EngineError, match=r"serves no tought; did you mean taught\?"):
        Served.look("tought", settings)
