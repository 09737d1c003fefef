"""One recipe with every engine for its teacher: python -m benchmarks.engines_page FOLDER [ENGINE…]

Runs `arte recipe gsm8k --scale starter` with SETTINGS in FOLDER/ENGINE for each engine, where it is not done yet, and
writes a page about all that are there to stdout. Engines: those of SIDES, all by default. The servers are started here:
`vllm serve` and the engine vllm by the environment of tests/vllm_environment.py that the variable ARTE_VLLM_PYTHON
names, llama-server by the program that ARTE_LLAMA_SERVER names; without them their rows are left out.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import arte
from arte import models
from arte.recipe import Model
from arte.report.contract import Report
from arte.report.statistics import wilson
from benchmarks.serving import served

SETTINGS = (
    "arms=[untrained,arte]", "task.test=60", "distill.examples=32", "distill.epochs=1", "export.test=16",
    "bench.quiet_s=0",
)  # fmt: skip
"""Less of what comes after the teacher than the starter recipe does: it is the same for all engines."""
ARTE = str(Path(sys.executable).with_name("arte"))
SIDES = {
    "transformers": ["teacher.engine=transformers"],
    "ray": ["teacher.engine=transformers", "ray.workers=2"],
    "llama_cpp": ["teacher.engine=llama_cpp"],
    "vllm": ["teacher.engine=vllm"],
    "openai, vllm serve": ["teacher.engine=openai"],
    "openai, llama-server": ["teacher.engine=openai"],
}
HEAD = """# One recipe, every engine

```
arte recipe gsm8k --scale starter SETTINGS {settings}
```

with the settings of each engine below; made by `python -m benchmarks.engines_page FOLDER`. Qwen2.5-Coder-0.5B-Instruct
drafts until 60 questions have an accepted solution, the round that is under way included, at temperature 0.7. Engines
draw by random numbers of their own and compute in other types (`transformers` here with 8-bit weights, `llama_cpp` and
llama-server with a q8_0 file, vLLM in bfloat16), so their drafts differ; what passes the checks should be as
many within what chance allows: the interval is of 95 %.

| engine | drafted | accepted | share | requests | tokens in / out, counted | plan | stages | arte, of 60 |
|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Runs what is missing, then writes the page."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(SIDES)
    for name in names:
        out = folder / name.replace(", ", "-").replace(" ", "-")
        if not (out / "report.json").is_file():
            _run(name, out)
    settings = " ".join(f'"{setting}"' if "[" in setting else setting for setting in SETTINGS)
    page = [HEAD.format(settings=settings)]
    for name in SIDES:
        report = folder / name.replace(", ", "-").replace(" ", "-") / "report.json"
        if report.is_file():
            page.append(_row(name, Report.model_validate_json(report.read_text(encoding="utf-8"))))
    page.append("\nSettings besides: " + "; ".join(f"{name}: `{' '.join(SIDES[name])}`" for name in SIDES) + ".\n")
    sys.stdout.write("".join(page))


def _run(name: str, out: Path) -> None:
    """Raises CalledProcessError where the recipe fails."""
    settings = [*SIDES[name], *SETTINGS]
    python = os.environ.get("ARTE_VLLM_PYTHON")
    program, weights = ARTE, arte.load_recipe("gsm8k", scale="starter").teacher.name
    if name == "vllm":
        if python is None:
            return
        program = str(Path(python).with_name("arte"))
    if not name.startswith("openai"):
        _recipe(program, out, settings)
        return
    folder = models.resolve(Model(name=weights)).path
    if name == "openai, vllm serve" and python is not None:
        command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
        command += ["--served-model-name", "teacher", "--dtype", "bfloat16", "--max-model-len", "4096"]
        command += ["--enforce-eager", "--gpu-memory-utilization", "0.3", "--enable-lora", "--max-lora-rank", "16"]
        command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"]  # seeded draws on a CPU
    elif name == "openai, llama-server" and (server := os.environ.get("ARTE_LLAMA_SERVER")):
        [file] = sorted((models.arte_home() / "gguf").glob("*-q8_0/*.gguf"))[:1]  # of the run with llama_cpp
        command = [server, "-m", str(file), "--alias", "teacher", "-np", "16", "-c", str(16 * 2048)]
    else:
        return
    with served(command, out.with_suffix(".server.log")) as url:
        settings += ["teacher.name=teacher", f"teacher.weights={weights}", f"teacher.server.url={url}"]
        _recipe(program, out, settings)


def _recipe(program: str, out: Path, settings: Sequence[str]) -> None:
    command = [program, "recipe", "gsm8k", "--scale", "starter", "--out", str(out), *settings]
    print(" ".join(command), file=sys.stderr, flush=True)  # noqa: T201
    subprocess.run(command, check=True, stdout=sys.stderr)


def _row(name: str, report: Report) -> str:
    """What the report says of the teacher's first drafts, its calls, and whether all stages are there."""
    assert report.data is not None
    [unaligned] = [row for row in report.data.teachers if row.teacher == "unaligned"]
    questions, solutions = unaligned.questions, unaligned.rationales
    interval = wilson(solutions.accepted, solutions.drafted)
    assert interval is not None
    calls = [call for call in report.ledger if call.stage in ("elicit", "tailor")]
    read, drawn = (sum(getattr(call, key) for call in calls) for key in ("tokens_in", "tokens_out"))
    planned = [row for row in report.plan if row.stage in ("elicit", "tailor")]
    plan = " / ".join(f"{sum(getattr(row, key) or 0 for row in planned):,}" for key in ("tokens_in", "tokens_out"))
    arm = report.found("arte")
    assert arm is not None
    return (
        f"| {name} | {questions.drafted} questions, {solutions.drafted} solutions | {questions.accepted}, "
        f"{solutions.accepted} | {solutions.accepted / solutions.drafted:.0%} ({interval[0]:.0%} to {interval[1]:.0%}) "
        f"| {sum(call.requests for call in calls)} | {read:,} / {drawn:,} | {plan} | {len(report.stages)} "
        f"| {arm.correct} |\n"
    )


if __name__ == "__main__":
    main()
