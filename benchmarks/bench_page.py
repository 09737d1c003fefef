"""The page of measured speed: python benchmarks/bench_page.py FOLDER LLAMA_BENCH GENAI_E2E > docs/bench.md

FOLDER holds one folder of exported files a model (benchmarks/parity_page.py makes it). In each round all files of a
model take turns, in a shuffled order, and each is measured by us and by its runtime's own program, one directly after
the other: llama-bench for GGUF, benchmark/python/benchmark_e2e.py of onnxruntime-genai's repository (GENAI_E2E).
"""

import json
import random
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from arte_export import bench, bench_gguf, child, runtime
from arte_export.measurement import Measurement
from arte_export.spread import spread

from arte.machine import cpu_name
from arte.models import arte_home
from arte.report.notation import size

ROUNDS = 5
PLAN = bench.Plan(prompt_tokens=(512,), generated_tokens=128, repeats=3, rounds=ROUNDS)
LIBRARIES = ("llama-cpp-python", "onnxruntime", "onnxruntime-genai")
HEAD = """# Measured speed and memory

Every figure of this page was measured by `python benchmarks/bench_page.py FOLDER LLAMA_BENCH GENAI_E2E > docs/bench.md`
on the files of [parity.md](parity.md). What each number means: [devices.md](devices.md).

{machine}; {libraries}.

{rounds} rounds in which all files of a model take turns, {repeats} counted runs a test and round. Times are medians;
RSS is the most of any round. load: warm, then cold (the file out of the page cache). TTFT is that of 512 tokens. p50,
p90, p99: milliseconds from one decoded token to the next.

Beside their own programs: in every round ours and theirs measured the same file, one directly after the other, ours
first in every other round; tokens a second, medians over rounds; the ratio, ours to theirs, is taken within a round
(median, least and most). GGUF: llama-bench, built from the llama.cpp inside the installed llama-cpp-python. ONNX:
benchmark_e2e.py of onnxruntime-genai, given as many threads as ours; it decodes what it chooses, and each step has the
search and its conditions in it, ours takes random tokens and only computes.

Overhead: what our loop in Python adds to a decoded token, by llama.cpp's own clock inside the same run: seconds of the
loop over the seconds that llama.cpp counted for the same {tokens} tokens, less one; median of {repeats} runs.
"""


class Rates(NamedTuple):
    """Medians of a round, tokens a second."""

    pp: float
    tg: float


class Measured(NamedTuple):
    """A file: our measurement, each round's rates of both sides, and the overhead of our loop (GGUF)."""

    found: Measurement
    pairs: list[tuple[Rates, Rates]]
    overhead: float | None


def main() -> None:
    """Writes the page to stdout."""
    folder, llama_bench, genai = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    machine = f"{cpu_name()}, {runtime.cores()} cores"
    out = [HEAD.format(machine=machine, libraries=libraries, rounds=ROUNDS, repeats=PLAN.repeats,
                       tokens=PLAN.generated_tokens)]  # fmt: skip
    for exported in sorted(path.parent for path in folder.glob("*/parity.json")):
        rows = json.loads((exported / "parity.json").read_text(encoding="utf-8"))
        files = [exported / row["file"] for row in rows if row["format"] in ("gguf", "onnx")]
        measured = _measured([bench.subject(file, arte_home()) for file in files], llama_bench, genai)
        out += [f"\n## {exported.name}\n", _table(measured), "Beside their own programs:\n", _beside(measured)]
        if marks := [f"- {each.found.file}: {line}" for each in measured for line in each.found.unsteady]:
            out.append("Unsteady:\n\n" + "\n".join(marks) + "\n")
    sys.stdout.write("\n".join(out))


def _measured(subjects: list[bench.Subject], llama_bench: Path, genai: Path) -> list[Measured]:
    gathered = {each.path: bench.started(PLAN) for each in subjects}
    pairs: dict[Path, list[tuple[Rates, Rates]]] = {each.path: [] for each in subjects}
    order = list(subjects)
    draw = random.Random(0)
    for number in range(ROUNDS):
        draw.shuffle(order)
        for each in order:
            theirs = partial(_llama_bench, llama_bench) if each.format == "gguf" else partial(_genai, genai)
            other = theirs(each.path) if number % 2 else None
            pp, tg = bench.one_round(each, gathered[each.path], PLAN, seed=number).tests
            ours = Rates(float(np.median(pp.tok_s)), float(np.median(tg.tok_s)))
            pairs[each.path].append((ours, other or theirs(each.path)))
            print(f"round {number}: {each.path.name} {pairs[each.path][-1]}", file=sys.stderr, flush=True)  # noqa: T201
    return [
        Measured(
            bench.whole(each, gathered[each.path], [], PLAN),
            pairs[each.path],
            _overhead(each.path) if each.format == "gguf" else None,
        )
        for each in subjects
    ]


def _overhead(file: Path) -> float:
    call = partial(bench_gguf.loop_overhead, file, runtime.cores(), PLAN.generated_tokens, PLAN.repeats)
    return float(np.median(child.run(call, holding=file, limit_s=bench.LIMIT_S).result))


def _llama_bench(program: Path, file: Path) -> Rates:
    command = [str(program), "-m", str(file), "-p", "512", "-n", "128", "-r", str(PLAN.repeats), "-o", "json"]
    done = subprocess.run([*command, "-t", str(runtime.cores())], capture_output=True, check=True)
    pp, tg = json.loads(done.stdout)
    return Rates(float(np.median(pp["samples_ts"])), float(np.median(tg["samples_ts"])))


def _genai(script: Path, folder: Path) -> Rates:
    with tempfile.TemporaryDirectory() as scratch:
        out, model = Path(scratch) / "found.csv", Path(scratch) / "model"
        model.mkdir()
        for file in folder.iterdir():
            (model / file.name).symlink_to(file)
        # It has no option for threads, and onnxruntime's default leaves cores of a virtual machine idle.
        settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
        settings["model"]["decoder"]["session_options"]["intra_op_num_threads"] = runtime.cores()
        (model / "genai_config.json").unlink()
        (model / "genai_config.json").write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, script.name, "-i", str(model), "-l", "512", "-g", "128", "-r", str(PLAN.repeats)]
        options = [
            *("-w", "1"), *("-b", "1"), *("-e", "cpu"), *("-k", "1"), "--use_random_tokens",
            *("--aggregation", "median"), *("--chat_template", "{input}"), *("--max_lengths", "640"),
            *("-o", str(out)),
        ]  # fmt: skip
        done = subprocess.run([*command, *options], cwd=script.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        [record] = json.loads(out.with_suffix(".json").read_text())
    found = record["metrics"]  # its own names, flattened when written
    return Rates(found["prompt_processing_throughput_tps"], found["token_generation_throughput_tps"])


def _lines(titles: list[str], lines: list[list[str]]) -> str:
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [titles, marks, *lines]) + "\n"


def _table(measured: list[Measured]) -> str:
    titles = [
        "file", "size", "load s", "cold s", "TTFT s", "pp512 tok/s", "tg128 tok/s", "p50", "p90", "p99", "RSS",
        "of it mapped",
    ]  # fmt: skip
    lines = []
    for found, _, _ in measured:
        assert found.load_s is not None
        assert found.ttft_s is not None
        assert found.pp_tok_s is not None
        assert found.tg_tok_s is not None
        assert found.inter_token_s is not None
        steps = (found.inter_token_s.p50, found.inter_token_s.p90, found.inter_token_s.p99)
        lines.append([
            found.file,
            size(found.bytes),
            f"{found.load_s.median:.2f}",
            f"{found.load_cold_s.median:.2f}" if found.load_cold_s else "–",
            f"{found.ttft_s.median:.2f}",
            f"{found.pp_tok_s.median:.1f}",
            f"{found.tg_tok_s.median:.1f}",
            *(f"{1000 * step:.1f}" for step in steps),
            size(found.peak_rss_bytes),
            size(found.mapped_bytes) if found.mapped_bytes else "–",
        ])  # fmt: skip
    return _lines(titles, lines)


def _beside(measured: list[Measured]) -> str:
    titles = ["file", "pp512 ours", "theirs", "ratio", "tg128 ours", "theirs", "ratio", "overhead"]
    lines = []
    for each in measured:
        cells = []
        for place in range(2):
            values = np.array([[side[place] for side in pair] for pair in each.pairs])
            ratio = spread((values[:, 0] / values[:, 1]).tolist())
            ours, other = np.median(values, axis=0)
            cells += [f"{ours:.1f}", f"{other:.1f}", f"{ratio.median:.3f} ({ratio.min:.3f} to {ratio.max:.3f})"]
        lines.append([each.found.file, *cells, "–" if each.overhead is None else f"{each.overhead:.2%}"])
    return _lines(titles, lines)


if __name__ == "__main__":
    main()
