from arte_export import devices, estimate
from arte_export.budget import Budget
from arte_export.measurement import Measurement
from arte_export.recommend import Candidate, Recommendation, holds, recommend
from arte_export.spread import spread
from arte_export.verdicts import verdict

MB = 10**6
BUDGET = Budget(tg_tok_s=15, size_bytes=150 * MB, accuracy_loss_points=2)


def candidate(
    name: str, megabytes: int, tg: float, loss: float | None, budget: Budget = BUDGET, device: str = "this-machine"
) -> Candidate:
    """A file with the verdict of a measurement of decode, size and accuracy on this-machine."""
    found = Measurement(
        file=name, format="gguf", bytes=megabytes * MB, engine="llama-cpp-python", threads=2, prompt_tokens=512,
        generated_tokens=128, tg_tok_s=spread([tg]),
    )  # fmt: skip
    return Candidate(name, found.bytes, verdict(device, budget, found, loss), loss)


Q2 = candidate("q2_k", 90, 40, 9.0)
Q4 = candidate("q4_k_m", 105, 30, 1.5)
Q5 = candidate("q5_k_m", 120, 25, 0.5)
Q6 = candidate("q6_k", 140, 14, 0.3)
Q8 = candidate("q8_0", 160, 10, 0.1)


def named(found: Recommendation) -> tuple[str | None, str | None]:
    return (found.chosen and found.chosen.file, found.other and found.other.file)


def test_the_smallest_file_within_the_allowed_loss_and_what_limits_the_next_better_one() -> None:
    found = recommend([Q8, Q5, Q2, Q6, Q4])
    assert named(found) == ("q4_k_m", "q6_k")  # q2_k is smaller and loses too much; q5_k_m holds, but is larger
    assert found.missed == ["tg_tok_s 14 misses >= 15"]
    assert found.unknown == []


def test_the_order_of_the_candidates_does_not_matter() -> None:
    from itertools import permutations

    found = {named(recommend(order)) for order in permutations([Q8, Q6, Q5, Q4, Q2])}
    assert found == {("q4_k_m", "q6_k")}


def test_nothing_limits_where_every_better_file_holds() -> None:
    assert recommend([Q5, Q4, Q2]) == Recommendation(Q4, None, [], [])


def test_a_missing_file_that_is_less_accurate_is_not_the_next_better_one() -> None:
    assert named(recommend([Q5, Q2])) == ("q5_k_m", None)


def test_of_two_files_of_one_size_the_more_accurate() -> None:
    twin = candidate("iq4_xs", 105, 30, 1.0)
    assert named(recommend([Q4, twin])) == ("iq4_xs", None)
    assert named(recommend([twin, Q4])) == ("iq4_xs", None)


def test_where_accuracy_is_not_known_the_next_larger_file_is_the_better_one() -> None:
    speed = Budget(tg_tok_s=15)
    small, large, huge = (
        candidate("a", 100, 30, None, speed), candidate("b", 200, 12, None, speed), candidate("c", 300, 9, None, speed),
    )  # fmt: skip
    found = recommend([huge, large, small])
    assert (named(found), found.missed) == (("a", "b"), ["tg_tok_s 12 misses >= 15"])


def test_none_holds_and_the_nearest_says_what_it_misses() -> None:
    found = recommend([Q8, Q6, Q2])
    assert (named(found), found.missed) == ((None, "q6_k"), ["tg_tok_s 14 misses >= 15"])
    only = recommend([Q8])
    assert only.missed == ["tg_tok_s 10 misses >= 15", "size_bytes 160 MB misses <= 150 MB"]


def test_a_figure_that_was_not_measured_is_missed_here() -> None:
    found = recommend([candidate("m", 100, 30, None)])
    assert (named(found), found.missed) == ((None, "m"), ["accuracy_loss_points not measured, budget <= 2"])


def test_without_a_budget_the_smallest_file() -> None:
    free = [candidate("a", 200, 1, None, Budget()), candidate("b", 100, 1, None, Budget())]
    assert recommend(free) == Recommendation(free[1], None, [], [])


def likely(name: str, megabytes: int, results: dict[str, str]) -> Candidate:
    """An estimate with a line for each term, its result as given."""
    base = verdict("pixel-8", Budget.model_validate(dict.fromkeys(results, 1)), _measured(name), None)
    lines = [
        line.model_copy(update={"result": results[line.term], "text": f"{line.term} {results[line.term]}"})
        for line in base.lines
    ]
    return Candidate(name, megabytes * MB, base.model_copy(update={"lines": lines}), None)


def _measured(name: str) -> Measurement:
    return Measurement(
        file=name, format="gguf", bytes=1, engine="llama-cpp-python", threads=2, prompt_tokens=512, generated_tokens=128
    )


def test_an_estimate_with_an_open_line_can_be_chosen_and_says_what_is_not_known() -> None:
    found = recommend(
        [
            likely("q2_k", 90, {"tg_tok_s": "likely miss", "load_s": "open"}),
            likely("q4_k_m", 100, {"tg_tok_s": "likely hold", "load_s": "open"}),
            likely("q8_0", 150, {"tg_tok_s": "likely miss", "load_s": "open"}),
        ]
    )
    assert (named(found), found.missed) == (("q4_k_m", "q8_0"), ["tg_tok_s likely miss"])
    assert found.unknown == ["load_s open"]


def test_of_estimates_the_one_with_fewer_open_lines_comes_before_the_smaller() -> None:
    found = recommend(
        [
            likely("q4_k_m", 100, {"tg_tok_s": "open", "load_s": "open"}),
            likely("q5_k_m", 120, {"tg_tok_s": "likely hold", "load_s": "open"}),
        ]
    )
    assert (named(found), found.unknown) == (("q5_k_m", None), ["load_s open"])


def test_a_file_is_chosen_for_a_device_that_is_not_at_hand() -> None:
    """Of 50 MB a token at 100 tokens/s on 10 GB/s: half of the bound, so from a quarter to the whole of the 76.8 GB/s
    of a Galaxy S24, 384 to 1536 tokens/s; twenty times the bytes at a twentieth of the rate: 19.2 to 76.8."""
    galaxy, here = devices.load("galaxy-s24"), estimate.Machine(bandwidth_bytes_s=10e9, flops_s=100e9)
    wanted = galaxy.budget.merged(Budget(tg_tok_s=80))
    rows = []
    for name, megabytes, tg, loss in (("q2_k", 40, 110.0, 8.0), ("q4_k_m", 50, 100.0, 1.0), ("bf16", 1000, 5.0, 0.0)):
        measured = _measured(name).model_copy(
            update={
                "bytes": megabytes * MB, "weight_bytes": megabytes * MB, "tg_tok_s": spread([tg]),
                "peak_rss_bytes": (megabytes + 50) * MB, "model_parameters": 135_000_000, "pp_tok_s": spread([200.0]),
            }
        )  # fmt: skip
        judged = estimate.verdict(wanted, estimate.estimate(measured, here, galaxy), loss)
        rows.append(Candidate(name, measured.bytes, judged, loss))
    found = recommend(rows)
    assert named(found) == ("q4_k_m", "bf16")
    assert "tg_tok_s about 38.4 (19.2 to 76.8) would likely miss >= 80" in found.missed
    assert found.chosen is not None
    assert {line.term: line.result for line in found.chosen.verdict.lines} == {
        "ttft_s": "open", "load_s": "open", "tg_tok_s": "likely hold", "rss_bytes": "likely hold",
        "size_bytes": "likely hold", "accuracy_loss_points": "likely hold",
    }  # fmt: skip
    assert len(found.unknown) == 2


def test_a_measurement_of_another_device_leaves_every_line_unknown() -> None:
    found = recommend([candidate("m", 100, 30, 0.0, BUDGET, "pixel-8")])
    assert len(found.unknown) == 3
    assert found.chosen is not None
    assert found.chosen.verdict.result == "estimate"
    assert holds(found.chosen.verdict)


def test_nearest_is_first_who_misses_fewer_lines() -> None:
    far, near_twice = candidate("far", 100, 1, 0.0), candidate("near twice", 151, 14.9, 0.0)
    assert named(recommend([near_twice, far])) == (None, "far")
