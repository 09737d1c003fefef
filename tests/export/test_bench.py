from functools import partial
from pathlib import Path

import pytest
from arte_export import bench, bench_engine, child, generate, measurement, onnx_genai
from arte_export.errors import BadModel, ExportError
from arte_export.measurement import Measurement, Timed
from arte_export.spread import Spread, spread

PLAN = bench.Plan(prompt_tokens=(96, 32), generated_tokens=16, depths=(64,), repeats=3, threads=1, quiet_s=0)


def subject(path: Path, *prompts: str) -> bench.Subject:
    return bench.subject(path, path.parent, prompts)


@pytest.fixture(scope="module")
def onnx_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_genai.export(tiny_model, tmp_path_factory.mktemp("onnx") / "tiny", "fp32")


def test_spread_by_hand() -> None:
    # p90 of five lies at rank 0.9 × 4 = 3.6 between the fourth and the fifth: 4 + 0.6 × (5 - 4)
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(count=5, median=3.0, p90=4.6, min=1.0, max=5.0)
    assert spread([7.0]) == Spread(count=1, median=7.0, p90=7.0, min=7.0, max=7.0)


def test_tests_are_named_as_llama_bench_names_them() -> None:
    assert [test.name for test in PLAN.headline + PLAN.further] == [
        "pp96", "tg16", "pp32", "pp96 @ d64", "tg16 @ d64",
    ]  # fmt: skip
    # 128 tokens in 0.5 s and in 2 s
    assert Timed(test=measurement.Test(prompt_tokens=0, generated_tokens=128), seconds=[0.5, 2.0]).tok_s == [
        256.0,
        64.0,
    ]


def check(found: Measurement, path: Path) -> None:
    """What holds of every engine's measurement under PLAN."""
    assert [(timed.test.name, len(timed.seconds)) for timed in found.tests] == [
        ("pp96", 3), ("tg16", 3), ("pp32", 3), ("pp96 @ d64", 3), ("tg16 @ d64", 3),
    ]  # fmt: skip
    assert (found.file, found.threads, found.how, found.on) == (path.name, 1, "measured", "local")
    assert min(value for timed in found.tests for value in timed.seconds) > 0
    assert found.pp_tok_s == spread([96 / seconds for seconds in found.tests[0].seconds])
    assert found.tg_tok_s == spread([16 / seconds for seconds in found.tests[1].seconds])
    assert found.ttft_s is not None
    assert found.ttft_s.count == 3
    assert found.ttft_s.min >= min(found.tests[0].seconds)  # the first token comes after the prefill, in the same runs
    assert found.inter_token_s is not None
    assert found.inter_token_s.count == 3 * 16
    assert found.inter_token_s.p50 <= found.inter_token_s.p90 <= found.inter_token_s.p99
    assert found.load_s is not None
    assert found.load_s.count == 3
    assert found.peak_rss_bytes is not None
    assert found.mapped_bytes is not None
    assert 0 < found.mapped_bytes < found.peak_rss_bytes
    assert found.peak_rss_bytes > found.bytes


def test_a_gguf_file(tiny_files: dict[str, Path]) -> None:
    file = tiny_files["q8_0"]
    [found] = bench.measure([subject(file, "one two", "three")], PLAN)
    check(found, file)
    assert (found.engine, found.format, found.bytes) == ("llama-cpp-python", "gguf", file.stat().st_size)
    assert found.model_type is not None
    assert found.model_type.endswith("Q8_0")
    assert found.weight_bytes is not None
    assert 0.5 * found.bytes < found.weight_bytes < found.bytes
    assert found.embedding_bytes == 0  # tied: the table is the output matrix too, and is read whole
    assert found.end_to_end is not None
    assert found.end_to_end.prompts == 2
    assert 2 <= found.end_to_end.tokens_out <= 2 * PLAN.answer_tokens


def test_an_onnx_folder(onnx_folder: Path) -> None:
    [found] = bench.measure([subject(onnx_folder, "one two")], PLAN)
    check(found, onnx_folder)
    assert (found.engine, found.format) == ("onnxruntime-genai", "onnx")
    assert found.end_to_end is not None
    assert found.end_to_end.tokens_in > 0


def test_the_torch_model_is_the_reference(tiny_model: Path) -> None:
    [found] = bench.measure([subject(tiny_model)], PLAN)
    check(found, tiny_model)
    assert (found.engine, found.format, found.embedding_bytes) == ("torch", "torch", 0)
    # tied, float32: 4 bytes for each of the parameters
    assert found.model_parameters is not None
    assert found.weight_bytes == 4 * found.model_parameters


def test_files_take_turns_and_runs_of_all_rounds_count(tiny_files: dict[str, Path]) -> None:
    said: list[str] = []
    plan = bench.Plan(prompt_tokens=(32,), generated_tokens=4, repeats=2, rounds=3, threads=1, quiet_s=0)
    files = [tiny_files["q8_0"], tiny_files["q4_0"]]
    found = bench.measure([subject(file) for file in files], plan, said.append)
    assert [each.file for each in found] == [file.name for file in files]
    assert [each.tg_tok_s.count for each in found if each.tg_tok_s] == [6, 6]
    turns = [line.partition(": ")[2] for line in said if line.startswith("round ")]
    assert [sorted(turns[start : start + 2]) for start in (0, 2, 4)] == [sorted(file.name for file in files)] * 3


def test_the_sweep_chooses_the_threads_that_decode_fastest(tiny_files: dict[str, Path]) -> None:
    plan = bench.Plan(prompt_tokens=(16,), generated_tokens=4, repeats=1, sweep=True, quiet_s=0)
    [found] = bench.measure([subject(tiny_files["q8_0"])], plan)
    assert [swept.threads for swept in found.sweep][:1] == [1]
    assert found.threads == max(found.sweep, key=lambda swept: swept.tg_tok_s).threads


def test_more_threads_than_cores_are_warned_of(tiny_files: dict[str, Path]) -> None:
    said: list[str] = []
    plan = bench.Plan(prompt_tokens=(8,), generated_tokens=1, repeats=1, threads=999, quiet_s=0)
    with pytest.raises(ExportError):  # no context of so many tokens; the warning comes before
        bench.measure([subject(tiny_files["q8_0"])], plan.model_copy(update={"prompt_tokens": (4096,)}), said.append)
    assert said[0].startswith("warning: 999 threads on ")


def test_more_tokens_than_the_context_are_refused(tiny_files: dict[str, Path]) -> None:
    plan = bench.Plan(prompt_tokens=(641,), generated_tokens=8, quiet_s=0)
    with pytest.raises(ExportError, match=r"tests of 641 tokens .* this model's context has 640"):
        bench.measure([subject(tiny_files["q8_0"])], plan)


def test_a_file_larger_than_the_free_memory_is_not_loaded() -> None:
    with pytest.raises(ExportError, match="has 2,000 MB, and 1,500 MB of memory are free; it was not loaded"):
        bench.check_memory(Path("big.gguf"), 2_000_000_000, 1_500_000_000)
    bench.check_memory(Path("big.gguf"), 1_500_000_000, 1_500_000_000)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(BadModel, match=r"text\.gguf: not a GGUF file"):
        subject(tmp_path / "text.gguf")
    with pytest.raises(BadModel, match=r"none\.gguf: no such file"):
        subject(tmp_path / "none.gguf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match=r"empty.*config\.json"):
        subject(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["gguf", "onnx", "torch"])
def test_the_clock_runs_over_what_answers_are_made_of(
    kind: str, tiny_files: dict[str, Path], onnx_folder: Path, tiny_model: Path
) -> None:
    """Fed token by token, every engine goes on as the same file does when it is asked for its answer."""
    path = {"gguf": tiny_files["f32"], "onnx": onnx_folder, "torch": tiny_model}[kind]
    expected = generate.answers(tiny_files["f32"], ["Ana has 12 apples"], 12, threads=1).token_ids[0]
    call = partial(continued, kind, path, "Ana has 12 apples", len(expected))
    assert child.run(call, holding=path, limit_s=120).result == expected


def continued(kind: str, path: Path, prompt: str, count: int) -> list[int]:
    """The greedy continuation by bench_engine's protocol; run in a child process."""
    with bench_engine.opener(kind, path, 1) as engine:
        ids = engine.tokenise(prompt)
        engine.clear(len(ids) + count)
        engine.feed(ids)
        made = [engine.choose()]
        while len(made) < count:
            engine.feed([made[-1]])
            made.append(engine.choose())
    return made
