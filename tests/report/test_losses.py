"""Losses of three arms on four items, worked by hand: what report, page, card and `arte compare` say of them.

item        i0    i1    i2    i3    mean
untrained   3.0   2.0   4.0   3.0   3.0
verified    2.0   2.0   2.0   2.0   2.0
arte        1.5   1.5   2.5   1.5   1.75
"""

from pathlib import Path

import pytest

from arte.errors import DataError
from arte.report import compare_table, terminal, words
from arte.report.card import model_card
from arte.report.gather import gather
from arte.report.html import page
from arte.report.pooling import pooled
from tests.report.conftest import write_json, write_jsonl, write_recipe

LOSSES = {"untrained": [3.0, 2.0, 4.0, 3.0], "verified": [2.0] * 4, "arte": [1.5, 1.5, 2.5, 1.5]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_recipe(tmp_path / "run")
    for arm, losses in LOSSES.items():
        rows = [
            {"id": f"i{place}", "slice": "test", "question": "Why?", "gold": "So.", "text": "No.", "loss": loss,
             "tokens": 10 + place}
            for place, loss in enumerate(losses)
        ]  # fmt: skip
        write_jsonl(tmp_path / "run" / "evaluate" / arm / "samples.jsonl", rows)
    write_json(tmp_path / "run" / "distill" / "arte" / "model" / "config.json", {})
    return tmp_path / "run"


def test_losses_and_their_differences(run: Path) -> None:
    report = gather(run)
    assert report.accuracy == []
    assert report.arms == ["untrained", "verified", "arte"]
    assert [(row.arm, row.slice, row.n, row.tokens, row.loss) for row in report.losses] == [
        ("untrained", "test", 4, 46, 3.0), ("verified", "test", 4, 46, 2.0), ("arte", "test", 4, 46, 1.75),
    ]  # fmt: skip
    assert report.losses[1].ci95 == (2.0, 2.0)
    low, high = report.losses[2].ci95
    assert 1.5 <= low < 1.75 < high <= 2.5
    assert {(row.a, row.b, row.metric): row.difference for row in report.comparisons} == {
        ("arte", "verified", "loss"): -0.25,
        ("arte", "untrained", "loss"): -1.25,
        ("verified", "untrained", "loss"): -1.0,
    }
    gain = report.compared("arte", "untrained", "loss")
    assert gain is not None
    assert words.is_better(gain)
    assert words.chance(gain) == "beyond chance"
    worse = gain.model_copy(update={"difference": 1.25, "ci95": (0.5, 1.5)})
    assert (words.is_better(worse), words.chance(worse)) == (False, "for the worse, beyond chance")


def test_what_is_said_of_them(run: Path) -> None:
    report = gather(run)
    said = words.sentence(report)
    assert "arte has a loss of 1.750 nats a token on the gold replies (95 % interval 1.500 to" in said
    assert "where the untrained student has 3.000: −1.250 nats (95 % interval −1.500 to" in said
    assert "Alignment itself (arte − verified): −0.250 nats (−0.500 to 0.250), which chance alone could give." in said
    for text in (page(report), model_card(report) or "", "\n".join(map(str, words.limitations(report)))):
        assert "accura" not in text.lower()
        assert "strict-match" not in text.lower()
    assert "<h2>Loss by arm</h2>" in page(report)
    assert "arte − untrained" in page(report)
    assert "| arte | All test problems | 4 | 1.750 |" in (model_card(report) or "")
    assert [column.header for column in terminal.table(report).columns][1:3] == ["loss\nnats/tok", "95 %"]


def test_arms_are_compared_by_their_losses(run: Path) -> None:
    [test] = pooled([run])
    assert (test.metric, [(row.arm, row.loss, row.accuracy) for row in test.arms]) == (
        "loss",
        [("untrained", 3.0, None), ("verified", 2.0, None), ("arte", 1.75, None)],
    )
    said = "\n".join(compare_table.lines([test]))
    assert "All test problems: 4 items, 1 seed, loss (nats a token of the gold replies)" in said
    assert "  arte         1.750  (1.500 to" in said
    assert "  shown: arte has a lower loss than untrained, by 1.250 nats" in said
    assert "  open: arte and verified (−0.250 nats)" in said
    assert "accura" not in said


def test_a_sample_with_neither_is_named(run: Path) -> None:
    write_jsonl(run / "evaluate" / "arte" / "samples.jsonl", [{"id": "i0", "slice": "test", "text": "No."}])
    with pytest.raises(DataError, match=r"samples.jsonl: entry 1: .*strict_correct and flexible_correct missing, "):
        gather(run)


def test_means_over_tasks_weigh_them_alike(run: Path) -> None:
    """i0 to i2 are of one task and i3 of another: of arte (1.5 + 1.5 + 2.5) / 3 and 1.5."""
    for arm, losses in LOSSES.items():
        rows = [
            {"task": "b" if place == 3 else "a", "id": f"i{place}", "slice": "test", "loss": loss, "tokens": 10}
            for place, loss in enumerate(losses)
        ]
        write_jsonl(run / "evaluate" / arm / "samples.jsonl", rows)
    report = gather(run)
    assert report.averages == []
    mean = report.lost("arte", "mean of tasks")
    assert mean is not None
    assert (mean.n, mean.tokens) == (4, 40)
    assert mean.loss == pytest.approx((5.5 / 3 + 1.5) / 2)
    assert 1.5 <= mean.ci95[0] < mean.loss < mean.ci95[1] <= 2.0
    gain = report.compared("arte", "untrained", "loss", "mean of tasks")
    assert gain is not None
    assert gain.difference == pytest.approx((5.5 / 3 + 1.5) / 2 - 3.0)
    assert "Each of its tasks weighed alike (mean of tasks): arte 1.667, untrained 3.000; −1.333 nats (" in (
        words.sentence(report)
    )
    assert [(row.slice, row.loss) for row in report.losses if row.arm == "arte" and row.slice.startswith("task=")] == [
        ("task=a", pytest.approx(5.5 / 3)), ("task=b", 1.5),
    ]  # fmt: skip
    test, mean_of_tasks = pooled([run])
    assert (test.slice, mean_of_tasks.slice, mean_of_tasks.metric) == ("test", "mean of tasks", "loss")
    assert mean_of_tasks.arms[-1].loss == pytest.approx((5.5 / 3 + 1.5) / 2)
    assert "mean of tasks: 4 items, 1 seed, loss" in "\n".join(compare_table.lines([mean_of_tasks]))
