"""Device profiles: what a machine has, and the budget that a student must hold there.

A profile is a YAML file; every number in it names its source. Only what was measured on the device itself can pass or
fail; for all others the verdict is `estimate`.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arte_export.bench import Measurement
from arte_export.errors import ExportError

THIS_MACHINE = "this-machine"

Bytes = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]


class Budget(BaseModel):
    """The most (seconds, bytes, points lost) or least (tokens per second) that is allowed; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttft_s: Positive | None = None
    tg_tok_s: Positive | None = None
    rss_bytes: Bytes | None = None
    size_bytes: Bytes | None = None
    load_s: Positive | None = None
    accuracy_loss_points: Annotated[float, Field(ge=0)] | None = None


class Device(BaseModel):
    """One device. `sources` says, by field name, where each number is from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    cores: Annotated[int, Field(gt=0)] | None = None
    memory_bytes: Bytes | None = None
    app_memory_bytes: Bytes | None = None
    memory_bandwidth_bytes_s: Positive | None = None
    runtimes: tuple[Literal["gguf", "onnx"], ...] = ("gguf",)
    threads: Annotated[int, Field(gt=0)] | None = None
    budget: Budget = Budget()
    sources: dict[str, str] = {}


class Verdict(BaseModel):
    """Whether a file holds a device's budget, and every line of it that says so."""

    model_config = ConfigDict(frozen=True)

    device: str
    file: str
    result: Literal["pass", "fail", "estimate"]
    why: str


def folder() -> Path:
    """Where the profiles lie: beside this module in an installed package, at the top of a checkout."""
    installed = Path(__file__).parent / "devices_data"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "devices"


def names() -> list[str]:
    """The known devices, in alphabetical order."""
    return sorted(file.stem for file in folder().glob("*.yaml"))


def load(name: str) -> Device:
    """The profile of a known device; this-machine's cores and memory are asked of the system.

    Raises ExportError for an unknown name (with the nearest) and for a profile that is not valid.
    """
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ExportError(f"no device is called {name!r}{hint} (known: {', '.join(names())})")
    device = read(folder() / f"{name}.yaml")
    if name != THIS_MACHINE:
        return device
    import psutil

    from arte_export.runtime import cores

    return device.model_copy(update={"cores": cores(), "memory_bytes": psutil.virtual_memory().total})


def read(file: Path) -> Device:
    """A profile from a YAML file. Raises ExportError with every problem at once."""
    try:
        value: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Device.model_validate(value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExportError(f"{file}: cannot be read as YAML: {error}") from None
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise ExportError("\n".join([f"{file} is no device profile:", *problems])) from None


def verdict(device: Device, measurement: Measurement, accuracy_loss_points: float | None = None) -> Verdict:
    """Whether the medians that were measured hold the device's budget.

    `accuracy_loss_points`: accuracy of the torch model less that of the file, in points of a hundred; None where it was
    not measured, which fails a budget that limits it.
    """
    result: Literal["pass", "fail", "estimate"]
    if device.name != measurement.device or measurement.how != "measured":
        result, why = "estimate", f"not measured on this device (measured on {measurement.device})"
        return Verdict(device=device.name, file=measurement.file, result=result, why=why)
    budget = device.budget
    lines = [
        _line("ttft_s", measurement.ttft_s.median, budget.ttft_s),
        _line("tg_tok_s", measurement.tg_tok_s.median, budget.tg_tok_s, at_least=True),
        _line("rss_bytes", measurement.peak_rss_bytes, budget.rss_bytes),
        _line("size_bytes", measurement.bytes, budget.size_bytes),
        _line("load_s", measurement.load_s.median, budget.load_s),
        _line("accuracy_loss_points", accuracy_loss_points, budget.accuracy_loss_points),
    ]
    stated = [line for line in lines if line is not None]
    result = "pass" if all(holds for holds, _ in stated) else "fail"
    failed_first = sorted(stated, key=lambda line: line[0])
    why = "; ".join(text for _, text in failed_first) or "no budget set"
    return Verdict(device=device.name, file=measurement.file, result=result, why=why)


def _line(term: str, found: float | None, limit: float | None, at_least: bool = False) -> tuple[bool, str] | None:
    """Whether one term of the budget holds, and the sentence; None where there is no limit."""
    if limit is None:
        return None
    sign = ">=" if at_least else "<="
    if found is None:
        return False, f"{term} not measured, budget {sign} {limit:g}"
    holds = found >= limit if at_least else found <= limit
    return holds, f"{term} {found:.4g} {'holds' if holds else 'misses'} {sign} {limit:g}"
