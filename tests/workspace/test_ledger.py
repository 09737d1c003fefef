from pathlib import Path

import pytest

from arte.errors import LimitReached
from arte.ledger import FILE, Call, Ledger, by_stage, calls_of
from arte.recipe_engines import Limits


def call(stage: str, tokens_in: int, tokens_out: int, seconds: float = 1.0, money: float = 0.0) -> Call:
    return Call(
        stage=stage, engine="openai", model="m", requests=2, tokens_in=tokens_in, tokens_out=tokens_out, too_long=0,
        seconds=seconds, money=money,
    )  # fmt: skip


def test_calls_of_all_processes_are_summed_by_stage(tmp_path: Path) -> None:
    first = Ledger(tmp_path, Limits())
    first.add(call("elicit", 100, 20, money=0.5))
    second = Ledger(tmp_path, Limits())
    second.add(call("tailor-shuffled_pairs", 7, 1))
    second.add(call("elicit", 11, 3, money=0.25))
    assert (second.tokens, second.money) == (142, 0.75)
    sums = by_stage(calls_of(tmp_path))
    assert list(sums) == [("elicit", "openai", "m"), ("tailor", "openai", "m")]
    assert sums["elicit", "openai", "m"].model_dump() == {
        "stage": "elicit", "engine": "openai", "model": "m", "requests": 4, "tokens_in": 111, "tokens_out": 23,
        "too_long": 0, "seconds": 2.0, "money": 0.75,
    }  # fmt: skip


def test_a_line_that_a_kill_cut_is_not_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Limits())
    ledger.add(call("elicit", 1, 2))
    ledger.add(call("elicit", 3, 4))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-9])
    assert [found.tokens_in for found in calls_of(tmp_path)] == [1]
    assert calls_of(tmp_path / "no run") == []


@pytest.mark.parametrize(
    ("limits", "tokens", "money", "said"),
    [
        (Limits(tokens=150), 31, 0.0, r"limits.tokens=150: 120 are spent, .* step of elicit may take 31 more"),
        (Limits(money=0.75), 0, 0.26, r"limits.money=0.75: 0.5 are spent, .* may take 0.26 more"),
    ],
)
def test_what_might_pass_a_limit_is_not_begun(
    tmp_path: Path, limits: Limits, tokens: int, money: float, said: str
) -> None:
    ledger = Ledger(tmp_path, limits)
    ledger.add(call("elicit", 100, 20, money=0.5))
    with pytest.raises(LimitReached, match=said):
        ledger.allow("elicit", tokens, money)
    ledger.allow("elicit", max(0, tokens - 1), max(0.0, money - 0.01))


def test_hours_count_what_the_slowest_call_took(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Limits(hours=1.0))
    ledger.add(call("elicit", 1, 1, seconds=3500.0))
    ledger.allow("elicit")
    ledger.allow("tailor")  # nothing is known of it
    ledger.add(call("elicit", 1, 1, seconds=3700.0))
    with pytest.raises(LimitReached, match=r"limits.hours=1: 0.00 are spent, .* may take 1.03 more"):
        ledger.allow("elicit")
    assert 3590 < ledger.seconds_left() <= 3600
    assert Ledger(tmp_path, Limits()).seconds_left() == float("inf")
