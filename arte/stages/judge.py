"""`arte evaluate`: the accuracy of any model or device file on a task; where answers are open, a model's loss."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from arte import disk, machine, models, tasks
from arte.errors import ModelError
from arte.generation import Message
from arte.recipe import Evaluate, Model
from arte.recipe import Task as TaskSettings
from arte.report.statistics import mean_interval, wilson
from arte.rows import Item
from arte.stages.answering import Answering
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.stages.held_out_loss import OpenSample, evaluate_open

if TYPE_CHECKING:
    from arte_export.device_file import DeviceFile


def judge(
    name: str, task_settings: TaskSettings, settings: Evaluate, out: Path | None, seed: int = 0
) -> list[Sample] | list[OpenSample]:
    """Asks a hub id, a model folder, a .gguf file or an ONNX folder every test item, greedy, through lm-eval.

    A device file is asked in a child process, with its own chat template. samples.jsonl and results.json go to `out`.
    Where answers are open, a model's loss on the gold replies is measured; raises ModelError for a device file then.
    """
    from arte_export import device_file, gguf_header

    task = tasks.load(task_settings.name)
    splits = task.splits(task_settings, seed)
    slices: dict[Slice, Sequence[Item]] = {"test": splits.test, "unseen": splits.unseen}
    asked = chats(slices, splits.seeds[: settings.shots], task)
    file = device_file.recognised(Path(name), models.arte_home())
    with tempfile.TemporaryDirectory() as scratch, disk.errors_for(folder := out or Path(scratch) / "out"):
        disk.make(folder)
        if file is not None:
            if task.open_ended:
                raise ModelError(
                    f"{name}: the answers of {task.name} are open, and a device file gives no loss on them; evaluate "
                    "the model folder that it was made from (its parity.json has the ratio of their perplexities)"
                )
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
        prompts = [engine.render(chat) for chat in asked]
        if task.open_ended:
            return evaluate_open(folder, slices, prompts, task, answering, engine)
        return evaluate(folder, slices, prompts, task, answering, settings)


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


def lines(samples: Sequence[Sample] | Sequence[OpenSample]) -> list[str]:
    """One line a slice and metric: correct of how many, percent, and the 95 % interval (Wilson); or the mean loss."""
    found = []
    for name in dict.fromkeys(sample.slice for sample in samples):
        losses = [sample.loss for sample in samples if isinstance(sample, OpenSample) and sample.slice == name]
        if losses:
            low, high = mean_interval(losses)
            found.append(
                f"{name:7s} loss {fmean(losses):.3f} nats a token of {len(losses)} gold replies "
                f"(95 % interval {low:.3f} to {high:.3f})"
            )
            continue
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
