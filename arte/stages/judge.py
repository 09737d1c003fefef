"""`arte evaluate`: the accuracy of any model or device file on a task."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arte import disk, machine, models, tasks
from arte.errors import ModelError
from arte.generation import Message
from arte.recipe import Evaluate, Model
from arte.recipe import Task as TaskSettings
from arte.report.statistics import wilson
from arte.rows import Item
from arte.stages.answering import Answering
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.tasks.mixture import by_task, first_of_each

if TYPE_CHECKING:
    from arte_export.device_file import DeviceFile

    from arte.report.contract import Average


def judge(name: str, task_settings: TaskSettings, settings: Evaluate, out: Path | None, seed: int = 0) -> list[Sample]:
    """Asks a hub id, a model folder, a .gguf file or an ONNX folder every test item, greedy, through lm-eval.

    A device file is asked in a child process, with its own chat template. samples.jsonl and results.json go to `out`.
    """
    from arte_export import device_file, gguf_header

    task = tasks.taught(task_settings.name)
    splits = task.splits(task_settings, seed)
    slices: dict[Slice, Sequence[Item]] = {"test": splits.test, "unseen": splits.unseen}
    asked = chats(slices, first_of_each(splits.seeds, settings.shots), task)
    file = device_file.recognised(Path(name), models.arte_home())
    with tempfile.TemporaryDirectory() as scratch, disk.errors_for(folder := out or Path(scratch) / "out"):
        disk.make(folder)
        if file is not None:
            if not file.path.exists():
                raise ModelError(f"{name}: no such file; expected a model folder, a hub id or a device file")
            if file.format == "gguf":
                gguf_header.read(file.path)  # says where a broken file ends, which llama.cpp does not
            reply = lambda texts: file.answers(texts, settings.max_tokens).texts  # noqa: E731
            return evaluate(folder, slices, rendered(file, asked), task, reply, settings)
        from arte.generation.transformers import TransformersEngine

        path = models.resolve(Model(name=name)).path
        engine = TransformersEngine(*models.load(path, models.compute_dtype("auto"), machine.device()))
        answering = Answering(engine, Path(scratch) / "replies.jsonl", settings.batch_size, settings.max_tokens)
        return evaluate(folder, slices, [engine.render(chat) for chat in asked], task, answering, settings)


def rendered(file: "DeviceFile", asked: Sequence[list[Message]]) -> list[str]:
    """The chats as the file's own runtime and chat template put them into words. Raises ModelError."""
    from arte_export.vocabulary import Conversation

    chats = [Conversation(messages=chat, generation_prompt=True) for chat in asked]
    found = file.vocabulary([], chats)
    if found.chat_template is None:
        raise ModelError(f"{file.path}: holds no chat template, so it cannot be asked; export the model anew with one")
    texts = [text for text in found.rendered if text is not None]
    if len(texts) < len(chats):
        raise ModelError(
            f"{file.path}: its chat template refuses {len(chats) - len(texts)} of the task's {len(chats)} chats "
            f"(roles: {', '.join(dict.fromkeys(message['role'] for message in asked[0]))})"
        )
    return texts


def lines(samples: Sequence[Sample]) -> list[str]:
    """One line a slice and metric: correct of how many, percent, and the 95 % interval (Wilson). Of several tasks each
    too, and the means that weigh them alike."""
    found = []
    parts = {
        str(name): [row for row in samples if row.slice == name] for name in dict.fromkeys(s.slice for s in samples)
    }
    tasks = by_task(row for row in samples if row.slice == "test")
    parts |= {str(task): rows for task, rows in tasks.items() if len(tasks) > 1}
    for name, rows in parts.items():
        for metric in ("strict", "flexible"):
            correct = sum(getattr(row, f"{metric}_correct") for row in rows)
            interval = wilson(correct, len(rows))
            assert interval is not None
            low, high = interval
            found.append(
                f"{name:7s} {metric:9s} {correct} of {len(rows)}: {100 * correct / len(rows):.1f} % "
                f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
            )
    for mean in means([*samples]):
        low, high = mean.ci95
        found.append(
            f"mean {mean.name}, {mean.tasks} tasks, {mean.metric}: {100 * mean.accuracy:.1f} % "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
        )
    return found


def means(samples: list[Sample]) -> "list[Average]":
    """Of the tasks; none where there is one."""
    from arte.report import averages, graded

    rows = [graded.Sample.model_validate(row.model_dump()) for row in samples]
    return averages.averages(graded.Samples({"model": rows}, {}), None)
