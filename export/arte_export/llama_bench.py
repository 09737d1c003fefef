"""llama-bench's own shapes: its rows read, and JSON, JSONL, CSV and markdown of a measurement as it would print them.

The fields and their order are those of tools/llama-bench/llama-bench.cpp in the llama.cpp of llama-cpp-python 0.3.36.
"""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arte_export.errors import ExportError
from arte_export.measurement import Measurement, Test, Timed

MIB, GIB = 2**20, 2**30
Count = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """One test. Settings of llama.cpp are None, and not written, where something else ran or they are not known.

    Times in ns, rates (`_ts`) in tokens a second. `avg` is the mean and `stddev` the sample deviation (n - 1; 0 for one
    repeat). llama-bench has stddev_ns in 64-bit integers, which overflow from about 2 s a sample; ours do not.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    build_commit: str = "unknown"  # as llama.cpp says of itself when it was built outside its repository
    build_number: int = 0
    cpu_info: str = ""
    gpu_info: str = ""
    backends: str = "CPU"
    model_filename: str = ""
    model_type: str
    model_size: Count
    model_n_params: Count
    n_batch: int | None = None
    n_ubatch: int | None = None
    n_threads: int
    cpu_mask: str | None = None
    cpu_strict: bool | None = None
    poll: int | None = None
    type_k: str | None = None
    type_v: str | None = None
    n_gpu_layers: int | None = None
    n_cpu_moe: int | None = None
    split_mode: str | None = None
    main_gpu: int | None = None
    no_kv_offload: bool | None = None
    flash_attn: int | None = None
    devices: str | None = None
    tensor_split: str | None = None
    tensor_buft_overrides: str | None = None
    load_mode: str | None = None
    lazy_mode: str | None = None
    embeddings: bool | None = None
    no_op_offload: int | None = None
    no_host: bool | None = None
    repack: bool | None = None
    fit_target: int | None = None
    fit_min_ctx: int | None = None
    n_prompt: Count
    n_gen: Count
    n_depth: Count = 0  # versions before depths have none
    test_time: str = ""
    avg_ns: int
    stddev_ns: int
    avg_ts: float
    stddev_ts: float
    samples_ns: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
    samples_ts: list[float] = []


FIELDS = [name for name in Row.model_fields if not name.startswith("samples_")]
DEFAULTS: dict[str, Any] = {
    "n_batch": 2048, "n_ubatch": 512, "cpu_mask": "0x0", "cpu_strict": False, "poll": 50, "type_k": "f16",
    "type_v": "f16", "n_gpu_layers": -1, "n_cpu_moe": 0, "split_mode": "layer", "main_gpu": 0, "no_kv_offload": False,
    "flash_attn": -1, "devices": "auto", "tensor_split": "0.00", "tensor_buft_overrides": "none", "load_mode": "auto",
    "lazy_mode": "auto", "embeddings": False, "no_op_offload": 0, "no_host": False, "repack": True, "fit_target": 0,
    "fit_min_ctx": 0,
}  # fmt: skip
"""What llama-bench has of its own accord, and this project leaves as it is when it runs llama.cpp."""


def parse(json_text: str) -> list[Row]:
    """The rows of `llama-bench -o json`, whatever further fields its version writes.

    Raises ExportError, with what was found, where it is not that.
    """
    try:
        written = json.loads(json_text)
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"what llama-bench printed is not JSON ({error}); it begins {json_text[:80]!r}. Expected the output of "
            "llama-bench -o json"
        ) from None
    if not isinstance(written, list) or not written:
        found = "an empty list" if written == [] else type(written).__name__
        raise ExportError(f"llama-bench printed {found}; expected a list of one or more tests")
    try:
        return [Row.model_validate(each) for each in written]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "fields"
        raise ExportError(
            f"a test that llama-bench printed has no usable {where}: {first['msg']}; its version may be older or newer "
            "than what is understood here"
        ) from None


def timed(found: Sequence[Row]) -> list[Timed]:
    """The tests and the seconds of their repeats."""
    return [Timed(test=_test(row), seconds=[nanoseconds / 1e9 for nanoseconds in row.samples_ns]) for row in found]


def rows(measured: Measurement, cpu: str = "") -> list[Row]:
    """A row for each test of a measurement; `cpu` is the name of the processor it ran on.

    What no measurement tells is filled in as llama-bench would: test_time is the time of this call; a file whose
    parameters or tensors were not counted has model_n_params 0 and the size of the file.
    """
    return [_row(measured, each, cpu) for each in measured.tests]


def json_text(found: Sequence[Row]) -> str:
    """As `llama-bench -o json`: rates with six decimals, samples_ts with six digits."""
    tests = ["  {\n" + ",\n".join(f"    {pair}" for pair in _pairs(row)) + "\n  }" for row in found]
    return "[\n" + ",\n".join(tests) + "\n]\n"


def jsonl_text(found: Sequence[Row]) -> str:
    """As `llama-bench -o jsonl`: one test a line."""
    lines = []
    for row in found:
        *fields, rates = _pairs(row)
        lines.append("{" + ", ".join(fields) + "," + rates + "}\n")
    return "".join(lines)


def csv_text(found: Sequence[Row]) -> str:
    """As `llama-bench -o csv`: every value in quotation marks, truth as 0 and 1, without the samples."""
    out = io.StringIO()
    out.write(",".join(FIELDS) + "\n")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in found:
        values = (getattr(row, name) for name in FIELDS)
        writer.writerow(["" if value is None else _plain(value) for value in values])
    return out.getvalue()


def markdown_text(found: Sequence[Row]) -> str:
    """As `llama-bench -o md` does for the processor."""
    head = ["model", "size", "params", "backend", "threads", "test", "t/s"]
    lines = [_line(head), _line(["-" * 30, "-" * 9 + ":", "-" * 9 + ":", "-" * 10, "-" * 6 + ":", "-" * 14 + ":",
                                 "-" * 19 + ":"])]  # fmt: skip
    for row in found:
        size = f"{row.model_size / MIB:.2f} MiB" if row.model_size < GIB else f"{row.model_size / GIB:.2f} GiB"
        number = row.model_n_params
        parameters = f"{number / 1e6:.2f} M" if number < 10**9 else f"{number / 1e9:.2f} B"
        rate = f"{row.avg_ts:.2f} ± {row.stddev_ts:.2f}"
        lines.append(_line([row.model_type, size, parameters, row.backends, str(row.n_threads), _test(row).name, rate]))
    builds = dict.fromkeys(f"build: {row.build_commit} ({row.build_number})" for row in found)
    return "\n".join([*lines, "", *builds]) + "\n"


def _test(row: Row) -> Test:
    return Test(prompt_tokens=row.n_prompt, generated_tokens=row.n_gen, depth_tokens=row.n_depth)


def _row(measured: Measurement, one: Timed, cpu: str) -> Row:
    samples_ns = [max(1, round(seconds * 1e9)) for seconds in one.seconds]
    tokens = one.test.prompt_tokens + one.test.generated_tokens
    rates = [1e9 * tokens / nanoseconds for nanoseconds in samples_ns]
    several = len(samples_ns) > 1
    return Row(
        **(DEFAULTS if measured.engine in ("llama-cpp-python", "llama-bench") else {}),
        cpu_info=cpu,
        model_filename=measured.file,
        model_type=measured.model_type or measured.format,
        model_size=measured.weight_bytes or measured.bytes,
        model_n_params=measured.model_parameters or 0,
        n_threads=measured.threads,
        n_prompt=one.test.prompt_tokens,
        n_gen=one.test.generated_tokens,
        n_depth=one.test.depth_tokens,
        test_time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        avg_ns=sum(samples_ns) // len(samples_ns),
        stddev_ns=int(statistics.stdev(samples_ns)) if several else 0,
        avg_ts=statistics.fmean(rates),
        stddev_ts=statistics.stdev(rates) if several else 0.0,
        samples_ns=samples_ns,
        samples_ts=rates,
    )


def _pairs(row: Row) -> list[str]:
    values = ((name, getattr(row, name)) for name in FIELDS)
    pairs = [f'"{name}": {_json(value)}' for name, value in values if value is not None]
    for name, samples in (("samples_ns", map(str, row.samples_ns)), ("samples_ts", (f"{r:g}" for r in row.samples_ts))):
        pairs.append(f'"{name}": [ {", ".join(samples)} ]')
    return pairs


def _json(value: str | float | bool) -> str:
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return _plain(value)


def _plain(value: str | float | bool) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _line(cells: list[str]) -> str:
    # two cells that llama-bench aligns to the left
    widths = (-30, 10, 10, -10, 7, 15, 20)
    padded = (cell.rjust(width) if width > 0 else cell.ljust(-width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"
