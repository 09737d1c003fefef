"""Our clock beside the runtimes' own programs, in one run: python benchmarks/devices.py FOLDER LLAMA_BENCH [GENAI_E2E]

FOLDER holds one folder of exported files a model (benchmarks/parity_page.py makes it). Each round runs ours and theirs
on the same file, in turn: llama-bench for GGUF; for ONNX benchmark/python/benchmark_e2e.py of the repository of
onnxruntime-genai, where GENAI_E2E names it. A line a file: medians over the rounds, and the ratio within rounds.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from arte_export import bench_engine, child, runtime
from arte_export.bench import Plan
from arte_export.spread import spread

ROUNDS = 3
PLAN = Plan(prompt_tokens=(512,), generated_tokens=128, repeats=5)


class Rates(NamedTuple):
    """Medians of a round, tokens a second."""

    pp: float
    tg: float


def main() -> None:
    """Prints the table."""
    folder, llama_bench = Path(sys.argv[1]), Path(sys.argv[2])
    genai = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    titles = ["file", "pp512 ours", "theirs", "ratio", "tg128 ours", "theirs", "ratio"]
    print(f"| {' | '.join(titles)} |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")  # noqa: T201
    for path in sorted(folder.glob("*/*")):
        if path.suffix == ".gguf":
            _line(path, "gguf", lambda file: _llama_bench(llama_bench, file))
        elif genai is not None and (path / "genai_config.json").is_file():
            _line(path, "onnx", lambda file: _genai(genai, file))


def _line(path: Path, form: str, theirs: Callable[[Path], Rates]) -> None:
    rounds = []
    for number in range(ROUNDS):
        pair = [_ours(path, form), theirs(path)] if number % 2 == 0 else [theirs(path), _ours(path, form)][::-1]
        rounds.append(pair)
    cells = []
    for figure in ("pp", "tg"):
        values = np.array([[getattr(side, figure) for side in pair] for pair in rounds])
        ratio = spread((values[:, 0] / values[:, 1]).tolist())
        ours, other = np.median(values, axis=0)
        cells += [f"{ours:.1f}", f"{other:.1f}", f"{ratio.median:.3f} ({ratio.min:.3f} to {ratio.max:.3f})"]
    print(f"| {path.parent.name} {path.name} | {' | '.join(cells)} |", flush=True)  # noqa: T201


def _ours(path: Path, form: str) -> Rates:
    call = partial(bench_engine.runs, form, path, runtime.cores(), PLAN.headline, PLAN.repeats, 0)
    pp, tg = child.run(call, holding=path, limit_s=3600).result.tests
    return Rates(float(np.median(pp.tok_s)), float(np.median(tg.tok_s)))


def _llama_bench(program: Path, file: Path) -> Rates:
    command = [str(program), "-m", str(file), "-p", "512", "-n", "128", "-r", str(PLAN.repeats), "-o", "json"]
    done = subprocess.run([*command, "-t", str(runtime.cores())], capture_output=True, check=True)
    pp, tg = json.loads(done.stdout)
    return Rates(float(np.median(pp["samples_ts"])), float(np.median(tg["samples_ts"])))


def _genai(script: Path, folder: Path) -> Rates:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "found.csv"
        command = [sys.executable, script.name, "-i", str(folder), "-l", "512", "-g", "128", "-r", str(PLAN.repeats)]
        options = [
            "-w",
            "1",
            "-b",
            "1",
            "-e",
            "cpu",
            "-k",
            "1",
            "--use_random_tokens",
            "--aggregation",
            "median",
            "-o",
            str(out),
        ]
        template = ["--chat_template", "{input}", "--max_lengths", "640"]
        subprocess.run([*command, *options, *template], cwd=script.parent, capture_output=True, check=True)
        [record] = json.loads(out.with_suffix(".json").read_text())
    found = record["metrics"]  # its own names, flattened when written
    return Rates(found["prompt_processing_throughput_tps"], found["token_generation_throughput_tps"])


if __name__ == "__main__":
    main()
