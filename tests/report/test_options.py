"""A run whose task has options: the likeliest of them in report, page and card, where it was asked."""

import json
from pathlib import Path

from arte.report.card import model_card
from arte.report.gather import gather
from arte.report.html import page
from tests.report.conftest import STRICT, TEST


def score(run: Path) -> None:
    """Of each arm's 10 test items the first 9 have options; as many as were answered rightly are chosen rightly, and
    two more by acc_norm."""
    for arm, (right, _) in STRICT.items():
        path = run / "evaluate" / arm / "samples.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for place, row in enumerate(rows[:9]):
            row |= {"chosen_correct": place < right, "chosen_norm_correct": place < right + 2}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_options_are_counted_where_they_were_asked(run_folder: Path) -> None:
    assert "Acc_norm" not in page(gather(run_folder))
    score(run_folder)
    report = gather(run_folder)
    found = {
        (row.arm, row.metric): (row.correct, row.n)
        for row in report.accuracy
        if row.slice == "test" and row.artefact == "model"
    }
    assert found["untrained", "acc"] == (1, 9)
    assert found["untrained", "acc_norm"] == (3, 9)
    assert found["arte", "acc"] == (8, 9)
    assert found["arte", "strict-match"] == (8, TEST)
    gain = report.compared("arte", "untrained", "acc")
    assert gain is not None
    assert (gain.n, round(gain.difference, 4)) == (9, round(7 / 9, 4))
    html = page(report)
    assert "Acc_norm" in html
    assert "88.9" in html
    card = model_card(report)
    assert card is not None
    assert "| strict-match | 95 % | flexible-extract | acc | acc_norm |" in card
    assert "| arte | model | All test problems | 10 | 80.0 % |" in card
    assert card.count("88.9 % | 100.0 % |") == 1
    assert card.count(" – | – |") >= 3  # unseen items and files have none
