"""The whole of a recipe's drafting with its teacher on a server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from arte.ledger import calls_of
from arte.models import ModelFolder
from arte.rows import Question, Rationale, read_rows
from tests.cli import command
from tests.cli.command import SMOKE
from tests.engines.conftest import RunningServer, serve
from tests.engines.fault_proxy import Fault, proxy


@pytest.fixture(scope="module")
def teacher(taught: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(taught.path, tmp_path_factory.mktemp("teacher")) as running:
        yield running


def run_until(stage: str, out: Path, url: str, server: RunningServer, *more: str) -> command.Ended:
    return command.run(
        *SMOKE, "--until", stage, "--out", str(out), "teacher.engine=openai", f"teacher.server.url={url}",
        f"teacher.name={server.model}", "teacher.weights=tiny-taught-teacher", *more,
    )  # fmt: skip


@pytest.mark.slow
def test_drafts_come_from_the_server_and_the_adapter_stays_here(teacher: RunningServer, tmp_path: Path) -> None:
    faults: list[Fault] = ["429", "none", "cut", "500"]
    out = tmp_path / "run"
    with proxy(teacher.url, faults) as between:
        ended = run_until("tailor", out, between.url, teacher, "teacher.server.price_out=1000")
        assert ended.code == 0, ended
        asked = sum(between.bodies.values())
        kept = (out / "elicit" / "answers.jsonl").read_text().splitlines()
        assert len(kept) == len(between.bodies) == asked - 3  # each row once, three were asked again
    assert "tailor: this server takes no adapters, so the aligned teacher drafts here" in ended.out
    drafted = read_rows(out / "elicit" / "questions.jsonl", Question)
    solved = {
        row.question_id for row in read_rows(out / "elicit" / "rationales.jsonl", Rationale) if row.check.accepted
    }
    assert len(drafted) > len(solved) >= 4
    assert (out / "align" / "adapter" / "adapter_model.safetensors").is_file()
    calls = calls_of(out)
    told = {(call.stage, call.engine) for call in calls}
    assert told == {("elicit", "openai"), ("prefer", "transformers"), ("tailor", "transformers")}
    requests = sum(call.requests for call in calls if call.engine == "openai")
    assert requests == len(kept)
    tokens = sum(call.tokens_out for call in calls if call.engine == "openai")
    assert sum(json.loads(line)["tokens_out"] for line in kept) == tokens
    assert sum(call.money for call in calls) == pytest.approx(tokens / 1000)


@pytest.mark.slow
def test_a_limit_stops_the_run_and_a_higher_one_goes_on(teacher: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    low = run_until("elicit", out, teacher.url, teacher, "limits.tokens=4000")
    assert low.code == 1, low
    assert re.search(r"limits.tokens=4000: [\d,]+ are spent, and the next step of elicit may take [\d,]+ more", low.err)
    spent = sum(call.tokens_in + call.tokens_out for call in calls_of(out))
    assert 0 < spent <= 4000
    high = run_until("elicit", out, teacher.url, teacher)
    assert high.code == 0, high
    assert sum(call.tokens_in + call.tokens_out for call in calls_of(out)) > 4000


def test_a_recipe_whose_server_is_not_there(tmp_path: Path) -> None:
    server = RunningServer("http://127.0.0.1:9/v1", "any")
    ended = run_until("elicit", tmp_path / "run", server.url, server)
    assert ended.code == 1
    assert "http://127.0.0.1:9/v1: no server answers" in ended.err
    assert "Traceback" not in ended.err
