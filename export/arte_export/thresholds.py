"""What a file of each scheme must hold to pass the gate: the one table, and the words for what does not.

Files with as many bits as the model must be the model: their limits are those of float32 sums added up in another order
(measured on SmolLM2-135M: mean divergence 0.0001 nats, 99.6 % equal top tokens). Fewer bits cost something in every
model, and more in a small one; their limits are set by what was measured of SmolLM2-135M, with room (docs/parity.md,
LOG.md: mean divergence 0.004 at 8 bits, 0.03 to 0.05 at q4_k_m, 0.18 at ONNX int4, 0.12 to 0.8 at 3 bits, 0.3 to 0.5 at
2), so that a sound file passes and one with a damaged, missing or foreign part does not. Equal top tokens are promised
at full precision alone: below, they say how sure of itself the model is more than how good the file is (a model of
near-uniform distributions loses a third of its top tokens at a divergence of 0.09 nats).

Greedy answers part at the first token that differs, so how soon they do follows from the share of unequal top tokens:
over the files of docs/parity.md from bf16 to int4 the one rate is 0.2 to 1.3 times the other. Answers that part far
sooner mean a fault that distributions do not see, of the cache, the template or the end. Equal answers are promised
where every step is computed in float32, as ONNX fp32 is: llama.cpp rounds activations to bfloat16 for a bf16 file, and
an untrained model that rambles for 128 tokens then parts in a third of its answers.
"""

from math import exp, lgamma, log
from typing import NamedTuple

from arte_export.device_file import Format
from arte_export.distributions import Distributions
from arte_export.gate import Greedy, TaskAccuracy
from arte_export.weights import Weights


class Thresholds(NamedTuple):
    """`mean_kld` in nats and `ppl_ratio` (and its inverse) at most, `top1_agreement` and `answers_equal` shares of 1 at
    least (None judges nothing); `lost_points`: of a hundred, that accuracy may lose, beyond chance."""

    mean_kld: float
    top1_agreement: float | None
    ppl_ratio: float
    lost_points: float
    answers_equal: float | None = None


FULL = Thresholds(0.002, 0.995, 1.01, 1.0)
EIGHT = Thresholds(0.02, None, 1.03, 2.0)
SIX = Thresholds(0.05, None, 1.06, 2.0)
FIVE = Thresholds(0.1, None, 1.1, 3.0)
FOUR = Thresholds(0.3, None, 1.3, 3.0)
THREE = Thresholds(1.0, None, 2.0, 5.0)
TWO = Thresholds(4.0, None, 20.0, 10.0)

PARTINGS = 3.0  # partings of answers a token over unequal top tokens a position, at most
LEAST_UNEQUAL = 0.005  # of top tokens: what full precision is allowed
UNLIKELY = 1e-4  # that chance makes so many partings

_GGUF = {"f32": FULL, "f16": FULL, "bf16": FULL, "q8_0": EIGHT, "q6_k": SIX}
_BITS = {"q5": FIVE, "q4": FOUR, "iq4": FOUR, "q3": THREE, "iq3": THREE}
_ONNX = {"fp32": FULL._replace(answers_equal=0.99), "fp16": FULL, "int8": EIGHT, "int4": FOUR}


def of(form: Format, scheme: str) -> Thresholds:
    """The limits of a scheme."""
    if form in ("onnx", "onnx-optimum"):
        return _ONNX[scheme]
    return _GGUF.get(scheme) or _BITS.get(scheme.split("_")[0], TWO)


def failures(
    limits: Thresholds,
    weights: Weights | None,
    distributions: Distributions | None,
    greedy: Greedy | None,
    accuracy: TaskAccuracy | None,
) -> dict[str, str]:
    """The checks that fail, by name, each with what was found, what was expected and the likely cause."""
    found = {
        "weights": _weights(weights),
        "distributions": _distributions(limits, distributions),
        "answers": _answers(limits, greedy, distributions),
        "task_accuracy": _task_accuracy(limits, accuracy),
    }
    return {name: line for name, line in found.items() if line is not None}


def _weights(found: Weights | None) -> str | None:
    if found is None:
        return None
    if found.missing:
        return (
            f"{len(found.missing)} tensors are on one side only, first {found.missing[0]}. Likely cause: the file was "
            "made from another model"
        )
    if not found.deviating:
        return None
    worst = found.deviating[0]
    same_scale = abs(worst.scale - 1.0) < abs(worst.error) / 2
    cause = (
        "these tensors hold other numbers: a LoRA adapter was forgotten or merged twice, or the file is of another "
        "checkpoint"
        if same_scale or len(found.deviating) > 3
        else f"this tensor was multiplied by about {worst.scale:.2f}"
    )
    return (
        f"{len(found.deviating)} of {found.tensors} tensors are not those of the model, first {worst.tensor} "
        f"({worst.type}): scale {worst.scale:.4f}, relative error {worst.error:.4f}. Likely cause: {cause}"
    )


def _distributions(limits: Thresholds, found: Distributions | None) -> str | None:
    if found is None:
        return None
    parts = []
    if found.mean_kld.value > limits.mean_kld:
        parts.append(f"mean KL divergence {found.mean_kld.value:.4g} nats, expected at most {limits.mean_kld:g}")
    if limits.top1_agreement is not None and found.top1_agreement.value < limits.top1_agreement:
        parts.append(f"{found.top1_agreement.value:.2%} equal top tokens, expected {limits.top1_agreement:.1%}")
    if not 1 / limits.ppl_ratio <= found.ppl_ratio.value <= limits.ppl_ratio:
        parts.append(f"perplexity ratio {found.ppl_ratio.value:.4g}, expected at most {limits.ppl_ratio:g} either way")
    if not parts:
        return None
    return (
        f"{'; '.join(parts)} ({found.positions} positions). Likely cause: other weights or an unsupported detail of "
        "the architecture; where all tensors agree, too few bits for this model: take a larger scheme or a matrix from "
        "your own rows"
    )


def _answers(limits: Thresholds, found: Greedy | None, near: Distributions | None) -> str | None:
    if found is None:
        return None
    if limits.answers_equal is not None and found.answers_equal < limits.answers_equal:
        return (
            f"{found.answers_equal:.1%} of {found.prompts} prompts get the same answer, expected "
            f"{limits.answers_equal:.0%}: {found.first_difference}"
        )
    if near is None:
        return None
    unequal = 1 - near.top1_agreement.value
    parted = round(found.prompts * (1 - found.exact))
    compared = found.prompts * found.match_tokens + parted
    if _chance(parted, PARTINGS * max(unequal, LEAST_UNEQUAL) * compared) >= UNLIKELY:
        return None
    return (
        f"{parted} of {found.prompts} answers part from the model's, after {found.match_tokens:.1f} equal tokens on "
        f"average, far sooner than {unequal:.2%} unequal top tokens explain ({unequal * compared:.1f} partings). "
        "Likely cause: a fault in decoding that one pass over a text does not show (cache, template, end)"
        + (f": {found.first_difference}" if found.first_difference else "")
    )


def _chance(count: int, expected: float) -> float:
    """That a Poisson count is at least so large."""
    return 1 - sum(exp(k * log(expected) - expected - lgamma(k + 1)) for k in range(count))


def _task_accuracy(limits: Thresholds, found: TaskAccuracy | None) -> str | None:
    if found is None or found.ci95[1] >= -limits.lost_points / 100:
        return None
    low, high = (100 * bound for bound in found.ci95)
    return (
        f"{100 * found.file:.1f} % against {100 * found.model:.1f} % of the torch model on {found.n} items of "
        f"{found.task}: {100 * found.difference:+.1f} points ({low:+.1f} to {high:+.1f}), expected to lose at most "
        f"{limits.lost_points:g}. Likely cause: too few bits for this model"
    )
