"""Speed, memory and accuracy of each device file, and a verdict for each device."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from arte.generation.chat import chat_text
from arte.recipe import Recipe
from arte.rows import Item, read_rows
from arte.stages.evaluate import Sample, evaluate
from arte.tasks.task import Task
from arte.workspace import Figures


def bench(
    folder: Path,
    exported: Path,
    torch_samples: Path,
    slices: dict[Literal["test", "unseen"], Sequence[Item]],
    shots: Sequence[Item],
    task: Task,
    student: Path,
    recipe: Recipe,
) -> Figures:
    """Writes measurements.jsonl, FILE.samples.jsonl for each file of `exported`, and verdicts.json.

    Each file is measured in child processes while this one sleeps. Its accuracy is compared with the torch student's
    on the same items (`torch_samples`).
    """
    from arte_export import bench as measuring
    from arte_export import devices, generate
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student)
    torch_correct = {row.id: row.strict_correct for row in read_rows(torch_samples, Sample)}
    files = [exported / row["file"] for row in json.loads((exported / "artefacts.json").read_text(encoding="utf-8"))]
    settings = recipe.bench
    render = partial(chat_text, tokenizer)
    measured, verdicts = [], []
    tokens_in = tokens_out = 0

    for file in files:
        measurement = measuring.measure(
            file, settings.prompt_tokens, settings.generated_tokens, settings.repeats, settings.threads
        )
        measured.append(measurement)

        def answer(texts: list[str], file: Path = file) -> list[str]:
            nonlocal tokens_in, tokens_out
            made = generate.answers(file, texts, recipe.evaluate.max_tokens, threads=settings.threads)
            tokens_in, tokens_out = tokens_in + made.tokens_in, tokens_out + made.tokens_out
            return made.texts

        samples = evaluate(folder / file.name, slices, shots, task, render, answer, recipe.evaluate)
        (folder / file.name / "samples.jsonl").rename(folder / f"{file.name}.samples.jsonl")
        lost = _points([torch_correct[row.id] for row in samples]) - _points([row.strict_correct for row in samples])
        verdicts += [
            devices.verdict(devices.load(name), measurement, accuracy_loss_points=lost).model_dump(mode="json")
            for name in recipe.devices
        ]
    with (folder / "measurements.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(measurement.model_dump_json() + "\n" for measurement in measured)
    (folder / "verdicts.json").write_text(json.dumps(verdicts, indent=2), encoding="utf-8")
    return Figures(tokens_in=tokens_in, tokens_out=tokens_out)


def _points(correct: list[bool]) -> float:
    """Percent."""
    return 100.0 * sum(correct) / len(correct)
