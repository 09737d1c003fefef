"""The page of measured parity: python benchmarks/parity_page.py FOLDER > docs/parity.md

Exports both starter models into FOLDER/MODEL, where they are not yet, with an importance matrix of FOLDER/rows.jsonl,
seed problems of the starter task with their solutions; the page is made of the parity.json that lies there then.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arte_export import runtime

from arte import recipe
from arte.machine import cpu_name
from arte.report.notation import size
from arte.tasks.starter import Starter

TARGETS = (
    "gguf:bf16", "gguf:q8_0", "gguf:q4_k_m", "gguf:iq4_xs", "onnx:fp32", "onnx:int8", "onnx:int4", "onnx-optimum:int8",
    "ollama",
)  # fmt: skip
ROWS = 235
ITEMS = {"smollm2-135m-instruct": 64, "qwen2.5-coder-0.5b-instruct": 32}
LIBRARIES = ("torch", "transformers", "llama-cpp-python", "onnxruntime", "onnxruntime-genai")
HEAD = """# Files held against their models

Every figure of this page was measured by

```
arte export MODEL {targets} \\
  --calibrate rows.jsonl --test N
```

and put into tables by `python benchmarks/parity_page.py FOLDER > docs/parity.md`, which writes rows.jsonl first: {rows}
seed problems of the starter task with their solutions, none of them a test item. The importance matrices are of them.

Every file is held against the torch model in float32. KL: divergence of the next-token distribution, in nats; top-1:
positions with the same most probable token; ppl ratio: perplexity of the file over the model's; Δp: change of the
probability of the token that follows, in points. ± is a standard error over whole rows of text; the beginning that all
rows share is not counted. Accuracy is strict match (flexible in brackets) through lm-eval on the starter task's test
items, the difference paired with its 95 % interval. Neither model was trained for the task: few answers have its form
(strict), SmolLM2 rambles, and one unequal token changes the rest of an answer. Equal answers and accuracies say more of
a trained student. What each scheme has to hold: `export/arte_export/thresholds.py`.

{machine}; {libraries}.
"""


def main() -> None:
    """Writes the page to stdout."""
    folder = Path(sys.argv[1])
    rows = _rows(folder)
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    words = [f"--to {target}" for target in TARGETS]
    targets = " \\\n  ".join([" ".join(words[:4]), " ".join(words[4:])])
    machine = f"{cpu_name()}, {runtime.cores()} cores"
    out = [HEAD.format(rows=ROWS, targets=targets, machine=machine, libraries=libraries)]
    for model in ITEMS:
        files = _exported(model, folder / model, rows)
        out += [f"\n## {model}\n", _same(files), _distributions(files), _answers(files), _matrices(files)]
        if failed := [f"- {_name(file)}: {line}" for file in files for line in file["parity"]["why"]]:
            out.append("Failed:\n\n" + "\n".join(failed) + "\n")
        if notes := [f"- {_name(file)}: {line}" for file in files for line in file["parity"]["notes"]]:
            out.append("Limits of the runtimes:\n\n" + "\n".join(notes) + "\n")
    sys.stdout.write("\n".join(out))


def _rows(folder: Path) -> Path:
    seeds = Starter().splits(recipe.Task(name="starter", seeds=ROWS), seed=0).seeds
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows.jsonl"
    rows.write_text("".join(seed.model_dump_json() + "\n" for seed in seeds), encoding="utf-8")
    return rows


def _exported(model: str, out: Path, rows: Path) -> list[dict[str, Any]]:
    if not (out / "parity.json").is_file():
        arte = Path(sys.executable).with_name("arte")
        targets = [word for target in TARGETS for word in ("--to", target)]
        limits = ["--test", str(ITEMS[model]), "--calibrate", str(rows), "--out", str(out)]
        done = subprocess.run([arte, "export", model, *targets, *limits], stdout=sys.stderr, check=False)
        assert done.returncode in (0, 2), f"{model}: arte export ended with {done.returncode}"  # 2: a file failed
    files: list[dict[str, Any]] = json.loads((out / "parity.json").read_text(encoding="utf-8"))
    return files


def _table(titles: list[str], lines: list[list[str]]) -> str:
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [titles, marks, *lines]) + "\n"


def _name(file: dict[str, Any]) -> str:
    return f"{file['format']} {file['scheme']}"


def _same(files: list[dict[str, Any]]) -> str:
    titles = ["file", "size", "token ids", "tokens", "template", "special", "deviating tensors", "verdict"]
    lines = []
    for file in files:
        parity = file["parity"]
        checks = ("token_ids", "vocabulary", "chat_template", "special_tokens")
        tensors = parity["weights"]
        lines.append([
            _name(file),
            size(file["bytes"]),
            *("same" if parity[check] else "DIFFER" for check in checks),
            "–" if tensors is None else f"{len(tensors['deviating'] + tensors['missing'])} of {tensors['tensors']}",
            "passed" if parity["passed"] else f"FAILED: {', '.join(parity['failed'])}",
        ])  # fmt: skip
    parity = files[0]["parity"]
    return f"{parity['strings']:,} texts, {parity['conversations']} conversations.\n\n" + _table(titles, lines)


def _distributions(files: list[dict[str, Any]]) -> str:
    columns = {
        "KL mean": "mean_kld", "median": "median_kld", "99 %": "p99_kld", "max": "max_kld", "top-1": "top1_agreement",
        "ppl ratio": "ppl_ratio", "mean Δp": "mean_dp", "RMS Δp": "rms_dp",
    }  # fmt: skip
    percent = ("top1_agreement", "mean_dp", "rms_dp")
    lines = [
        [_name(file), *(_estimate(file["parity"]["distributions"][key], key in percent) for key in columns.values())]
        for file in files
    ]
    near = files[0]["parity"]["distributions"]
    return f"{near['rows']} rows, {near['positions']:,} positions.\n\n" + _table(["file", *columns], lines)


def _estimate(found: dict[str, Any], percent: bool) -> str:
    value, error = found["value"], found["standard_error"]
    if percent:
        return f"{round(100 * value, 2) + 0.0:.2f} ± {100 * error:.2f} %"  # + 0.0: no -0.00
    if error is None:
        return f"{value:.2g}"
    digits = 6 if value < 0.001 else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _answers(files: list[dict[str, Any]]) -> str:
    lines = []
    for file in files:
        greedy, accuracy = file["parity"]["greedy"], file["parity"]["task_accuracy"]
        low, high = (100 * bound for bound in accuracy["ci95"])
        lines.append([
            _name(file),
            f"{greedy['match_tokens']:.0f} of {greedy['tokens']:.0f}",
            f"{greedy['exact']:.0%}",
            f"{greedy['answers_equal']:.0%}",
            f"{accuracy['file']:.1%} ({accuracy['file_flexible']:.1%})",
            f"{100 * accuracy['difference']:+.1f} ({low:+.1f} to {high:+.1f})",
        ])  # fmt: skip
    first = files[0]["parity"]["task_accuracy"]
    titles = ["file", "equal tokens from the start", "equal to the end", "equal answers", "accuracy", "points to torch"]
    said = f"{first['n']} items; torch model {first['model']:.1%} ({first['model_flexible']:.1%})."
    return said + "\n\n" + _table(titles, lines)


def _matrices(files: list[dict[str, Any]]) -> str:
    lines = []
    for file in files:
        if (found := file["calibration"]) is None:
            continue
        by_matrix = [found[name] for name in ("none", "generic", "own")]
        lines.append([
            f"{_name(file)} (shipped: {found['shipped']})",
            *("–" if one is None else _estimate(one["mean_kld"], False) for one in by_matrix),
            *("–" if one is None else _estimate(one["top1_agreement"], True) for one in by_matrix),
        ])  # fmt: skip
    kinds = ("none", "generic text", "own rows")
    titles = ["importance matrix", *(f"KL {kind}" for kind in kinds), *(f"top-1 {kind}" for kind in kinds)]
    return _table(titles, lines)


if __name__ == "__main__":
    main()
