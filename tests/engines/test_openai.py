"""The engine against a real server, and with a proxy between that answers wrongly."""

import json
import time
from pathlib import Path

import pytest

from arte.errors import EngineError
from arte.generation import Answer, Message, Prompt
from arte.generation.kept_answers import KeptAnswers
from arte.generation.openai import OpenAIEngine, opening
from arte.generation.served import GO_ON, Served
from arte.generation.transformers import TransformersEngine
from arte.recipe_engines import Server
from tests.engines.conftest import RunningServer
from tests.engines.fault_proxy import Fault, proxy

QUESTIONS = [f"Ada has {number} cats and buys {number + 2}. How many cats has she?" for number in range(12)]


def chats(count: int = len(QUESTIONS)) -> list[list[Message]]:
    return [[{"role": "user", "content": question}] for question in QUESTIONS[:count]]


def ask(engine: OpenAIEngine | TransformersEngine, count: int, temperature: float = 0.0) -> list[Answer]:
    prompts = [Prompt(engine.render(chat), seed) for seed, chat in enumerate(chats(count))]
    return engine.generate(prompts, max_tokens=12, temperature=temperature)


def engine_of(
    server: RunningServer, url: str, kept: Path, tokenizer: object = None, requests: int = 4, attempts: int = 6
) -> OpenAIEngine:
    settings = Server(url=url, requests=requests, attempts=attempts, timeout_s=6.0)
    return OpenAIEngine(Served.look(server.model, settings), settings, KeptAnswers(kept), tokenizer)


@pytest.mark.parametrize("rendered_here", [False, True], ids=["chat", "completions"])
def test_greedy_answers_are_those_of_the_engine_in_this_process(
    server: RunningServer, student_engine: TransformersEngine, tmp_path: Path, rendered_here: bool
) -> None:
    tokenizer = student_engine.tokenizer if rendered_here else None
    engine = engine_of(server, server.url, tmp_path / "kept.jsonl", tokenizer)
    found, here = ask(engine, 12), ask(student_engine, 12)
    assert [answer.text for answer in found] == [answer.text for answer in here]
    assert len({answer.text for answer in found}) > 3
    assert [answer.tokens_in for answer in found] == [answer.tokens_in for answer in here]
    assert [(answer.tokens_out, answer.finish) for answer in found] == [(12, "length")] * 12


FAULTS: list[Fault] = ["429", "500", "cut", "malformed", "no_choices", "none", "no_usage", "503", "slow", "429"]


def test_every_row_arrives_once_whatever_the_server_does(
    server: RunningServer, student_engine: TransformersEngine, tmp_path: Path
) -> None:
    with proxy(server.url, FAULTS) as between:
        engine = engine_of(server, between.url, tmp_path / "kept.jsonl")
        found = ask(engine, 12)
        assert [answer.text for answer in found] == [answer.text for answer in ask(student_engine, 12)]
        assert len(between.bodies) == 12  # as many different requests as rows
        faults = sum(fault != "none" for fault in FAULTS)
        assert sum(between.bodies.values()) == 12 + faults == 21
        assert list(between.answered.values()).count(1) == 12
        lines = (tmp_path / "kept.jsonl").read_text().splitlines()
        assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 12
        ask(engine, 12)  # all is kept: nothing is asked
        assert sum(between.bodies.values()) == 21


def test_a_server_that_stays_broken_stops_the_run_and_what_was_answered_is_kept(
    server: RunningServer, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    none: Fault = "none"
    broken: Fault = "500"
    faults = [none] * 5 + [broken] * 40
    with proxy(server.url, faults) as between:
        engine = engine_of(server, between.url, kept, requests=1, attempts=3)
        with pytest.raises(EngineError, match=r"answers 500 \(3 attempts\)\. 5 answers are kept"):
            ask(engine, 12)
        tried = sorted(between.bodies.values(), reverse=True)
        assert tried[0] == 3  # the row that ended it
        assert sum(tried) < 5 + 7 * 3  # rows that wait their turn are not tried any more
    with proxy(server.url, []) as between:
        found = ask(engine_of(server, between.url, kept), 12)
        assert sum(between.bodies.values()) == 12 - 5
        assert all(answer.text for answer in found)


def test_rows_under_way_are_waited_for_and_kept_when_another_fails_for_good(
    server: RunningServer, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    with proxy(server.url, ["other_model", "none", "none", "none"]) as between:
        with pytest.raises(EngineError, match=r"another answers where .* was asked; write teacher.name=another"):
            ask(engine_of(server, between.url, kept, requests=4), 12)
        asked = sum(between.bodies.values())
        assert len(kept.read_text().splitlines()) == asked - 1
        assert 1 < asked < 12


def test_fewer_requests_at_once_while_the_server_is_too_busy(server: RunningServer, tmp_path: Path) -> None:
    with proxy(server.url, ["429"] * 6) as between:
        engine = engine_of(server, between.url, tmp_path / "kept.jsonl", requests=8)
        ask(engine, 12)
        assert 2 <= between.most_under_way <= 8
        assert 1 <= engine.slots.refusals < 6  # those that left together count once
        assert engine.slots.now < 8


def test_waits_as_long_as_the_server_says(server: RunningServer, tmp_path: Path) -> None:
    with proxy(server.url, ["429"]) as between:
        engine = engine_of(server, between.url, tmp_path / "kept.jsonl")
        start = time.monotonic()
        ask(engine, 1)
        assert 0.05 <= time.monotonic() - start < 5.0
        assert list(between.bodies.values()) == [2]


def test_no_server(server: RunningServer, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"http://127.0.0.1:9/v1: no server answers .*vllm serve"):
        engine_of(server, "http://127.0.0.1:9/v1", tmp_path / "kept.jsonl")


def test_the_key_comes_from_the_environment_and_stands_nowhere(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Server(url=server.url, key_variable="ARTE_TEST_KEY")
    with pytest.raises(EngineError, match=r"ARTE_TEST_KEY: this variable is not set"):
        Served.look(server.model, settings)
    monkeypatch.setenv("ARTE_TEST_KEY", "sk-secret-of-a-test")
    with proxy(server.url, []) as between:
        settings = settings.model_copy(update={"url": between.url})
        engine = OpenAIEngine(Served.look(server.model, settings), settings, KeptAnswers(tmp_path / "kept.jsonl"))
        ask(engine, 1)
        assert {name.lower(): value for name, value in between.headers[0].items()}["authorization"] == (
            "Bearer sk-secret-of-a-test"
        )
    assert all(b"sk-secret" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_model_that_is_not_served(server: RunningServer, tmp_path: Path) -> None:
    """This server lists nothing, so it is the request that is refused."""
    engine = engine_of(server._replace(model="no-such-model"), server.url, tmp_path / "kept.jsonl")
    with pytest.raises(EngineError, match=r"refuses a request for no-such-model \(400\).*pinned to"):
        ask(engine, 1)


def test_a_line_that_a_kill_cut_is_asked_again(server: RunningServer, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    ask(engine_of(server, server.url, kept), 3)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-20])
    with proxy(server.url, []) as between:
        ask(engine_of(server, between.url, kept), 3)
        assert sum(between.bodies.values()) == 1
    assert len(kept.read_bytes().splitlines()) == 3


def test_what_an_open_turn_begins_with() -> None:
    asked: Message = {"role": "user", "content": "Write two."}
    turn: Message = {"role": "assistant", "content": "1. Ada"}
    go_on: Message = {"role": "user", "content": GO_ON}
    assert opening([asked, turn]) == opening([asked, turn, go_on]) == "1. Ada"
    assert opening([asked]) == opening([asked, turn, asked]) == opening([]) == ""
