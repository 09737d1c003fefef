"""Whether a file holds a device's budget, line by line. Only what was measured on the device can pass or fail."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from arte_export.budget import TERMS, Budget, Sign
from arte_export.measurement import Measurement
from arte_export.spread import Spread


class Line(BaseModel):
    """One term of the budget. `low` and `high` bound an estimate; `spread` is of what was measured."""

    model_config = ConfigDict(frozen=True)

    term: str
    sign: Sign
    limit: float
    value: float | None
    spread: Spread | None = None
    low: float | None = None
    high: float | None = None
    result: Literal["pass", "fail", "likely hold", "likely miss", "open"]
    text: str


class Verdict(BaseModel):
    """Whether a file holds a device's budget; `why` joins the lines, those that fail first."""

    model_config = ConfigDict(frozen=True)

    device: str
    file: str
    result: Literal["pass", "fail", "estimate"]
    why: str
    lines: list[Line] = []


def limits(budget: Budget) -> list[tuple[str, Sign, float]]:
    """Field, direction and limit of every term that is set. A loss of accuracy is bounded from above."""
    set_terms = [(term.field, term.sign, getattr(budget, term.field)) for term in TERMS.values()]
    return [
        (field, "<=" if field == "accuracy_loss_points" else sign, limit)
        for field, sign, limit in set_terms
        if limit is not None
    ]


def figures(measured: Measurement, accuracy_loss_points: float | None) -> dict[str, float | Spread | None]:
    """What was measured, by the fields of Budget."""
    return {
        "ttft_s": measured.ttft_s,
        "load_s": measured.load_s,
        "load_cold_s": measured.load_cold_s,
        "pp_tok_s": measured.pp_tok_s,
        "tg_tok_s": measured.tg_tok_s,
        "rss_bytes": measured.peak_rss_bytes,
        "size_bytes": measured.bytes,
        "energy_j_per_token": measured.energy_j_per_token,
        "accuracy_loss_points": accuracy_loss_points,
    }


def verdict(device: str, budget: Budget, measured: Measurement, accuracy_loss_points: float | None = None) -> Verdict:
    """Whether the medians that were measured on this device hold the budget.

    `accuracy_loss_points`: accuracy of the torch model less that of the file, in points of a hundred. What a budget
    limits and was not measured fails. What was measured elsewhere is an estimate whose lines are all open; estimate.py
    says more of it. Where runs of an unsteady measurement lie on both sides of a limit, the line says so; the median
    decides.
    """
    if device != measured.device or measured.how != "measured":
        why = "not measured on this device "
        why += f"(measured on {measured.device})" if device != measured.device else "(an estimate of it)"
        lines = [_not_here(field, sign, limit) for field, sign, limit in limits(budget)]
        return Verdict(device=device, file=measured.file, result="estimate", why=why, lines=lines)
    found = figures(measured, accuracy_loss_points)
    unsteady = bool(measured.unsteady)
    lines = [_line(field, sign, limit, found[field], unsteady) for field, sign, limit in limits(budget)]
    result: Literal["pass", "fail"] = "pass" if all(line.result == "pass" for line in lines) else "fail"
    why = "; ".join(line.text for line in sorted(lines, key=lambda line: line.result != "fail")) or "no budget set"
    return Verdict(device=device, file=measured.file, result=result, why=why, lines=lines)


def _line(field: str, sign: Sign, limit: float, found: "float | Spread | None", unsteady: bool) -> Line:
    if found is None:
        text = f"{field} not measured, budget {sign} {figure(field, limit)}"
        return Line(term=field, sign=sign, limit=limit, value=None, result="fail", text=text)
    spread = found if isinstance(found, Spread) else None
    value = found.median if isinstance(found, Spread) else found
    holds = holds_limit(value, sign, limit)
    said = "holds" if holds else "misses"
    text = f"{field} {_written(field, value, limit)} {said} {sign} {figure(field, limit)}"
    if unsteady and spread is not None and len({holds_limit(end, sign, limit) for end in (spread.min, spread.max)}) > 1:
        text += f" (unsteady: {figure(field, spread.min)} to {figure(field, spread.max)})"
    return Line(
        term=field, sign=sign, limit=limit, value=value, spread=spread, result="pass" if holds else "fail", text=text
    )


def _not_here(field: str, sign: Sign, limit: float) -> Line:
    text = f"{field} not measured on this device, budget {sign} {figure(field, limit)}"
    return Line(term=field, sign=sign, limit=limit, value=None, result="open", text=text)


def figure(field: str, value: float, digits: int = 4) -> str:
    """A figure or limit in so many digits; bytes in MB or GB."""
    if field.endswith("_bytes") and value >= 1e6:
        return f"{value / 1e9:.{digits}g} GB" if value >= 1e9 else f"{value / 1e6:.{digits}g} MB"
    return f"{value:.{digits}g}"


def _written(field: str, value: float, limit: float) -> str:
    """Four digits, or as many as tell the value from the limit."""
    short = figure(field, value)
    return short if value == limit or short != figure(field, limit) else figure(field, value, 10)


def holds_limit(value: float, sign: Sign, limit: float) -> bool:
    """Whether a figure is on the allowed side; the limit itself is."""
    return value >= limit if sign == ">=" else value <= limit
