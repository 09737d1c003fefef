"""Device profiles: what a machine has, and the budget that a student must hold there.

A profile is a YAML file, named as the device; every number in it names its source. Users keep theirs in a folder of
their own. Only what was measured on the device itself can pass or fail; for all others the verdict is `estimate`.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from arte_export.budget import Budget, Bytes, Positive
from arte_export.errors import ExportError

THIS_MACHINE = "this-machine"

Count = Annotated[int, Field(gt=0)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Cores(BaseModel):
    """Cores of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="The core's name, for instance Cortex-A76.")
    count: Count = Field(description="How many there are.")
    ghz: Annotated[float, Field(gt=0, le=10)] | None = Field(None, description="Highest clock, GHz.")


class Device(BaseModel):
    """One device. A figure that nobody publishes is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The name of the file without .yaml.")
    about: str = Field(description="Maker, chip and memory in a line.")
    cores: tuple[Cores, ...] = Field((), description="Processor cores by kind, the fastest first.")
    memory_bytes: Bytes | None = Field(None, description="Memory, bytes.")
    app_memory_bytes: Bytes | None = Field(None, description="What of it one app may use, bytes.")
    memory_bandwidth_bytes_s: Positive | None = Field(None, description="Peak of the memory bus, bytes a second.")
    compute_flops_s: Positive | None = Field(
        None, description="Peak of the cores that the default threads use, float32 operations a second."
    )
    runtimes: tuple[Literal["gguf", "onnx"], ...] = Field(("gguf",), description="What runs there.")
    threads: Count | None = Field(None, description="Threads by default.")
    budget: Budget = Field(Budget(), description="What a file must hold there.")
    sources: dict[str, Words] = Field({}, description="By field: where its number is from.")

    @property
    def core_count(self) -> int | None:
        """Cores of all kinds; None where the profile names none."""
        return sum(each.count for each in self.cores) or None

    @model_validator(mode="after")
    def _is_possible(self) -> "Device":
        problems = []
        stated = [field for field in NUMBERS if getattr(self, field)] + (["budget"] if self.budget != Budget() else [])
        problems += [f"{field} names no source: add sources.{field}" for field in stated if field not in self.sources]
        problems += [f"sources.{field} is of a field without a number" for field in self.sources if field not in stated]
        memory, app, cores = self.memory_bytes, self.app_memory_bytes, self.core_count
        if memory is not None and app is not None and app > memory:
            problems.append(f"app_memory_bytes is {app}, more than the {memory} of memory_bytes")
        if memory is not None and memory < 1 << 24:
            problems.append(f"memory_bytes is {memory}: it is counted in bytes")
        if self.memory_bandwidth_bytes_s is not None and self.memory_bandwidth_bytes_s < 1e8:
            problems.append(f"memory_bandwidth_bytes_s is {self.memory_bandwidth_bytes_s:g}: it is in bytes a second")
        if self.compute_flops_s is not None and self.compute_flops_s < 1e9:
            problems.append(f"compute_flops_s is {self.compute_flops_s:g}: it is in operations a second")
        if cores is not None and self.threads is not None and self.threads > cores:
            problems.append(f"threads is {self.threads}, more than the {cores} cores")
        if self.budget.rss_bytes is not None and app is not None and self.budget.rss_bytes > app:
            problems.append(f"budget.rss_bytes is {self.budget.rss_bytes}, more than the {app} of app_memory_bytes")
        if problems:
            raise ValueError("\n  ".join(problems))
        return self


NUMBERS = (
    "cores", "memory_bytes", "app_memory_bytes", "memory_bandwidth_bytes_s", "compute_flops_s", "threads",
)  # fmt: skip


def folder() -> Path:
    """Where our profiles lie: beside this module in an installed package, at the top of a checkout."""
    installed = Path(__file__).parent / "devices_data"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "devices"


def names(own: Path | None = None) -> list[str]:
    """The known devices, those of the user's folder `own` included, in alphabetical order."""
    return sorted(_files(own))


def load(name: str, own: Path | None = None) -> Device:
    """The profile of a known device, or of a .yaml file; this-machine's cores and memory are asked of the system.

    Raises ExportError for an unknown name (with the nearest), for a profile that is not valid, where the profile of a
    user has a name that is ours, and where `own` is no folder.
    """
    if name.endswith(".yaml"):
        file = Path(name)
        ours = folder() / file.name
        if not ours.is_file() or not file.is_file():
            return read(file)
        if not file.samefile(ours):
            raise _taken(file)
        name = file.stem
    files = _files(own)
    if name not in files:
        nearest = difflib.get_close_matches(name, files, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ExportError(f"no device is called {name!r}{hint} (known: {', '.join(sorted(files))})")
    device = read(files[name])
    if name != THIS_MACHINE:
        return device
    import psutil

    from arte_export.runtime import cores

    here = (Cores(kind="core of this machine", count=cores()),)
    return device.model_copy(update={"cores": here, "memory_bytes": psutil.virtual_memory().total})


def read(file: Path) -> Device:
    """A profile from a YAML file. Raises ExportError with every problem at once."""
    if not file.is_file():
        raise ExportError(f"{file}: no such file; expected a device profile")
    try:
        value: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExportError(f"{file}: cannot be read as YAML: {error}") from None
    if problems := _problems(value):
        shown = "(arte devices --schema prints every field)"
        raise ExportError("\n  ".join([f"{file} is no device profile:", *problems, shown]))
    device = Device.model_validate(value)
    if device.name != file.stem:
        raise ExportError(f"{file}: name is {device.name!r}; expected {file.stem!r}, the name of the file")
    return device


def schema() -> dict[str, Any]:
    """The fields of a profile as JSON schema."""
    return Device.model_json_schema()


def _files(own: Path | None) -> dict[str, Path]:
    files = {file.stem: file for file in folder().glob("*.yaml")}
    if own is None:
        return files
    if not own.is_dir():
        raise ExportError(f"{own}: no such folder; expected one with device profiles (NAME.yaml)")
    theirs = {file.stem: file for file in own.glob("*.yaml")}
    if both := sorted(files.keys() & theirs.keys()):
        raise _taken(theirs[both[0]])
    return files | theirs


def _taken(file: Path) -> ExportError:
    return ExportError(f"{file}: {file.stem} is a profile of ours; give yours another name")


def _problems(value: Any) -> list[str]:
    """What is wrong with a profile, a line each: its fields, then the numbers that contradict each other."""
    try:
        Device.model_validate(value)
    except ValidationError as error:
        found = error.errors()
    else:
        return []
    told = [_told(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in found]
    bad = {each["loc"][0] for each in found if each["loc"]}
    if not bad or "sources" in bad:
        return told
    # pydantic compares fields with each other only once each is valid by itself; compare those that are
    rest = {"name": "x", "about": "x"} | {name: field for name, field in value.items() if name not in bad}
    rest["sources"] = {name: source for name, source in value.get("sources", {}).items() if name not in bad}
    return told + _problems(rest)


def _told(field: str, kind: str, message: str) -> str:
    if not field:
        return message.removeprefix("Value error, ")
    if kind != "extra_forbidden":
        return f"{field}: {message}"
    known = [*Device.model_fields, *Budget.model_fields, *Cores.model_fields]
    nearest = difflib.get_close_matches(field.rpartition(".")[2], known, n=1, cutoff=0.5)
    return f"{field}: no such field" + (f"; did you mean {nearest[0]}?" if nearest else "")
