from pathlib import Path

import pytest
from arte_export import bench, measurement, versus
from arte_export.bench_engine import Facts, Runs
from arte_export.measurement import Timed


def runs(pp_s: list[float], tg_s: list[float], ttft_s: list[float]) -> Runs:
    pp, tg = (measurement.Test(prompt_tokens=p, generated_tokens=g) for p, g in ((100, 0), (0, 10)))
    facts = Facts(model_type="x", model_parameters=None, weight_bytes=None, embedding_bytes=None)
    return Runs(
        tests=[Timed(test=pp, seconds=pp_s), Timed(test=tg, seconds=tg_s)], ttft_s=ttft_s, token_s=[], decode_j=None,
        mapped_bytes=None, facts=facts,
    )  # fmt: skip


def test_ratios_by_hand() -> None:
    # a round that is slow for both halves both rates and leaves the ratio
    quiet = (runs([1.0], [0.5], [1.1]), runs([2.0], [1.0], [2.2]))
    slow = (runs([2.0], [1.0], [2.2]), runs([4.0], [2.0], [4.4]))
    ttft, pp, tg = versus.ratios([quiet, slow, quiet])
    assert [found.figure for found in (ttft, pp, tg)] == ["ttft_s", "pp_tok_s", "tg_tok_s"]
    assert (pp.a, pp.b) == (100.0, 50.0)
    assert (pp.ratio.min, pp.ratio.median, pp.ratio.max, pp.ratio.count) == (2.0, 2.0, 2.0, 3)
    assert (tg.a, tg.b, tg.ratio.median) == (20.0, 10.0, 2.0)
    assert ttft.ratio.median == pytest.approx(0.5)


def test_two_files_take_turns(tiny_files: dict[str, Path]) -> None:
    a, b = (bench.subject(tiny_files[scheme], Path()) for scheme in ("f32", "q4_0"))
    plan = bench.Plan(prompt_tokens=(32,), generated_tokens=4, repeats=2, rounds=2, threads=1, quiet_s=0)
    found, _ = versus.versus(a, b, plan, lambda _: None)
    assert [(ratio.figure, ratio.ratio.count) for ratio in found] == [("ttft_s", 2), ("pp_tok_s", 2), ("tg_tok_s", 2)]
    assert all(ratio.ratio.min > 0 for ratio in found)
