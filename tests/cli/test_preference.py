"""Scores and probes other than the smoke recipe's, through the command line."""

import json
from pathlib import Path

import pytest

from tests.cli import command
from tests.cli.command import SMOKE

CHOSEN = ("task.validation=8", "prefer.probes=irt")


def values(run: Path) -> dict[str, list[float]]:
    """Of each probe, in the order of the drafts."""
    found: dict[str, list[float]] = {}
    for line in (run / "prefer" / "scores.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["probe_id"], []).append(row["value"])
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("taught")
def test_scores_and_chosen_probes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    by_score = {}
    for score in ("influence", "influence_first_order", "likelihood", "rank_surprisal", "icl_accuracy"):
        done = command.run(*SMOKE, f"prefer.score={score}", *CHOSEN, "--until", "prefer", "--out", str(run))
        # Random weights answer nothing, so that exact match tells no draft from another.
        assert (done.code, done.err == "") == ((1, False) if score == "icl_accuracy" else (0, True)), done
        if score == "icl_accuracy":
            assert "all are worth the same" in done.err
            break
        by_score[score] = values(run)
        probes = json.loads((run / "prefer-probes" / "probes.json").read_text(encoding="utf-8"))
        assert probes["respondents"] == 8  # student and teacher, each with 0 to 3 examples
        chosen = [item["id"] for item in probes["items"] if item["chosen"]]
        assert (len(probes["items"]), len(chosen)) == (8, 4)
        asks = score.startswith("influence")
        assert list(by_score[score]) == (chosen if asks else ["draft"])
    assert len(by_score) == 4
    drafts = {len(row) for table in by_score.values() for row in table.values()}
    assert len(drafts) == 1
    # One step at the recipe's rate is small: the gradients say nearly the same of it.
    pairs = [
        pair
        for probe, exact in by_score["influence"].items()
        for pair in zip(exact, by_score["influence_first_order"][probe], strict=True)
    ]
    size = max(abs(exact) for exact, _ in pairs)
    assert all(abs(exact - near) < 0.2 * size for exact, near in pairs)
    assert all(value < 0 for table in ("likelihood", "rank_surprisal") for value in by_score[table]["draft"])
