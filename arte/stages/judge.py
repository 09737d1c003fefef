"""`arte evaluate`: the accuracy of any model or device file on a task."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from arte import disk, machine, models, tasks
from arte.errors import ModelError
from arte.generation import Message
from arte.recipe import Evaluate, Model
from arte.recipe import Task as TaskSettings
from arte.report.statistics import wilson
from arte.rows import Item
from arte.stages.answering import Answering
from arte.stages.evaluate import Sample, Slice, evaluate


def judge(name: str, task_settings: TaskSettings, settings: Evaluate, out: Path | None, seed: int = 0) -> list[Sample]:
    """Asks a hub id, a model folder or a .gguf file every test item, greedy, through lm-eval.

    A .gguf file is asked in a child process and with its own chat template; samples.jsonl and results.json go to `out`.
    """
    task = tasks.load(task_settings.name)
    splits = task.splits(task_settings, seed)
    slices: dict[Slice, Sequence[Item]] = {"test": splits.test, "unseen": splits.unseen}
    with tempfile.TemporaryDirectory() as scratch, disk.errors_for(folder := out or Path(scratch) / "out"):
        disk.make(folder)
        if Path(name).suffix == ".gguf":
            render, answer = _file(Path(name), settings)
            return evaluate(folder, slices, splits.seeds, task, render, answer, settings)
        from arte.generation.transformers import TransformersEngine

        path = models.resolve(Model(name=name)).path
        engine = TransformersEngine(*models.load(path, models.compute_dtype("auto"), machine.device()))
        answering = Answering(engine, Path(scratch) / "replies.jsonl", settings.batch_size, settings.max_tokens)
        return evaluate(folder, slices, splits.seeds, task, engine.render, answering, settings)


def _file(file: Path, settings: Evaluate) -> tuple[Callable[[list[Message]], str], Callable[[list[str]], list[str]]]:
    """How a device file puts a conversation into words, by its own chat template, and how it answers."""
    from arte_export import generate, gguf_header
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if not file.is_file():
        raise ModelError(f"{file}: no such file; expected a model folder, a hub id or a .gguf file")
    header = gguf_header.read(file)
    template = header.text("tokenizer.chat_template")
    if template is None:
        raise ModelError(
            f"{file}: holds no chat template (tokenizer.chat_template), so it cannot be asked; export anew"
        )
    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)

    def render(messages: list[Message]) -> str:
        return compiled.render(messages=messages, add_generation_prompt=True, bos_token="", eos_token="")

    def answer(texts: list[str]) -> list[str]:
        return generate.answers(file, texts, settings.max_tokens).texts

    return render, answer


def lines(samples: Sequence[Sample]) -> list[str]:
    """One line a slice and metric: correct of how many, percent, and the 95 % interval (Wilson)."""
    found = []
    for name in dict.fromkeys(sample.slice for sample in samples):
        rows = [sample for sample in samples if sample.slice == name]
        for metric in ("strict", "flexible"):
            correct = sum(getattr(row, f"{metric}_correct") for row in rows)
            interval = wilson(correct, len(rows))
            assert interval is not None
            low, high = interval
            found.append(
                f"{name:7s} {metric:9s} {correct} of {len(rows)}: {100 * correct / len(rows):.1f} % "
                f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
            )
    return found
