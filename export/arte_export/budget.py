"""What a file must hold on a device: limits, and the line in which they are written.

ttft<=1s tg>=15 rss<=600MB size<=200MB load<=2s accuracy>=-2
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from arte_export.errors import ExportError

Sign = Literal["<=", ">="]
MOST_BYTES = 10**18
Bytes = Annotated[int, Field(gt=0, le=MOST_BYTES)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

SECONDS = {"s": 1.0, "ms": 1e-3}
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
RATES = {"tok/s": 1.0}


class Term(NamedTuple):
    """A word of the line: the field of Budget that it sets, its one direction, its units, and what it means."""

    field: str
    sign: Sign
    units: Mapping[str, float]
    unit_needed: bool
    meaning: str


TERMS = {
    "ttft": Term("ttft_s", "<=", SECONDS, True, "time to first token"),
    "load": Term("load_s", "<=", SECONDS, True, "load, file in the system's cache"),
    "load_cold": Term("load_cold_s", "<=", SECONDS, True, "load, file out of the cache"),
    "pp": Term("pp_tok_s", ">=", RATES, False, "prefill, tokens a second"),
    "tg": Term("tg_tok_s", ">=", RATES, False, "decode, tokens a second"),
    "rss": Term("rss_bytes", "<=", SIZES, True, "peak memory of the process"),
    "size": Term("size_bytes", "<=", SIZES, True, "size of the file"),
    "energy": Term("energy_j_per_token", "<=", {"J": 1.0, "mJ": 1e-3}, True, "energy of a decoded token"),
    "accuracy": Term("accuracy_loss_points", ">=", {}, False, "points against the torch model, 0 or less"),
}


class Budget(BaseModel):
    """The most (seconds, bytes, joules, points lost) or least (tokens a second) that is allowed; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttft_s: Positive | None = Field(None, description="Time to first token, s, at most.")
    load_s: Positive | None = Field(None, description="Load with the file in the system's cache, s, at most.")
    load_cold_s: Positive | None = Field(None, description="Load with the file out of the cache, s, at most.")
    pp_tok_s: Positive | None = Field(None, description="Prefill, tokens a second, at least.")
    tg_tok_s: Positive | None = Field(None, description="Decode, tokens a second, at least.")
    rss_bytes: Bytes | None = Field(None, description="Peak memory of the process, bytes, at most.")
    size_bytes: Bytes | None = Field(None, description="Size of the file, bytes, at most.")
    energy_j_per_token: Positive | None = Field(None, description="Energy of a decoded token, J, at most.")
    accuracy_loss_points: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = Field(
        None, description="Points of accuracy lost against the torch model, at most."
    )

    def merged(self, other: "Budget") -> "Budget":
        """This budget with the limits of another in place of its own where that sets any."""
        return self.model_copy(update=other.model_dump(exclude_none=True))

    def text(self) -> str:
        """The line; `parse` reads it back."""
        words = []
        for name, term in TERMS.items():
            value = getattr(self, term.field)
            if value is None:
                continue
            unit, factor = _unit(value, term)
            amount = -value if name == "accuracy" else value // factor if term.units is SIZES else value
            words.append(f"{name}{term.sign}{_plain(amount)}{unit}")
        return " ".join(words)


def parse(line: str) -> Budget:
    """The budget of a line of terms with blanks between them.

    Raises ExportError with the position, what was found and what is allowed there.
    """
    line = re.sub(r"\s", " ", line)  # so that the caret stands under what it points at
    found: dict[str, Any] = {}
    for word in re.finditer(r"\S+", line):
        at = word.start()
        shape = re.fullmatch(r"(?P<name>[A-Za-z_]*)(?P<sign><=|>=|[<>=]*)(?P<rest>.*)", word[0])
        assert shape is not None  # every part of it may be empty
        name, sign = shape["name"], shape["sign"]
        if name not in TERMS:
            raise _error(line, at, f"{name or word[0]!r}, which is no term", f"one of {_allowed()}")
        term = TERMS[name]
        if sign != term.sign:
            wanted = f"{name}{term.sign}NUMBER ({term.meaning})"
            raise _error(line, at + len(name), f"{sign!r} after {name}" if sign else f"nothing after {name}", wanted)
        if term.field in found:
            raise _error(line, at, f"{name} a second time", "each term once")
        found[term.field] = _value(line, at + shape.start("rest"), name, term, shape["rest"])
    if not found:
        raise _error(line, 0, "no term", f"one or more of {_allowed()}")
    return Budget(**found)


def _value(line: str, at: int, name: str, term: Term, text: str) -> float | int:
    shape = re.fullmatch(r"(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?P<unit>.*)", text)
    units = " or ".join(term.units) or "no unit"
    if shape is None:
        raise _error(line, at, f"{text!r}", f"a number{f' with {units}' if term.units else ''}")
    number, unit = float(shape["number"]), shape["unit"]
    if unit not in term.units and (unit or term.unit_needed):
        raise _error(line, at + shape.start("unit"), f"the unit {unit!r}" if unit else "no unit", units)
    value = number * term.units.get(unit, 1.0)
    if name == "accuracy":
        if not -100 <= number <= 0:
            raise _error(line, at, f"{text!r}", "points from -100 to 0: -2 allows a loss of two")
        return -number + 0.0
    if not 0 < value < float("inf"):
        raise _error(line, at, f"{text!r}", "a finite number above 0")
    if term.units is not SIZES:
        return value
    # not of the float, which is exact to 2^53 only
    count = round(Decimal(shape["number"]) * SIZES[unit]) if 0.1 < value < 2 * MOST_BYTES else 0
    if not 1 <= count <= MOST_BYTES:
        raise _error(line, at, f"{text!r}", f"from 1 to {MOST_BYTES} bytes")
    return count


def _unit(value: float, term: Term) -> tuple[str, int]:
    """The unit to write a value in: for bytes the largest that leaves a whole number."""
    if term.units is SIZES:
        return next(
            (unit, SIZES[unit]) for unit in ("GB", "MB", "GiB", "MiB", "kB", "KiB", "B") if value % SIZES[unit] == 0
        )
    return next(iter(term.units), "") if term.unit_needed else "", 1


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _allowed() -> str:
    return ", ".join(f"{name}{term.sign}" for name, term in TERMS.items())


def _error(line: str, at: int, found: str, expected: str) -> ExportError:
    return ExportError(f"the budget does not parse:\n  {line}\n  {' ' * at}^\nfound {found}; expected {expected}")
