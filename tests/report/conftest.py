"""A run folder written by hand, small enough that every figure of its report can be worked out on paper."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from arte import yaml12
from arte.recipe import Recipe, Student, Task, Teacher
from arte.rows import Check, Example, Pair, Question, Rationale, Score, write_rows

TEST, UNSEEN = 10, 4
STRICT = {"untrained": (1, 0), "verified": (6, 1), "arte": (8, 2)}
"""Of the 10 test and 4 unseen items, the first so many are answered rightly."""
HOSTILE = "<script>alert('draft')</script> & \"quoted\""
Q8, Q4, ONNX = "student-q8_0.gguf", "student-q4_k_m.gguf", "student-onnx-int8"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_stage(run: Path, name: str, seconds: float) -> None:
    content = {"name": name, "fingerprint": "f", "given": {}, "seconds": seconds, "tokens_in": 100, "tokens_out": None}
    write_json(run / name / "stage.json", content | {"peak_rss_bytes": 5_000_000, "versions": {}})


def write_recipe(run: Path) -> Recipe:
    recipe = Recipe(
        name="gsm8k",
        scale="starter",
        task=Task(name="starter"),
        teacher=Teacher(name="qwen2.5-coder-0.5b-instruct"),
        student=Student(name="smollm2-135m-instruct"),
    )
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.yaml").write_text(yaml12.dump(recipe.model_dump(mode="json")), "utf-8")
    return recipe


def write_samples(path: Path, test: set[int], unseen: set[int], flexible: set[int]) -> None:
    rows = []
    for name, count, right in (("test", TEST, test), ("unseen", UNSEEN, unseen)):
        for place in range(count):
            strict = place in right
            rows.append(
                {
                    "id": f"{name}-{place}",
                    "slice": name,
                    "steps": 1 if place < count // 2 else 2,
                    "gold": "7",
                    "text": "3 + 4 = 7\n#### 7",
                    "strict": "7" if strict else None,
                    "flexible": "7",
                    "strict_correct": strict,
                    "flexible_correct": strict or (name == "test" and place in flexible),
                }
            )
    write_jsonl(path, rows)


def write_drafts(folder: Path, questions: list[str | None], rationales: list[tuple[int, str | None]]) -> None:
    """`questions` holds the reason that each fell for, or null; `rationales` the question's place and the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(
        folder / "questions.jsonl",
        [
            Question(id=f"q{i}", text=f"Question {i}: {HOSTILE}", target="7", prompt="[]", check=_check(reason))
            for i, reason in enumerate(questions)
        ],
    )
    write_rows(
        folder / "rationales.jsonl",
        [
            Rationale(
                id=f"r{i}",
                question_id=f"q{place}",
                style="brief",
                text=f"3 + 4 = 7 {HOSTILE}",
                answer="7",
                check=_check(reason),
            )
            for i, (place, reason) in enumerate(rationales)
        ],
    )


def _check(reason: str | None) -> Check:
    return Check.model_validate({"reason": reason})


def write_teaching(run: Path) -> None:
    write_drafts(
        run / "elicit",
        [None, None, "duplicate", "contaminated", "unparsed"],
        [(0, None), (0, None), (0, "inconsistent"), (1, None), (1, None), (1, "unparsed")],
    )
    write_drafts(run / "tailor", [None, None, "duplicate"], [(0, None), (1, None)])
    for name, seconds in (("elicit", 12.0), ("prefer", 3.0), ("align", 4.0), ("tailor", 5.0)):
        write_stage(run, name, seconds)
    # Means over the two probes: r0 0.3, r1 −0.1, r3 0.1, r4 0.0
    values = {"r0": (0.2, 0.4), "r1": (-0.3, 0.1), "r3": (0.1, 0.1), "r4": (0.0, 0.0)}
    write_rows(
        run / "prefer" / "scores.jsonl",
        [
            Score(rationale_id=name, question_id="q0", probe_id=f"p{probe}", value=value)
            for name, pair in values.items()
            for probe, value in enumerate(pair)
        ],
    )
    pair = {"prompt": "[]", "chosen": "a", "rejected": "b", "chosen_id": "r0", "rejected_id": "r1"}
    write_rows(
        run / "prefer" / "pairs.jsonl",
        [
            Pair.model_validate({"level": level, "margin": margin, **pair})
            for level, margin in (("question", 0.4), ("rationale", 0.2), ("rationale", 0.3))
        ],
    )
    write_json(run / "prefer" / "baseline.json", {"p0": -1.0, "p1": -2.0})


def write_training(run: Path) -> None:
    write_jsonl(
        run / "align" / "metrics.jsonl",
        [
            {"step": 1, "loss": 0.6931, "rewards/accuracies": 0.5},
            {"step": 2, "loss": 0.4, "rewards/accuracies": 1.0},
            {"step": 2, "train_runtime": 9.0},
        ],
    )
    for arm, count in (("verified", 2), ("arte", 2)):
        folder = run / "distill" / arm
        write_stage(run, f"distill/{arm}", 30.0)
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.safetensors").write_bytes(bytes(1000))
        (folder / "model" / "chat_template.jinja").write_text(
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
            "utf-8",
        )
        examples = [Example(id=f"e{i}", question="q", rationale="r", answer="7") for i in range(count)]
        write_rows(folder / "examples.jsonl", examples)
        write_jsonl(folder / "metrics.jsonl", [{"step": 1, "loss": 2.0, "epoch": 0.5}, {"step": 2, "loss": 1.5}])


def write_evaluation(run: Path) -> None:
    for arm, (test, unseen) in STRICT.items():
        write_stage(run, f"evaluate/{arm}", 20.0)
        write_samples(run / "evaluate" / arm / "samples.jsonl", set(range(test)), set(range(unseen)), {9})


def write_files(run: Path) -> None:
    parity = {"token_ids": True, "chat_template": True, "special_tokens": True, "greedy_match": 0.75, "passed": True}
    write_stage(run, "export", 6.0)
    write_stage(run, "bench", 7.0)
    write_json(
        run / "export" / "parity.json",
        [
            {"file": Q8, "format": "gguf", "scheme": "q8_0", "bytes": 145_000_000, "sha256": "aa", "parity": parity},
            {"file": Q4, "format": "gguf", "scheme": "q4_k_m", "bytes": 105_000_000, "sha256": "bb", "parity": parity},
        ],
    )
    (run / "export" / "student-q4_k_m.Modelfile").write_text("FROM ./student-q4_k_m.gguf\n", "utf-8")
    spread = {"count": 5, "median": 99.0, "p90": 101.0, "min": 90.0, "max": 102.0}
    write_jsonl(
        run / "bench" / "measurements.jsonl",
        [
            {"file": file, "device": "this-machine", "how": "measured", "threads": 2, "pp_tok_s": spread,
             "tg_tok_s": spread, "peak_rss_bytes": 300_000_000}
            for file in (Q8, Q4)
        ],
    )  # fmt: skip
    write_json(
        run / "bench" / "verdicts.json",
        [{"device": "this-machine", "file": Q4, "result": "pass", "why": "no budget is set"}],
    )
    write_samples(run / "export" / f"{Q8}.samples.jsonl", set(range(8)), {0, 1}, {9})
    write_samples(run / "export" / f"{Q4}.samples.jsonl", set(range(6)), {0, 1}, {9})


def spread_of(median: float, low: float, high: float) -> dict[str, Any]:
    return {"count": 5, "median": median, "p90": high, "min": low, "max": high}


def write_bench(run: Path) -> None:
    """A third file, and what a bench of today writes of all three: Q4 is unsteady, and the ONNX file is beaten."""
    rows: list[dict[str, Any]] = []
    told = (("gguf", Q8, 145, 50.0, 155), ("gguf", Q4, 105, 80.0, 110), ("onnx", ONNX, 168, 40.0, None))
    for kind, file, megabytes, rate, mapped in told:
        rows.append(
            {"file": file, "format": kind, "bytes": megabytes * 10**6, "device": "this-machine", "how": "measured",
             "engine": "onnxruntime-genai" if kind == "onnx" else "llama-cpp-python", "engine_version": "0.3",
             "on": "local", "threads": 2, "prompt_tokens": 512, "generated_tokens": 128,
             "load_cold_s": spread_of(0.41, 0.4, 0.45), "load_s": spread_of(0.052, 0.05, 0.06),
             "ttft_s": spread_of(1.25, 1.2, 1.3), "pp_tok_s": spread_of(410.0, 400.0, 420.0),
             "tg_tok_s": spread_of(rate, rate - 1, rate + 1),
             "tests": [
                 {"test": {"prompt_tokens": prompt, "generated_tokens": made, "depth_tokens": depth}, "seconds": [2.0]}
                 for prompt, made, depth in ((512, 0, 0), (0, 128, 0), (0, 128, 1024))
             ],
             "inter_token_s": {"count": 640, "p50": 1 / rate, "p90": 1.5 / rate, "p99": 2 / rate},
             "end_to_end": {"prompts": 8, "tokens_in": 800, "tokens_out": 400, "seconds": spread_of(2.2, 2.1, 2.4),
                            "ttft_s": spread_of(0.3, 0.2, 0.4)},
             "peak_rss_bytes": (megabytes + 95) * 10**6, "mapped_bytes": mapped and mapped * 10**6,
             "energy_j_per_token": None,
             "sweep": [{"threads": count, "pp_tok_s": 205.0 * count, "tg_tok_s": rate * count / 2} for count in (1, 2)],
             "unsteady": ["rounds of tg128 lie 9% apart"] if file == Q4 else []}
        )  # fmt: skip
    write_jsonl(run / "bench" / "measurements.jsonl", rows)
    exported = json.loads((run / "export" / "parity.json").read_text("utf-8"))
    third = exported[0] | {"file": ONNX, "format": "onnx", "scheme": "int8", "bytes": 168_000_000}
    write_json(run / "export" / "parity.json", [*exported, third])
    write_samples(run / "export" / f"{ONNX}.samples.jsonl", set(range(6)), {0, 1}, {9})


def write_verdicts(run: Path) -> None:
    """Q8 passes and Q4 fails on this machine; of pixel-8 there is an estimate, and of jetson no budget."""
    first = {"term": "ttft_s", "sign": "<=", "limit": 2, "value": 1.25, "spread": spread_of(1.25, 1.2, 1.3),
             "low": None, "high": None, "result": "pass", "text": "ttft_s 1.25 holds <= 2"}  # fmt: skip
    memory = {"term": "rss_bytes", "sign": "<=", "limit": 220_000_000, "value": 240_000_000, "spread": None,
              "low": None, "high": None, "result": "fail", "text": "rss_bytes 240 MB misses <= 220 MB"}  # fmt: skip
    lost = {"term": "accuracy_loss_points", "sign": "<=", "limit": 2, "value": None, "result": "fail",
            "text": "accuracy_loss_points not measured, budget <= 2"}  # fmt: skip
    decode = {"term": "tg_tok_s", "sign": ">=", "limit": 15, "value": 40.0, "spread": None, "low": 25.0, "high": 64.0,
              "result": "likely hold", "text": "tg_tok_s about 40 (25 to 64) would likely hold >= 15"}  # fmt: skip
    unknown = {"term": "ttft_s", "sign": "<=", "limit": 1, "value": None, "low": None, "high": None, "result": "open",
               "text": "ttft_s unknown (the profile has no peak compute), budget <= 1"}  # fmt: skip
    write_json(
        run / "bench" / "verdicts.json",
        [
            {"device": "this-machine", "file": Q4, "result": "pass", "why": "", "lines": [first]},
            {"device": "this-machine", "file": Q8, "result": "fail", "why": "", "lines": [first, memory, lost]},
            {"device": "pixel-8", "file": Q4, "result": "estimate", "why": "", "lines": [unknown, decode]},
            {"device": "jetson", "file": Q4, "result": "pass", "why": "no budget set", "lines": []},
        ],
    )


@pytest.fixture
def benched(run_folder: Path) -> Path:
    """A whole run whose bench is of today; that of `run_folder` is of before lines, sweeps and latencies were kept."""
    write_bench(run_folder)
    write_verdicts(run_folder)
    return run_folder


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A run folder with a recipe and nothing else."""
    run = tmp_path / "run"
    write_recipe(run)
    return run


@pytest.fixture
def run_folder(started: Path) -> Path:
    """A run in which every stage is whole."""
    versions = {"torch": "2.13.0", "trl": "1.16.0"}
    machine = {"cpu": "A CPU", "cores": 2, "memory_bytes": 8 * 10**9, "accelerator": None, "versions": versions}
    write_json(started / "machine.json", machine)
    models = {
        "teacher": {
            "name": "qwen2.5-coder-0.5b-instruct",
            "source": "index",
            "sha256": "cc",
            "parameters": 630_000_000,
        },
        "student": {"name": "smollm2-135m-instruct", "source": "index", "sha256": "dd", "parameters": 134_515_008},
    }
    write_json(started / "models.json", models)
    planned = [
        {"stage": "elicit", "seconds": 10.0, "tokens_in": 90, "tokens_out": 80, "note": "at 400 tokens a second"}
    ]
    write_json(started / "plan.json", planned)
    write_json(started / "kept.json", ["elicit"])
    (started / "commands.txt").write_text("arte recipe gsm8k --scale starter\narte recipe gsm8k --scale starter\n")
    write_teaching(started)
    write_training(started)
    write_evaluation(started)
    write_files(started)
    return started
