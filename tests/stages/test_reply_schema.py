"""Replies that are JSON alone: what the teacher is held to while it answers, and that it is read all the same."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arte import tasks
from arte.generation import Answer, Prompt
from arte.recipe import Elicit
from arte.recipe import Task as TaskSettings
from arte.rows import Rationale, read_rows
from arte.stages.elicit import elicit
from arte.workspace import StageFolder
from tests.stages.scripted import ScriptedEngine

SMART_HOME = Path(__file__).parents[2] / "docs" / "examples" / "smart-home"
ON = '{"action": "on", "device": "light", "room": "kitchen"}'


class Listening(ScriptedEngine):
    """Notes what it is held to, by whether a list of questions or an answer is asked for."""

    def __init__(self, answer: str) -> None:
        super().__init__(
            lambda prompt, seed: f" make it {seed} bright\nAnswer: {ON}" if "Example" in prompt else answer
        )
        self.held: dict[bool, set[str | None]] = {True: set(), False: set()}

    def generate(self, prompts: Sequence[Prompt], **settings: Any) -> list[Answer]:
        for prompt in prompts:
            self.held["Example" in prompt.text].add(prompt.schema)
        return super().generate(prompts, **settings)


@pytest.mark.parametrize(("answer", "accepted"), [(ON, True), (ON.replace("kitchen", "moon"), False)])
def test_answers_are_held_to_the_schema_and_read_all_the_same(tmp_path: Path, answer: str, accepted: bool) -> None:
    task = tasks.load(str(SMART_HOME))
    schema = json.loads(task.reply_schema or "")
    assert schema["properties"]["room"]["enum"][0] == "kitchen"
    splits = task.splits(TaskSettings(name=str(SMART_HOME), seeds=8, probes=2), 0)
    engine = Listening(answer)
    settings = Elicit(questions=2, attempts=2, seeds_per_prompt=2, questions_per_prompt=1, batch_size=4)
    elicit(
        StageFolder(tmp_path, False), engine, task, splits.seeds, [], settings,
        styles=["brief", "steps"], explained=None, rationale_temperature=1.0, seed=0,
    )  # fmt: skip
    assert engine.held == {True: {None}, False: {task.reply_schema}}
    rows = [row for row in read_rows(tmp_path / "rationales.jsonl", Rationale) if row.style != "drafted"]
    assert {(row.answer is not None) for row in rows} == {accepted}


def test_where_a_solution_comes_first_nothing_is_held() -> None:
    assert tasks.load("starter").reply_schema is None
    assert tasks.load("bbh/snarks").reply_schema is None
