from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arte import yaml12
from arte.errors import DataError, WorkspaceError
from arte.recipe import Arm, Recipe, Student, Task, Teacher
from arte.report import compare_table
from arte.report.pooling import Pooled, holm, pooled, resampled
from tests.report.conftest import write_jsonl

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a run folder in which each arm answers these test items rightly, of 20."""

    def write(name: str, seed: int, epochs: float = 1.0, **right: set[int]) -> Path:
        run = tmp_path / name
        run.mkdir(parents=True)
        recipe = Recipe(
            name="gsm8k", scale="starter", seed=seed, task=Task(name="starter"), teacher=Teacher(name="t"),
            student=Student(name="s"), arms=("untrained", "verified", "arte"),
        )  # fmt: skip
        recipe = recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"epochs": epochs})})
        (run / "recipe.yaml").write_text(yaml12.dump(recipe.model_dump(mode="json")), "utf-8")
        for arm, places in right.items():
            rows = [
                {"id": f"i{place:02d}", "slice": "test", "strict_correct": place in places,
                 "flexible_correct": True}
                for place in range(20)
            ]  # fmt: skip
            write_jsonl(run / "evaluate" / arm / "samples.jsonl", rows[::-1] if arm == "arte" else rows)
        return run

    return write


def test_seeds_are_pooled(written: Written, tmp_path: Path) -> None:
    written("run/seed-0", 0, untrained={0}, verified=set(range(8)), arte=set(range(16)))
    written("run/seed-1", 1, untrained={0, 1}, verified=set(range(10)), arte=set(range(14)))
    [test] = pooled([tmp_path / "run"])
    assert (test.slice, test.metric) == ("test", "strict-match")
    arms = {row.arm: row for row in test.arms}
    assert list(arms) == ["untrained", "verified", "arte"]
    assert (arms["arte"].seeds, arms["arte"].n, arms["arte"].by_seed) == (2, 20, [0.8, 0.7])
    assert arms["arte"].accuracy == pytest.approx(0.75)
    found = {(row.a, row.b): row for row in test.differences}
    assert list(found) == [("arte", "verified"), ("arte", "untrained"), ("verified", "untrained")]
    gain = found["arte", "verified"]
    assert gain.by_seed == pytest.approx([0.4, 0.2])
    assert gain.difference == pytest.approx(0.3)
    assert 0 < gain.ci95[0] < 0.3 < gain.ci95[1] < 0.6
    assert all(row.p <= row.p_corrected <= 3 * row.p for row in test.differences)


def test_resampling_seeds_and_items_has_the_variance_of_both() -> None:
    """Owen 2007: the variance of the mean is that over seeds, plus that over items, each as if alone, plus rest."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(4, 1)) * 2 + draw.normal(size=(1, 50)) + np.zeros((4, 50))
    of_seeds = values.mean(axis=1).var() / 4
    of_items = values.mean(axis=0).var() / 50
    means = resampled(values, resamples=20_000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.03)
    assert means.var() == pytest.approx(of_seeds + of_items, rel=0.05)
    one = resampled(values[:1], resamples=20_000)
    assert one.var() == pytest.approx(values[0].var() / 50, rel=0.05)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.2: times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.2
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_other_recipes_stand_side_by_side(written: Written) -> None:
    first = written("short", 0, arte=set(range(5)), verified={1})
    second = written("long", 0, epochs=2.0, arte=set(range(15)))
    [test] = pooled([first, second])
    assert [(row.arm, row.accuracy) for row in test.arms] == [
        ("short:verified", 0.05), ("short:arte", 0.25), ("long:arte", 0.75),
    ]  # fmt: skip
    assert [(row.a, row.b, row.difference) for row in test.differences] == [("long:arte", "short:arte", 0.5)]


def test_an_arm_that_not_every_seed_has_is_left_out(written: Written) -> None:
    runs = [written("a", 0, untrained={1}, arte={1, 2}), written("b", 1, untrained={1})]
    [test] = pooled(runs)
    assert [row.arm for row in test.arms] == ["untrained"]
    assert compare_table.sentences(test) == ["Nothing to compare: one arm was evaluated."]


def test_what_cannot_be_compared_is_told(written: Written, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"holds no recipe\.yaml and no seed-0/"):
        pooled([tmp_path])
    empty = written("empty", 0)
    with pytest.raises(DataError, match=r"empty: no arm was evaluated by every seed"):
        pooled([empty])
    first, other = written("first", 0, arte={1}), written("other", 1, arte={1})
    rows = [
        {"id": f"x{place}", "slice": "test", "strict_correct": True, "flexible_correct": True} for place in range(3)
    ]
    write_jsonl(other / "evaluate" / "arte" / "samples.jsonl", rows)
    with pytest.raises(DataError, match=r"arm arte answered 3 test items that are not the 20"):
        pooled([first, other])


def test_the_words_follow_the_corrected_p(written: Written) -> None:
    run = written("one", 0, untrained={0}, verified=set(range(9)), arte=set(range(10)))
    [test] = pooled([run])
    said = "\n".join(compare_table.lines([test]))
    assert "All test problems: 20 items, 1 seed, strict-match" in said
    assert "  shown: arte answers more than untrained, by 45.0 points" in said
    assert "  open: arte and verified (+5.0 points)" in said
    assert "Corrected for 3 comparisons (Holm), at 5%:" in said
    assert "One seed: the luck of drafting and training is in no interval." in said
    assert "  verified: trained on drafts of the teacher as it came whose answers passed their checks" in said
    reversed_ = Pooled(
        slice="test", metric="strict-match", arms=test.arms,
        differences=[row.model_copy(update={"difference": -row.difference}) for row in test.differences],
    )  # fmt: skip
    assert "  shown: untrained answers more than arte, by 45.0 points" in compare_table.sentences(reversed_)


def test_the_arms_of_a_recipe_have_a_name_each() -> None:
    from typing import get_args

    from arte import arms

    assert list(arms.MADE) == list(get_args(Arm))
