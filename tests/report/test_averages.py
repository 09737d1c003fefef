"""Means over tasks: what weighs how much, and with which interval."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arte import yaml12
from arte.recipe import Recipe, Student, Task, Teacher
from arte.report import compare_table, gather, html, task_table, words
from arte.report.averages import weights
from arte.report.pooling import Weighed, pooled, resampled
from arte.report.statistics import bootstrap_within, wilson
from tests.report.conftest import write_jsonl

RIGHT = {
    "untrained": {
        "navigate": 1,
        "snarks": 2,
        "logical_deduction_three_objects": 0,
        "logical_deduction_five_objects": 0,
    },
    "arte": {"navigate": 6, "snarks": 4, "logical_deduction_three_objects": 8, "logical_deduction_five_objects": 2},
}
"""Of 10 items of each."""
Written = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = Recipe(
        name="bbh", scale="starter", task=Task(name=",".join(f"bbh/{name}" for name in RIGHT["arte"])),
        teacher=Teacher(name="t"), student=Student(name="s"), arms=("untrained", "arte"),
    )  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml12.dump(recipe.model_dump(mode="json")), "utf-8")
    for arm, counts in RIGHT.items():
        rows = [
            {"task": f"bbh/{name}", "id": f"bbh/{name}-{place:04d}", "slice": "test", "strict_correct": place < right,
             "flexible_correct": True}
            for name, right in counts.items() for place in range(10)
        ]  # fmt: skip
        write_jsonl(folder / "evaluate" / arm / "samples.jsonl", rows)
    return folder


def test_the_report_has_tasks_families_and_their_differences(run: Path) -> None:
    report = gather.gather(run)
    found = {(row.arm, row.name): row for row in report.averages if row.metric == "strict-match"}
    logic, bbh = found["arte", "Logic"], found["arte", "BBH"]
    assert logic.accuracy == pytest.approx((0.6 + (0.8 + 0.2) / 2) / 2)
    assert (logic.tasks, logic.n) == (3, 30)
    assert bbh.accuracy == pytest.approx((0.6 + 0.5 + 0.4) / 3)
    # Weights 1/2, 1/4, 1/4 over 10 items each are worth 10 / (1/4 + 1/16 + 1/16) = 26.67 items.
    assert logic.ci95 == pytest.approx(wilson(0.55 * 80 / 3, 80 / 3))
    assert found["untrained", "CommonSense"].accuracy == pytest.approx(0.2)

    assert report.found("arte", slice="task=bbh/navigate").accuracy == 0.6  # type: ignore[union-attr]
    assert report.found("arte").accuracy == 20 / 40  # type: ignore[union-attr]
    gain = report.compared("arte", "untrained", slice="Logic")
    assert gain is not None
    assert gain.difference == pytest.approx(0.55 - 0.05)
    assert gain.test == "paired bootstrap within tasks"
    assert 0 < gain.ci95[0] < gain.difference < gain.ci95[1]
    assert json.loads(report.json_text())["averages"][0]["name"] == "Logic"


def test_compare_has_them_beside_all_items(run: Path) -> None:
    found = {each.slice: each for each in pooled([run])}
    assert list(found) == ["test", "Logic", "CommonSense", "BBH"]
    arms = {row.arm: row for row in found["Logic"].arms}
    assert arms["arte"].accuracy == pytest.approx(0.55)
    assert (arms["arte"].n, arms["arte"].seeds) == (30, 1)
    assert found["BBH"].differences[0].difference == pytest.approx(0.5 - (0.1 + 0 + 0.2) / 3)
    text = "\n".join(compare_table.lines(list(found.values())))
    assert "Logic: 30 items, 1 seed, strict-match" in text


def test_other_tasks_weigh_the_same() -> None:
    assert weights(["gsm8k", "bbh/snarks"]) == {"mean of tasks": {"gsm8k": 0.5, "bbh/snarks": 0.5}}
    assert weights(["gsm8k"]) == weights([]) == {}


def test_items_are_drawn_within_their_part() -> None:
    """Two parts that differ in nothing but their level: the mean has no spread, as it would by drawing from all."""
    assert bootstrap_within([(0.5, [1.0] * 8), (0.5, [0.0] * 2)]).ci95 == (0.5, 0.5)
    values = np.array([[1.0] * 8 + [0.0] * 2])
    parts = [Weighed(0.5, list(range(8))), Weighed(0.5, [8, 9])]
    assert set(resampled(values, parts, resamples=100)) == {0.5}
    # The variance of a weighted sum of means is the sum of their variances by the weights squared.
    mixed = [(0.75, [1.0, 0.0, 0.0, 0.0]), (0.25, [1.0, 1.0, 0.0])]
    low, high = bootstrap_within(mixed, resamples=20_000).ci95
    spread = (0.75**2 * (0.25 * 0.75) / 4 + 0.25**2 * (2 / 9) / 3) ** 0.5
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_page_card_and_sentence_have_the_tasks(run: Path) -> None:
    report = gather.gather(run)
    assert "Each of its tasks weighed alike (BBH): arte 50.0 %, untrained 10.0 %; +40.0 points" in words.sentence(
        report
    )
    found = task_table.table(report)
    assert found is not None
    assert [row[0].text for row in found.rows] == [
        "mean: Logic", "mean: CommonSense", "mean: BBH", *(f"bbh/{name}" for name in RIGHT["arte"]),
    ]  # fmt: skip
    assert [cell.text for cell in found.rows[0]] == ["mean: Logic", "5.0 %", "55.0 %"]
    assert found.rows[0][0].range == "3 tasks, 30 problems"
    assert [cell.text for cell in found.rows[3]] == ["bbh/navigate", "10.0 %", "60.0 %"]
    page = html.page(report)
    assert page.count('<th scope="row">mean: Logic<span class="range">3 tasks, 30 problems</span></th>') == 1
    assert "task=" not in page.replace("task=test", "")
    assert "| mean: BBH (4 tasks, 40 problems) | 10.0 % (" in "\n".join(task_table.markdown(report))
