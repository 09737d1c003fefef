import pytest
from arte_export import devices, estimate
from arte_export.budget import Budget
from arte_export.devices import Device
from arte_export.estimate import Estimate, Machine
from arte_export.measurement import Measurement
from arte_export.spread import spread

HERE = Machine(bandwidth_bytes_s=10e9, flops_s=100e9)


def measured() -> Measurement:
    """50 tokens/s of 100 MB each: half of the 10 GB/s here. 200 tokens/s of 2 × 125 million operations: half too."""
    return Measurement(
        file="x.gguf", format="gguf", bytes=130_000_000, engine="llama-cpp-python", threads=2, prompt_tokens=400,
        generated_tokens=128, pp_tok_s=spread([180, 200, 220]), tg_tok_s=spread([45, 50, 55]),
        peak_rss_bytes=200_000_000, model_parameters=125_000_000, weight_bytes=120_000_000,
        embedding_bytes=20_000_000,
    )  # fmt: skip


def device(bandwidth: float | None = 20e9, flops: float | None = 50e9) -> Device:
    sources = {"memory_bandwidth_bytes_s": "x"} if bandwidth else {}
    sources |= {"compute_flops_s": "x"} if flops else {}
    return Device(name="there", about="", memory_bandwidth_bytes_s=bandwidth, compute_flops_s=flops, sources=sources)


def test_by_hand() -> None:
    found = estimate.estimate(measured(), HERE, device()).figures
    tg = found["tg_tok_s"]
    # bound there 20 GB/s / 100 MB = 200; half of it 100; low: 45 % / 2 of it; high: 55 % × 2 is more than the bound
    assert (tg.value, tg.low, tg.high) == pytest.approx((100, 45, 200))
    pp = found["pp_tok_s"]
    # bound there 50e9 / 250e6 = 200; half 100; 45 % / 2 → 45; 55 % × 2 → 220, for 8-bit products pass float32's peak
    assert (pp.value, pp.low, pp.high) == pytest.approx((100, 45, 220))
    ttft = found["ttft_s"]
    assert (ttft.value, ttft.low, ttft.high) == pytest.approx((4, 400 / 220, 400 / 45))
    assert (found["size_bytes"].value, found["rss_bytes"].value) == (130e6, 200e6)
    assert found["load_s"].value is None


def test_a_figure_that_nobody_publishes_is_not_made_up() -> None:
    found = estimate.estimate(measured(), HERE, device(None, None)).figures
    assert [found[name].value for name in ("tg_tok_s", "pp_tok_s", "ttft_s")] == [None] * 3
    assert "no memory bandwidth" in found["tg_tok_s"].why


def result(**budget: float) -> tuple[str, str, str]:
    found: Estimate = estimate.estimate(measured(), HERE, device())
    verdict = estimate.verdict(Budget.model_validate(budget), found, 1.0)
    return verdict.result, verdict.lines[0].result, verdict.why


def test_an_estimate_is_likely_or_open_and_never_a_pass() -> None:
    assert result(tg_tok_s=40)[:2] == ("estimate", "likely hold")  # the whole of 45 to 200
    assert result(tg_tok_s=60)[:2] == ("estimate", "open")
    assert result(tg_tok_s=300)[:2] == ("estimate", "likely miss")
    assert result(load_s=1)[:2] == ("estimate", "open")
    assert result(accuracy_loss_points=2)[:2] == ("estimate", "likely hold")
    assert result(size_bytes=100, tg_tok_s=40)[1] == "likely miss"  # the worst comes first
    assert (
        "would likely hold the budget: tg_tok_s about 100 (45 to 200) would likely hold >= 40" in result(tg_tok_s=40)[2]
    )


def test_this_machine_scaled_to_itself_is_what_was_measured() -> None:
    same = device(HERE.bandwidth_bytes_s, HERE.flops_s)
    found = estimate.estimate(measured(), HERE, same).figures
    assert (found["tg_tok_s"].value, found["pp_tok_s"].value) == pytest.approx((50, 200))


def test_this_machine_can_be_measured() -> None:
    here = estimate.measure_here(1)
    assert 1e8 < here.bandwidth_bytes_s < 1e13
    assert 1e8 < here.flops_s < 1e15


def test_every_profile_can_be_estimated() -> None:
    found = [estimate.estimate(measured(), HERE, devices.load(name)) for name in devices.names()]
    assert len(found) >= 14
    told = [each.device for each in found if each.figures["tg_tok_s"].value is not None]
    assert len(told) >= 11
    assert not {"pixel-8", "pixel-9"} & set(told)  # Google publishes no bandwidth


def test_a_runtime_that_the_device_does_not_have_is_not_estimated() -> None:
    onnx = measured().model_copy(update={"format": "onnx-optimum"})
    there = device()
    assert there.runtimes == ("gguf",)
    found = estimate.estimate(onnx, HERE, there).figures
    unknown = [name for name in ("tg_tok_s", "pp_tok_s", "ttft_s", "rss_bytes") if found[name].value is None]
    assert len(unknown) == 4
    assert found["tg_tok_s"].why == "onnx does not run there; the profile's runtimes are gguf"
    both = there.model_copy(update={"runtimes": ("gguf", "onnx")})
    assert estimate.estimate(onnx, HERE, both).figures["tg_tok_s"].value == pytest.approx(100)


def test_a_figure_says_what_it_was_made_of() -> None:
    found = estimate.estimate(measured(), HERE, device()).figures
    assert found["tg_tok_s"].why == "100 MB a token over 20 GB/s, at 50% of the bound as here"
    assert found["pp_tok_s"].why == "0.25 billion operations a token over 50 GFLOP/s, at 50% of the bound as here"


def test_a_file_that_does_not_say_its_parameters_is_estimated_alike() -> None:
    """Operations a token cancel out."""
    silent = measured().model_copy(update={"model_parameters": None})
    known, found = (estimate.estimate(each, HERE, device()).figures["pp_tok_s"] for each in (measured(), silent))
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))
    assert "50 GFLOP/s to 100 here" in found.why
    assert "0.25 billion operations" in known.why
