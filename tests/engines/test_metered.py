"""Every call is in the ledger, once, and none begins that might pass a limit."""

from pathlib import Path

import pytest

from arte.errors import EngineError, LimitReached
from arte.generation import Continuation, Prompt
from arte.generation.kept_answers import KeptAnswers
from arte.generation.metered import Billed, Metered, MeteredScoring
from arte.generation.openai import OpenAIEngine
from arte.generation.served import Served
from arte.generation.transformers import TransformersEngine
from arte.ledger import Ledger
from arte.recipe_engines import Limits, Server
from tests.engines.conftest import RunningServer
from tests.engines.fault_proxy import Fault, proxy

BILLED = Billed("elicit", "transformers", "tiny", 1e-6, 2e-6)


def prompts(count: int) -> list[Prompt]:
    return [Prompt(f"Ada has {number} cats.", number) for number in range(count)]


def test_a_call_is_a_line(student_engine: TransformersEngine, tmp_path: Path) -> None:
    engine = MeteredScoring(student_engine, Ledger(tmp_path, Limits()), BILLED)
    answers = engine.generate(prompts(3), max_tokens=5, temperature=0.0)
    assert answers == student_engine.generate(prompts(3), max_tokens=5, temperature=0.0)
    asked = [Continuation("Ada has 3", " cats."), Continuation("Ada has 4", " dogs now.")]
    assert engine.logprobs(asked) == student_engine.logprobs(asked)
    first, second = engine.ledger.calls
    read = sum(len(student_engine.ids(prompt.text)) for prompt in prompts(3))
    assert (first.requests, first.tokens_in, first.tokens_out) == (3, read, 15)
    assert first.money == pytest.approx((read + 2 * 15) / 1e6)
    given = sum(len(student_engine.ids(each.prompt)) + len(student_engine.ids(each.text)) for each in asked)
    assert (second.requests, second.tokens_in, second.tokens_out) == (2, given, 0)
    assert first.seconds > 0


def test_a_prompt_that_is_too_long_is_counted_and_the_others_are_answered(
    student_engine: TransformersEngine, tmp_path: Path
) -> None:
    engine = Metered(student_engine, Ledger(tmp_path, Limits()), BILLED)
    assert student_engine.longest is not None
    long = Prompt("cat " * (student_engine.longest + 1), 7)
    answers = engine.generate([*prompts(2), long], max_tokens=5, temperature=0.0)
    assert answers[:2] == student_engine.generate(prompts(2), max_tokens=5, temperature=0.0)
    assert (answers[2].text, answers[2].finish) == ("", "too_long")
    [call] = engine.ledger.calls
    assert (call.requests, call.too_long, call.tokens_out) == (3, 1, 10)


def test_stops_before_a_limit_is_passed(student_engine: TransformersEngine, tmp_path: Path) -> None:
    engine = Metered(student_engine, Ledger(tmp_path, Limits(tokens=100)), BILLED)

    def until_it_stops() -> None:
        for _ in range(100):
            engine.generate(prompts(2), max_tokens=5, temperature=0.0)

    with pytest.raises(LimitReached, match=r"limits.tokens=100: .* the same command with a higher limits.tokens"):
        until_it_stops()
    done = len(engine.ledger.calls)
    assert done >= 1
    assert engine.ledger.tokens <= 100
    again = Metered(student_engine, Ledger(tmp_path, Limits(tokens=200)), BILLED)
    again.generate(prompts(2), max_tokens=5, temperature=0.0)
    assert len(again.ledger.calls) == done + 1


def test_answers_before_a_failure_are_counted_and_kept_ones_not_again(server: RunningServer, tmp_path: Path) -> None:
    none: Fault = "none"
    broken: Fault = "500"

    def ask(url: str) -> None:
        settings = Server(url=url, requests=1, attempts=2)
        kept = KeptAnswers(tmp_path / "kept.jsonl")
        served = OpenAIEngine(Served.look(server.model, settings), settings, kept)
        engine = Metered(served, ledger, BILLED, kept)
        texts = [engine.render([{"role": "user", "content": f"{number} cats?"}]) for number in range(6)]
        engine.generate([Prompt(text) for text in texts], max_tokens=4, temperature=0.0)

    ledger = Ledger(tmp_path, Limits())
    with proxy(server.url, [none, none, *[broken] * 20]) as between, pytest.raises(EngineError, match="2 answers"):
        ask(between.url)
    assert [call.requests for call in ledger.calls] == [2]
    ask(server.url)
    assert [call.requests for call in ledger.calls] == [2, 4]
    assert [call.tokens_out for call in ledger.calls] == [2 * 4, 4 * 4]
    ask(server.url)  # all of it is kept: no call at all
    assert len(ledger.calls) == 2
