import csv
import json
import math

import pytest
from arte_export import llama_bench
from arte_export.errors import ExportError
from arte_export.measurement import Measurement, Timed
from hypothesis import given
from hypothesis import strategies as st


def measured(*seconds: float) -> Measurement:
    tests = [
        {"test": {"prompt_tokens": 512, "generated_tokens": 0}, "seconds": seconds},
        {"test": {"prompt_tokens": 0, "generated_tokens": 100, "depth_tokens": 64}, "seconds": seconds},
    ]
    return Measurement(
        file="x.gguf", format="gguf", bytes=100, engine="llama-cpp-python", threads=2, prompt_tokens=512,
        generated_tokens=100, tests=[Timed.model_validate(test) for test in tests], model_type="llama 1B Q8_0",
        model_parameters=1_234_567_890, weight_bytes=3 << 20,
    )  # fmt: skip


def test_mean_and_sample_deviation_by_hand() -> None:
    # 100 tokens in 1, 2 and 4 s: rates 100, 50, 25, mean 58.333, deviations 41.667, -8.333, -33.333:
    # (1736.1 + 69.4 + 1111.1) / 2 = 1458.3, its root 38.188; times: mean 2.333, root of (1.778 + 0.111 + 2.778) / 2
    row = llama_bench.rows(measured(1.0, 2.0, 4.0))[1]
    assert (row.avg_ts, row.stddev_ts) == pytest.approx((58.3333, 38.1881), abs=1e-3)
    assert (row.avg_ns, row.stddev_ns) == (2333333333, 1527525232)
    assert (row.samples_ns, row.samples_ts) == ([10**9, 2 * 10**9, 4 * 10**9], [100.0, 50.0, 25.0])
    assert (row.n_prompt, row.n_gen, row.n_depth, row.n_threads) == (0, 100, 64, 2)
    assert llama_bench.rows(measured(1.0))[0].stddev_ts == 0.0


def test_markdown_is_the_table_that_llama_bench_prints() -> None:
    lines = llama_bench.markdown_text(llama_bench.rows(measured(1.0, 2.0, 4.0))).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["model", "size", "params", "backend", "threads", "test", "t/s"]
    assert cells[3] == ["llama 1B Q8_0", "3.00 MiB", "1.23 B", "CPU", "2", "tg100 @ d64", "58.33 ± 38.19"]
    assert len({len(line) for line in lines}) == 1


def test_csv_quotes_every_value_and_leaves_samples_out() -> None:
    text = llama_bench.csv_text(llama_bench.rows(measured(1.0)))
    head, *rows = csv.reader(text.splitlines())
    assert [len(row) for row in rows] == [len(head)] * 2
    assert "samples_ns" not in head
    assert rows[0][head.index("n_prompt")] == "512"
    assert all(line.startswith('"') for line in text.splitlines()[1:])


@given(st.lists(st.floats(min_value=1e-6, max_value=1e5), min_size=1, max_size=6))
def test_what_is_written_is_read_back(seconds: list[float]) -> None:
    read = llama_bench.timed(llama_bench.parse(llama_bench.json_text(llama_bench.rows(measured(*seconds)))))
    assert [timed.test.name for timed in read] == ["pp512", "tg100 @ d64"]
    assert all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(read[0].seconds, seconds, strict=True))


def test_fields_of_newer_versions_are_passed_over() -> None:
    rows = json.loads(llama_bench.json_text(llama_bench.rows(measured(1.0))))
    assert len(llama_bench.parse(json.dumps([row | {"a_new_field": [1]} for row in rows]))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("error: failed to load", "is not JSON"),
        ("{}", "printed dict; expected a list"),
        ("[]", "expected a list of one or more tests"),
        ('[{"n_prompt": 1}]', "no usable model_filename"),
    ],
)
def test_what_is_no_output_of_llama_bench(text: str, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        llama_bench.parse(text)


@given(st.text(max_size=60) | st.lists(st.dictionaries(st.text(max_size=8), st.integers())).map(json.dumps))
def test_anything_else_is_an_error_for_the_reader(text: str) -> None:
    with pytest.raises(ExportError):
        llama_bench.parse(text)
