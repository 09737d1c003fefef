import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from arte_export import llama_bench, llama_bench_build
from arte_export.errors import ExportError
from arte_export.measurement import Measurement, Timed
from hypothesis import given
from hypothesis import strategies as st

HOME = Path(os.environ.get("ARTE_HOME") or Path.home() / ".cache" / "arte")


def measured(*seconds: float, engine: str = "llama-cpp-python", name: str = "x.gguf") -> Measurement:
    tests = [
        {"test": {"prompt_tokens": 512, "generated_tokens": 0}, "seconds": seconds},
        {"test": {"prompt_tokens": 0, "generated_tokens": 100, "depth_tokens": 64}, "seconds": seconds},
    ]
    return Measurement.model_validate(
        {
            "file": name, "format": "gguf", "bytes": 100, "engine": engine, "threads": 2, "prompt_tokens": 512,
            "generated_tokens": 100, "tests": [Timed.model_validate(test) for test in tests],
            "model_type": "llama 1B Q8_0", "model_parameters": 1_234_567_890, "weight_bytes": 3 << 20,
        }
    )  # fmt: skip


def test_mean_and_sample_deviation_by_hand() -> None:
    # 100 tokens in 1, 2 and 4 s: rates 100, 50, 25, mean 58.333, deviations 41.667, -8.333, -33.333:
    # (1736.1 + 69.4 + 1111.1) / 2 = 1458.3, its root 38.188; times: mean 2.333, root of (1.778 + 0.111 + 2.778) / 2
    row = llama_bench.rows(measured(1.0, 2.0, 4.0))[1]
    assert (row.avg_ts, row.stddev_ts) == pytest.approx((58.3333, 38.1881), abs=1e-3)
    assert (row.avg_ns, row.stddev_ns) == (2333333333, 1527525231)
    assert (row.samples_ns, row.samples_ts) == ([10**9, 2 * 10**9, 4 * 10**9], [100.0, 50.0, 25.0])
    assert (row.n_prompt, row.n_gen, row.n_depth, row.n_threads) == (0, 100, 64, 2)
    one = llama_bench.rows(measured(1.0))[0]
    assert (one.stddev_ns, one.stddev_ts) == (0, 0.0)


def test_json_is_written_as_llama_bench_writes_it() -> None:
    rows = llama_bench.rows(measured(1.0, 3.0, name='a "b"\\c.gguf'), cpu="Some CPU")
    lines = llama_bench.json_text(rows).splitlines()
    assert (lines[:2], lines[-2:]) == (["[", "  {"], ["  }", "]"])
    assert {
        '    "build_commit": "unknown",', '    "build_number": 0,', '    "cpu_info": "Some CPU",',
        '    "n_batch": 2048,',
        '    "model_filename": "a \\"b\\"\\\\c.gguf",', '    "type_k": "f16",', '    "no_kv_offload": false,',
        '    "avg_ns": 2000000000,', '    "stddev_ns": 1414213562,', '    "avg_ts": 341.333333,',
        '    "samples_ns": [ 1000000000, 3000000000 ],', '    "samples_ts": [ 512, 170.667 ]',
    } <= set(lines)  # fmt: skip


def test_markdown_is_the_table_that_llama_bench_prints() -> None:
    *lines, empty, build = llama_bench.markdown_text(llama_bench.rows(measured(1.0, 2.0, 4.0))).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["model", "size", "params", "backend", "threads", "test", "t/s"]
    assert cells[3] == ["llama 1B Q8_0", "3.00 MiB", "1.23 B", "CPU", "2", "tg100 @ d64", "58.33 ± 38.19"]
    assert {len(line) for line in lines} == {2 + 30 + 3 + 10 + 3 + 10 + 3 + 10 + 3 + 7 + 3 + 15 + 3 + 20 + 2}
    assert (empty, build) == ("", "build: unknown (0)")


def test_csv_quotes_every_value_and_leaves_samples_out() -> None:
    text = llama_bench.csv_text(llama_bench.rows(measured(1.0)) + llama_bench.rows(measured(1.0, engine="torch")))
    head, *rows = csv.reader(text.splitlines())
    assert [len(row) for row in rows] == [len(head)] * 4
    assert "samples_ns" not in head
    by_name = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["n_prompt"] for row in by_name] == ["512", "0"] * 2
    assert [row["repack"] for row in by_name] == ["1", "1", "", ""]  # settings of llama.cpp are none of torch
    assert by_name[0]["avg_ts"] == "512.000000"
    assert all(line.startswith('"') and line.endswith('"') for line in text.splitlines()[1:])


@given(st.lists(st.floats(min_value=1e-9, max_value=1e5), min_size=1, max_size=6), st.text(max_size=20))
def test_what_is_written_is_read_back(seconds: list[float], name: str) -> None:
    written = llama_bench.rows(measured(*seconds, name=name))
    read = llama_bench.parse(llama_bench.json_text(written))
    assert [row.samples_ns for row in read] == [row.samples_ns for row in written]
    assert [row.model_filename for row in read] == [name] * 2
    assert [timed.test.name for timed in llama_bench.timed(read)] == ["pp512", "tg100 @ d64"]
    assert llama_bench.timed(read)[0].seconds == pytest.approx(seconds, abs=5.1e-10, rel=1e-12)
    lines = llama_bench.jsonl_text(written).split("\n")
    assert [llama_bench.parse(f"[{line}]")[0] for line in lines[:-1]] == read


def test_fields_of_newer_versions_are_passed_over() -> None:
    rows = json.loads(llama_bench.json_text(llama_bench.rows(measured(1.0))))
    assert len(llama_bench.parse(json.dumps([row | {"a_new_field": [1]} for row in rows]))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("error: failed to load", "is not JSON .*begins 'error: failed to load'"),
        ("{}", "printed dict; expected a list"),
        ("[]", "printed an empty list; expected a list of one or more tests"),
        ("[1]", "no usable fields: Input should be"),
        ('[{"n_prompt": 1}]', "no usable model_type"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_output_of_llama_bench(text: str, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        llama_bench.parse(text)


@pytest.mark.parametrize(
    ("field", "value"), [("samples_ns", []), ("samples_ns", [0]), ("n_prompt", -1), ("avg_ts", None)]
)
def test_a_test_without_what_is_needed(field: str, value: object) -> None:
    rows = json.loads(llama_bench.json_text(llama_bench.rows(measured(1.0))))
    with pytest.raises(ExportError, match=f"no usable {field}"):
        llama_bench.parse(json.dumps([rows[0] | {field: value}]))


@given(st.text(max_size=60) | st.lists(st.dictionaries(st.text(max_size=8), st.integers())).map(json.dumps))
def test_anything_else_is_an_error_for_the_reader(text: str) -> None:
    with pytest.raises(ExportError):
        llama_bench.parse(text)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the program is built on Linux only")
def test_the_program_itself_is_read_and_written_as_it_writes(tiny_files: dict[str, Path]) -> None:
    """Its JSON is read and written anew: every field, their order and each value as it wrote them; so for the rest."""
    program = llama_bench_build.found(HOME)
    if program is None:
        pytest.skip(f"llama-bench is not built here: {llama_bench_build.INSTALL_LINE}")
    command = [str(program), "-m", str(tiny_files["q8_0"]), "-p", "32", "-n", "8", "-d", "0,16", "-t", "1", "-r", "3"]
    done = {
        shape: subprocess.run([*command, "-o", shape], capture_output=True, text=True, check=True).stdout
        for shape in ("json", "jsonl", "csv", "md")
    }
    rows = llama_bench.parse(done["json"])
    assert [(row.n_prompt, row.n_gen, row.n_depth) for row in rows] == [(32, 0, 0), (0, 8, 0), (32, 0, 16), (0, 8, 16)]
    assert llama_bench.json_text(rows) == done["json"]
    writers = {"jsonl": llama_bench.jsonl_text, "csv": llama_bench.csv_text, "md": llama_bench.markdown_text}
    for shape, write in writers.items():
        assert shaped(write(rows)) == shaped(done[shape]), shape  # they are of other runs: only the figures differ
    assert {name: getattr(rows[0], name) for name in llama_bench.DEFAULTS} == llama_bench.DEFAULTS
    rates = [1e9 * 32 / nanoseconds for nanoseconds in rows[0].samples_ns]
    assert rows[0].samples_ts == pytest.approx(rates, rel=1e-5)


def shaped(text: str) -> list[str]:
    """The lines without what differs from run to run: measured times and rates, and the date."""
    times = r'("?(?:avg|stddev|samples)_[nt]s"?: )(\[[^]]*\]|[\d.]+)'
    text = re.sub(times, r"\1#", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "#", text)
    text = re.sub(r'#"(,"[\d.]+"){4}$', "#", text, flags=re.MULTILINE)
    return re.sub(r"\| +[\d.]+ ± [\d.]+ \|", "| #", text).splitlines()
