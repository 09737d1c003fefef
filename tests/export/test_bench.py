from pathlib import Path

import pytest
from arte_export import bench
from arte_export.errors import BadModel, ExportError
from arte_export.spread import Spread, spread


def test_spread_by_hand() -> None:
    # p90 of five lies at rank 0.9 × 4 = 3.6 between the fourth and the fifth: 4 + 0.6 × (5 - 4)
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(count=5, median=3.0, p90=4.6, min=1.0, max=5.0)
    assert spread([7.0]) == Spread(count=1, median=7.0, p90=7.0, min=7.0, max=7.0)


def test_a_measurement_holds_every_value(tiny_files: dict[str, Path]) -> None:
    file = tiny_files["q8_0"]
    found = bench.measure(file, prompt_tokens=96, generated_tokens=16, repeats=3, threads=1)
    assert (found.file, found.bytes, found.threads, found.how) == (file.name, file.stat().st_size, 1, "measured")
    for name in ("load_s", "ttft_s", "pp_tok_s", "tg_tok_s"):
        values = getattr(found.values, name)
        assert len(values) == 3
        assert min(values) > 0
        assert getattr(found, name) == spread(values)
    # the first token comes after the prefill, in the same runs
    assert all(ttft >= 96 / rate for ttft, rate in zip(found.values.ttft_s, found.values.pp_tok_s, strict=True))
    assert found.peak_rss_bytes > file.stat().st_size
    assert found.energy_j_per_token is None


def test_more_tokens_than_the_context_are_refused(tiny_files: dict[str, Path]) -> None:
    with pytest.raises(ExportError, match="need a context of 641; this model has 640"):
        bench.measure(tiny_files["q8_0"], prompt_tokens=640, generated_tokens=8)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(BadModel, match=r"text\.gguf: llama\.cpp cannot load this file \(5 bytes\)"):
        bench.measure(tmp_path / "text.gguf")
