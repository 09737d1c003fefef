"""Ray Data with two workers on this machine."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import ray

from arte import models
from arte.errors import EngineError
from arte.generation import Answer, Continuation, Message, Prompt
from arte.generation.fanned import FannedEngine
from arte.generation.transformers import TransformersEngine
from arte.ledger import calls_of
from arte.models import ModelFolder
from arte.recipe_engines import Ray
from arte.rows import Rationale, Score, read_rows
from tests.cli import command
from tests.cli.command import SMOKE

TWO = Ray(workers=2, cpus=1)


@pytest.fixture(scope="module", autouse=True)
def _two_cores() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Dying:
    """An engine whose process is killed once, in its second call of all that come, by whichever worker has it."""

    def __init__(self, folder: Path, marks: Path) -> None:
        self.engine = TransformersEngine(*models.load(folder, "float32", "cpu"))
        self.marks = marks

    def render(self, messages: list[Message]) -> str:
        return self.engine.render(messages)

    def generate(self, prompts: list[Prompt], **sampling: object) -> list[Answer]:
        (self.marks / f"{os.getpid()}-{prompts[0].seed}").touch()
        if len(list(self.marks.glob("*-*"))) >= 2:
            try:
                (self.marks / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.engine.generate(prompts, **sampling)  # type: ignore[arg-type]


def in_worker(folder: Path) -> TransformersEngine:
    return TransformersEngine(*models.load(folder, "float32", "cpu"))


def failing() -> TransformersEngine:
    raise EngineError("no such engine on this worker")


def fanned(make: Callable[[], object], here: TransformersEngine) -> FannedEngine:
    return FannedEngine(make, here.render, TWO)


def prompts(here: TransformersEngine, count: int = 20) -> list[Prompt]:
    chats: list[list[Message]] = [[{"role": "user", "content": f"Ada has {number} cats."}] for number in range(count)]
    return [Prompt(here.render(chat), seed) for seed, chat in enumerate(chats)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_those_of_one_engine_in_their_order(
    tiny_student: ModelFolder, student_engine: TransformersEngine, temperature: float
) -> None:
    engine = fanned(partial(in_worker, tiny_student.path), student_engine)
    asked = prompts(student_engine)
    found = engine.generate(asked, max_tokens=8, temperature=temperature, stop=("zz",))
    here = student_engine.generate(asked, max_tokens=8, temperature=temperature, stop=("zz",))
    same = sum(one == other for one, other in zip(found, here, strict=True))
    assert same >= 19  # a draw next to a boundary may fall to the other side in another batch
    assert len({answer.text for answer in found}) > 10
    assert engine.generate([], max_tokens=8, temperature=temperature) == []


def test_log_probabilities(tiny_student: ModelFolder, student_engine: TransformersEngine) -> None:
    engine = fanned(partial(in_worker, tiny_student.path), student_engine)
    asked = [Continuation(f"Ada has {number}", " cats and " * (1 + number % 3), number % 4) for number in range(12)]
    found, here = engine.logprobs(asked), student_engine.logprobs(asked)
    assert [one.tokens_in for one in found] == [one.tokens_in for one in here]
    for one, other in zip(found, here, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_killed_worker_loses_no_row_and_doubles_none(
    tiny_student: ModelFolder, student_engine: TransformersEngine, tmp_path: Path
) -> None:
    engine = fanned(partial(Dying, tiny_student.path, tmp_path), student_engine)
    asked = prompts(student_engine)
    found = engine.generate(asked, max_tokens=8, temperature=0.0)
    assert (tmp_path / "killed").exists()
    workers = {path.name.partition("-")[0] for path in tmp_path.glob("*-*")}
    assert len(workers) >= 2
    assert [one.text for one in found] == [
        one.text for one in student_engine.generate(asked, max_tokens=8, temperature=0.0)
    ]


def test_an_engine_that_cannot_be_made_is_an_error(student_engine: TransformersEngine) -> None:
    with pytest.raises(EngineError, match=r"a worker failed: arte.errors.EngineError: no such engine on this worker"):
        fanned(failing, student_engine).generate(prompts(student_engine, 2), max_tokens=8, temperature=0.0)


@pytest.mark.slow
def test_a_run_with_two_workers(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ("ray.workers=2", "elicit.batch_size=64", "prefer.drafts_at_once=100")
    ended = command.run(*SMOKE, "--until", "prefer", "--out", str(out), *settings)
    assert ended.code == 0, ended
    rationales = read_rows(out / "elicit" / "rationales.jsonl", Rationale)
    assert len({row.question_id for row in rationales if row.check.accepted}) >= 4
    scored = read_rows(out / "prefer" / "scores.jsonl", Score)
    accepted = [row.id for row in rationales if row.check.accepted]
    assert [row.rationale_id for row in scored] == [name for name in accepted for _ in range(4)]
    calls = calls_of(out)
    assert {call.stage for call in calls} == {"elicit", "prefer"}
    assert sum(call.requests for call in calls if call.stage == "prefer") == len(scored) + 4  # and with no draft
