"""What a file would do on a device that is not at hand, from what it did here. Never a pass, never a fail.

Decoding reads every weight once a token, so its rate is bound by bandwidth over bytes a token; prefilling is bound by
compute, two operations a parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). How near a runtime
comes to those bounds is its efficiency: measured here, for the same file and runtime, against this machine's own
measured bandwidth and compute. The cache of keys and values is left out of the bytes: short contexts, small models.
Bytes and operations a token are the file's own, the same there as here: the middle of an estimate is what was measured
here times the ratio of the two bandwidths (or computes), and the bytes only say where the bound cuts it off.

The interval: on the other device the same runtime is taken to reach between half and twice the efficiency it has here,
but not more than the bound itself. Why a factor of two: kernels differ by instruction set, published peaks of a bus are
not reached (60 to 90 % of them usually), and phones lower their clocks. It is widened by the spread measured here. It
is a judgement, not a confidence interval, and was not checked on a second machine yet.
"""

from functools import cache, partial
from pathlib import Path
from typing import Literal

from arte_export import child
from arte_export.budget import Budget, Sign
from arte_export.devices import Device
from arte_export.measurement import Frozen, Measurement
from arte_export.spread import Spread
from arte_export.verdicts import Line, Verdict, figure, holds_limit, limits

FACTOR = 2.0
SAME = "same file, same runtime: as measured here"
READ_BYTES = 1 << 29
PRODUCT = 2048
ROUNDS = 5


class Machine(Frozen):
    """What this machine reaches with all its cores: bytes read a second, float32 operations a second."""

    bandwidth_bytes_s: float
    flops_s: float


class Estimated(Frozen):
    """A figure between two bounds; None with a reason where it cannot be said."""

    value: float | None
    low: float | None
    high: float | None
    why: str


class Estimate(Frozen):
    """By the fields of Budget."""

    file: str
    device: str
    figures: dict[str, Estimated]


@cache
def measure_here(threads: int) -> Machine:
    """Bandwidth and compute of this machine, about three seconds in a child process."""
    call = partial(_measure, threads)
    return child.run(call, holding=Path("memory bandwidth"), limit_s=120).result


def estimate(measured: Measurement, here: Machine, there: Device) -> Estimate:
    """What a measurement on this machine says of another device."""
    tg = _decode(measured, here, there)
    pp = _prefill(measured, here, there)
    rss = _as_here(measured.peak_rss_bytes, SAME)
    if (runtime := measured.format.removesuffix("-optimum")) not in there.runtimes:
        tg = pp = rss = _unknown(
            f"{runtime} does not run there; the profile's runtimes are {' and '.join(there.runtimes)}"
        )
    figures = {
        "tg_tok_s": tg,
        "pp_tok_s": pp,
        "ttft_s": _inverse(pp, measured.prompt_tokens, "prefill of the prompt"),
        "size_bytes": _as_here(measured.bytes, SAME),
        "rss_bytes": rss,
        "load_s": _unknown("depends on the device's storage, which no profile has"),
        "load_cold_s": _unknown("depends on the device's storage, which no profile has"),
        "energy_j_per_token": _unknown("depends on the device's power, which no profile has"),
    }
    return Estimate(file=measured.file, device=there.name, figures=figures)


def verdict(budget: Budget, estimated: Estimate, accuracy_loss_points: float | None = None) -> Verdict:
    """Whether the file would likely hold the budget there. Accuracy is the file's own, wherever it runs."""
    loss = _unknown("not measured") if accuracy_loss_points is None else _as_here(accuracy_loss_points, "measured here")
    figures = estimated.figures | {"accuracy_loss_points": loss}
    lines = [_line(field, sign, limit, figures[field]) for field, sign, limit in limits(budget)]
    order = ("likely miss", "open", "likely hold")
    lines.sort(key=lambda line: order.index(line.result))
    worst = lines[0].result if lines else "open"
    said = {
        "likely hold": "would likely hold the budget",
        "likely miss": "would likely miss the budget",
        "open": "cannot be told from here",
    }[worst]
    why = (
        f"not measured on this device; {said}: " + "; ".join(line.text for line in lines) if lines else "no budget set"
    )
    return Verdict(device=estimated.device, file=estimated.file, result="estimate", why=why, lines=lines)


def _decode(measured: Measurement, here: Machine, there: Device) -> Estimated:
    if there.memory_bandwidth_bytes_s is None:
        return _unknown("the profile has no memory bandwidth, for its maker publishes none")
    if measured.tg_tok_s is None or measured.weight_bytes is None:
        return _unknown("decode was not measured here")
    bytes_a_token = measured.weight_bytes - (measured.embedding_bytes or 0)
    bound_here = here.bandwidth_bytes_s / bytes_a_token
    bound_there = there.memory_bandwidth_bytes_s / bytes_a_token
    why = (
        f"{bytes_a_token / 1e6:.0f} MB a token over {there.memory_bandwidth_bytes_s / 1e9:.0f} GB/s, at "
        f"{measured.tg_tok_s.median / bound_here:.0%} of the bound as here"
    )
    return _scaled(measured.tg_tok_s, bound_here, bound_there, why)


def _prefill(measured: Measurement, here: Machine, there: Device) -> Estimated:
    if there.compute_flops_s is None:
        return _unknown("the profile has no peak compute, for none is published")
    if measured.pp_tok_s is None:
        return _unknown("prefill was not measured here")
    compute = f"{there.compute_flops_s / 1e9:.0f} GFLOP/s"
    if measured.model_parameters is None:  # operations a token cancel out: only the share of the bound is not known
        operations, why = 1.0, f"by its {compute} to {here.flops_s / 1e9:.0f} here"
    else:
        operations = 2.0 * measured.model_parameters
        reached = measured.pp_tok_s.median * operations / here.flops_s
        why = f"{operations / 1e9:.2f} billion operations a token over {compute}, at {reached:.0%} of the bound as here"
    bound_here, bound_there = here.flops_s / operations, there.compute_flops_s / operations
    return _scaled(measured.pp_tok_s, bound_here, bound_there, why, capped=False)  # 8-bit products beat float32's peak


def _scaled(found: Spread, bound_here: float, bound_there: float, why: str, capped: bool = True) -> Estimated:
    best = max(1.0, found.max / bound_here) if capped else float("inf")
    low, middle, high = (
        min(value / bound_here * factor, best) * bound_there
        for value, factor in ((found.min, 1 / FACTOR), (found.median, 1.0), (found.max, FACTOR))
    )
    return Estimated(value=middle, low=low, high=high, why=why)


def _inverse(rate: Estimated, tokens: int, what: str) -> Estimated:
    if rate.value is None or rate.low is None or rate.high is None:
        return _unknown(rate.why)
    return Estimated(value=tokens / rate.value, low=tokens / rate.high, high=tokens / rate.low, why=what)


def _as_here(value: float | None, why: str) -> Estimated:
    return Estimated(value=value, low=value, high=value, why=why if value is not None else "not measured here")


def _unknown(why: str) -> Estimated:
    return Estimated(value=None, low=None, high=None, why=why)


def _line(field: str, sign: Sign, limit: float, found: Estimated) -> Line:
    result: Literal["likely hold", "likely miss", "open"] = "open"
    said = f"{field} unknown ({found.why}), budget {sign} {figure(field, limit)}"
    if found.value is not None and found.low is not None and found.high is not None:
        ends = [holds_limit(value, sign, limit) for value in (found.low, found.high)]
        result = "likely hold" if all(ends) else "open" if any(ends) else "likely miss"
        words = {"likely hold": "would likely hold", "likely miss": "would likely miss", "open": "may or may not hold"}
        between = (
            f" ({figure(field, found.low, 3)} to {figure(field, found.high, 3)})" if found.low != found.high else ""
        )
        said = f"{field} about {figure(field, found.value, 3)}{between} {words[result]} {sign} {figure(field, limit)}"
    return Line(
        term=field, sign=sign, limit=limit, value=found.value, low=found.low, high=found.high, result=result, text=said
    )


def _measure(threads: int) -> Machine:
    import time

    import torch

    torch.set_num_threads(threads)
    data = torch.ones(READ_BYTES // 4)
    left, right = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)

    def fastest(call: "partial[object]") -> float:
        call()
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return min(seconds)  # what the machine can; disturbances only add

    return Machine(
        bandwidth_bytes_s=READ_BYTES / fastest(partial(torch.sum, data)),
        flops_s=2 * PRODUCT**3 / fastest(partial(torch.mm, left, right)),
    )
