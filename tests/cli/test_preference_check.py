"""`arte preference-check` on the drafts of the smoke run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli import command
from tests.cli.command import SmokeRun


@pytest.mark.slow
def test_subsets_are_trained_and_a_second_call_keeps_them(smoke_run: SmokeRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(smoke_run.folder, run)
    asked = (
        "preference-check",
        str(run),
        "--score",
        "likelihood",
        "--score",
        "influence",
        "--size",
        "2",  # twice that is what the smoke run surely has: it asks for four questions with an accepted solution
        "--subsets",
        "2",
    )
    done = command.done(*asked)
    names = {f"{end}-{score}" for end in ("top", "bottom") for score in ("likelihood", "influence")}
    folders = {path.parent.name for path in run.glob("preference-check/*/samples.jsonl")}
    assert folders == names | {"random-0", "random-1", "untrained"}
    assert not list(run.glob("preference-check/*/model"))
    rows = [json.loads(line) for line in (run / "preference-check" / "top-likelihood" / "examples.jsonl").open()]
    assert len(rows) == 2
    assert "accuracy on 16 test items after training on 2 drafts:" in done.out
    table = [line.split()[0] for line in done.out.splitlines() if line.startswith(("  likelihood ", "  influence "))]
    assert sorted(table) == ["influence", "likelihood"]
    again = command.done(*asked)
    assert again.out.count("(kept from before)") == 9
    assert again.out.splitlines()[-5:] == done.out.splitlines()[-5:]

    some = command.done(
        "preference-check", str(run), "--score", "likelihood", "--size", "2", "--subsets", "1", "--drafts", "4"
    )
    assert "after training on 2 drafts:" in some.out
    scored = (run / "preference-check" / "scores-likelihood" / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    ends = [
        {json.loads(line)["id"] for line in (run / "preference-check" / name / "examples.jsonl").open()}
        for name in ("top-likelihood", "bottom-likelihood")
    ]
    assert {json.loads(line)["rationale_id"] for line in scored} == ends[0] | ends[1]  # four drafts, half at each end
    assert len(scored) == 4

    few = command.run("preference-check", str(run), "--size", "500")
    assert few.code == 1
    assert "checked drafts; subsets of 500 need 1000" in few.err
    unknown = command.run("preference-check", str(run), "--score", "icl_logprop")
    assert (unknown.code, "icl_logprob" in unknown.err) == (1, True)
