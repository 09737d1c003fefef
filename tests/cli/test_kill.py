"""Killed with SIGKILL in every stage, the same command goes on, and its rows are those of a run never stopped."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli import command
from tests.cli.command import SMOKE, SmokeRun

KILLER = """
import os, signal, sys
end, left = os.environ["KILL_AT"].rsplit(":", 1)
left = int(left)
def hook(event, arguments):
    global left
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        if os.fsdecode(arguments[0]).endswith(end):
            left -= 1
            if left == 0:
                os.killpg(os.getpgid(0), int(os.environ.get("KILL_WITH", signal.SIGKILL)))
sys.addaudithook(hook)
"""
"""Run by Python at its start: the process signals its own group when it opens such a file for the n-th time."""


OFTEN = "from arte.stages import training; training.CHECKPOINT_SECONDS = 0; from arte.cli import main; main()"
"""The command with a checkpoint after each step: these trainings last seconds."""


class Moment(NamedTuple):
    """In the middle of a stage: where a file of its partial folder is opened for the n-th time."""

    stage: str
    file: str
    opened: int
    left: str
    """A file that an earlier batch, checkpoint or arm must have left behind by then."""


MOMENTS = [
    Moment("elicit", "rationales.jsonl", 2, "questions.jsonl.committed"),  # made, first batch
    Moment("prefer", "scores.jsonl", 2, "baseline.json"),
    Moment("align", "metrics.jsonl", 3, "checkpoints/checkpoint-1/whole"),  # made, first step, second step
    Moment("tailor", "questions.jsonl.committed.tmp", 1, "questions.jsonl"),  # written, and not to be counted yet
    Moment("distill/arte", "metrics.jsonl", 3, "../verified/model/model.safetensors"),
    Moment("evaluate/verified", "replies.jsonl", 3, "../untrained/samples.jsonl"),
]


@pytest.mark.slow
def test_killed_in_every_stage_and_interrupted(smoke_run: SmokeRun, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    run = tmp_path / "run"
    arguments = [*SMOKE, "--out", str(run), "--until", "evaluate"]

    process = command.started(*arguments)
    command.wait_until((run / "elicit.partial").is_dir, process)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run / "elicit").exists()

    for moment in MOMENTS:
        at = {"KILL_AT": f"{moment.stage}.partial/{moment.file}:{moment.opened}", "PYTHONPATH": str(tmp_path)}
        ended = command.run(*arguments, environment=at, program=(sys.executable, "-c", OFTEN))
        assert ended.code == -signal.SIGKILL, (moment, ended)
        partial = run / f"{moment.stage}.partial"
        assert (partial / moment.left).is_file(), (moment, sorted(partial.rglob("*")))
        assert not (run / moment.stage).exists()

    at = {"KILL_AT": "evaluate/arte.partial/replies.jsonl:2", "KILL_WITH": str(int(signal.SIGINT))}
    ended = command.run(*arguments, environment={**at, "PYTHONPATH": str(tmp_path)})
    assert ended.code == 130, ended
    assert ended.err == "arte: interrupted; what is done is kept, and the same command goes on\n"
    assert "Traceback" not in ended.out

    ended = command.done(*arguments)
    assert json.loads((run / "kept.json").read_text()) == [
        *("elicit", "prefer", "align", "tailor", "distill/verified", "distill/arte"),
        *("evaluate/untrained", "evaluate/verified"),
    ]
    assert not list(run.rglob("*.partial"))
    uninterrupted = command.rows(smoke_run.folder)
    assert len(uninterrupted) == 11
    assert command.rows(run) == uninterrupted
    weights = [
        "align/adapter/adapter_model.safetensors",
        *(f"distill/{arm}/model/model.safetensors" for arm in ("verified", "arte")),
    ]
    for file in weights:
        assert (run / file).read_bytes() == (smoke_run.folder / file).read_bytes(), file
