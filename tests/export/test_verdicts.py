import pytest
from arte_export import verdicts
from arte_export.budget import TERMS, Budget
from arte_export.measurement import Measurement
from arte_export.spread import spread


def measured(device: str = "this-machine", unsteady: tuple[str, ...] = ()) -> Measurement:
    """Medians: ttft 1 s, pp 500, tg 30 tokens/s, load 0.2 s; 1000 bytes of memory, a file of 100."""
    return Measurement(
        file="x.gguf", format="gguf", bytes=100, engine="llama-cpp-python", device=device, threads=2, prompt_tokens=512,
        generated_tokens=128, load_s=spread([0.1, 0.2, 0.3]), ttft_s=spread([0.9, 1.0, 1.1]),
        pp_tok_s=spread([400, 500, 600]), tg_tok_s=spread([20, 30, 40]), peak_rss_bytes=1000, unsteady=list(unsteady),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "loss", "result", "why"),
    [
        ({}, None, "pass", "no budget set"),
        ({"ttft_s": 1.0, "tg_tok_s": 30}, None, "pass", "ttft_s 1 holds <= 1; tg_tok_s 30 holds >= 30"),
        ({"ttft_s": 0.9, "rss_bytes": 1000}, None, "fail", "ttft_s 1 misses <= 0.9; rss_bytes 1000 holds <= 1000"),
        ({"ttft_s": 2, "tg_tok_s": 31}, None, "fail", "tg_tok_s 30 misses >= 31; ttft_s 1 holds <= 2"),
        ({"pp_tok_s": 501}, None, "fail", "pp_tok_s 500 misses >= 501"),
        ({"size_bytes": 99}, None, "fail", "size_bytes 100 misses <= 99"),
        ({"load_s": 0.2}, None, "pass", "load_s 0.2 holds <= 0.2"),
        ({"load_cold_s": 9}, None, "fail", "load_cold_s not measured, budget <= 9"),
        ({"energy_j_per_token": 1}, None, "fail", "energy_j_per_token not measured, budget <= 1"),
        ({"accuracy_loss_points": 2}, None, "fail", "accuracy_loss_points not measured, budget <= 2"),
        ({"accuracy_loss_points": 2}, 1.5, "pass", "accuracy_loss_points 1.5 holds <= 2"),
        ({"accuracy_loss_points": 2}, -4.0, "pass", "accuracy_loss_points -4 holds <= 2"),
    ],
)
def test_medians_are_held_against_the_budget(
    budget: dict[str, float], loss: float | None, result: str, why: str
) -> None:
    found = verdicts.verdict("this-machine", Budget.model_validate(budget), measured(), loss)
    assert (found.result, found.why) == (result, why)
    assert len(found.lines) == len(budget)
    assert {line.result for line in found.lines} <= {"pass", "fail"}


def test_lines_hold_what_a_table_shows() -> None:
    [line] = verdicts.verdict("this-machine", Budget(tg_tok_s=25.0), measured()).lines
    assert (line.term, line.sign, line.limit, line.value, line.result) == ("tg_tok_s", ">=", 25.0, 30.0, "pass")
    assert line.spread == spread([20, 30, 40])


def test_an_unsteady_figure_that_straddles_the_limit_says_so() -> None:
    budget = Budget(tg_tok_s=25.0, ttft_s=2.0)
    ttft, tg = verdicts.verdict("this-machine", budget, measured(unsteady=("runs lie apart",))).lines
    assert tg.text == "tg_tok_s 30 holds >= 25 (unsteady: 20 to 40)"
    assert ttft.text == "ttft_s 1 holds <= 2"


def test_another_device_is_never_passed_or_failed() -> None:
    found = verdicts.verdict("pixel-8", Budget(ttft_s=100.0), measured())
    assert (found.result, found.why) == ("estimate", "not measured on this device (measured on this-machine)")
    estimated = measured("pixel-8").model_copy(update={"how": "estimate"})
    assert verdicts.verdict("pixel-8", Budget(ttft_s=100.0), estimated).result == "estimate"
    assert verdicts.verdict("pixel-8", Budget(ttft_s=100.0), measured("pixel-8")).result == "pass"


def test_what_was_measured_elsewhere_leaves_every_line_open() -> None:
    found = verdicts.verdict("pixel-8", Budget(tg_tok_s=1, ttft_s=100.0), measured(), 0.0)
    assert [(line.term, line.value, line.result) for line in found.lines] == [
        ("ttft_s", None, "open"), ("tg_tok_s", None, "open"),
    ]  # fmt: skip
    estimated = measured("pixel-8").model_copy(update={"how": "estimate"})
    assert verdicts.verdict("pixel-8", Budget(), estimated).why == "not measured on this device (an estimate of it)"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (0.9, "ttft_s 1 misses <= 0.9 (unsteady: 0.9 to 1.1)"),  # the best run is at the limit, and holds
        (1.1, "ttft_s 1 holds <= 1.1"),
        (0.8, "ttft_s 1 misses <= 0.8"),
    ],
)
def test_the_limit_itself_holds(limit: float, text: str) -> None:
    found = verdicts.verdict("this-machine", Budget(ttft_s=limit), measured(unsteady=("runs lie apart",)))
    assert [line.text for line in found.lines] == [text]


def test_a_near_miss_is_written_with_the_digits_that_show_it() -> None:
    found = verdicts.verdict("this-machine", Budget(accuracy_loss_points=2), measured(), 2.00001)
    assert (found.result, found.why) == ("fail", "accuracy_loss_points 2.00001 misses <= 2")


def test_every_term_of_a_budget_has_a_figure_and_a_direction() -> None:
    found = verdicts.limits(Budget.model_validate({term.field: 1 for term in TERMS.values()}))
    assert [field for field, _, _ in found] == list(verdicts.figures(measured(), 0.0))
    assert [field for field, sign, _ in found if sign == ">="] == ["pp_tok_s", "tg_tok_s"]
