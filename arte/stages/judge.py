"""`arte evaluate`: the accuracy of any model or device file on a task; where answers are open, a model's loss."""

import tempfile
from collections.abc import Callable, Sequence
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
from arte.stages import lm_tasks, options
from arte.stages.answering import Answering, Scoring
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.stages.held_out_loss import OpenSample, evaluate_open
from arte.tasks.mixture import by_task, first_of_each

if TYPE_CHECKING:
    from arte_export.device_file import DeviceFile


ALL_AT_ONCE = 1_000_000
"""Prompts of a batch of a device file, which is loaded anew for each."""
METRICS = {
    "strict": "strict_correct",
    "flexible": "flexible_correct",
    "acc": "chosen_correct",
    "acc_norm": "chosen_norm_correct",
}
"""What `lines` prints, and the field of a sample; the last two are of the likeliest option."""


def judge(
    name: str,
    task_settings: TaskSettings,
    settings: Evaluate,
    out: Path | None,
    say: Callable[[str], None] = print,
    seed: int = 0,
) -> list[Sample] | list[OpenSample]:
    """Asks a hub id, a model folder, a .gguf file or an ONNX folder every test item, greedy, through lm-eval; of items
    that have options, also which is the likeliest.

    A device file is asked in a child process, with its own chat template. samples.jsonl and results.json go to `out`.
    Where answers are open, a model's loss on the gold replies is measured; raises ModelError for a device file then.
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
            prompts = rendered(file, asked)
            score = _scoring(file, task, [item for items in slices.values() for item in items], prompts, say)
            return evaluate(folder, slices, prompts, task, reply, settings, score)
        from arte.generation.transformers import TransformersEngine

        path = models.resolve(Model(name=name)).path
        engine = TransformersEngine(*models.load(path, models.compute_dtype("auto"), machine.device()))
        answering = Answering(engine, Path(scratch) / "replies.jsonl", settings.batch_size, settings.max_tokens)
        prompts = [engine.render(chat) for chat in asked]
        if task.open_ended:
            return evaluate_open(folder, slices, prompts, task, answering, engine)
        scoring = Scoring(engine, Path(scratch) / "options.jsonl", settings.batch_size)
        return evaluate(folder, slices, prompts, task, answering, settings, scoring)


def ask_lm_tasks(name: str, settings: Evaluate, out: Path | None) -> list[lm_tasks.TaskScore]:
    """Asks a hub id, a model folder or a device file the tasks of lm-eval that `settings` name; tasks.jsonl and
    documents.jsonl go to `out`."""
    from arte_export import device_file

    loaded = lm_tasks.load(settings)
    from arte.models.folder import context_tokens
    from arte.stages.lm_student import LmStudent

    file = device_file.recognised(Path(name), models.arte_home())
    with tempfile.TemporaryDirectory() as scratch, disk.errors_for(folder := out or Path(scratch) / "out"):
        disk.make(folder)
        if file is not None:
            from arte.stages.file_engine import FileEngine, FileTokenizer

            on_file = FileEngine(file)
            make = lambda log: LmStudent(  # noqa: E731
                on_file, FileTokenizer(on_file), None, Path(scratch) / log, ALL_AT_ONCE
            )
            return lm_tasks.ask(loaded, make, folder, settings.tasks_limit)
        from arte.generation.transformers import TransformersEngine

        path = models.resolve(Model(name=name)).path
        engine = TransformersEngine(*models.load(path, models.compute_dtype("auto"), machine.device()))
        make = lambda log: LmStudent(  # noqa: E731
            engine, engine.tokenizer, context_tokens(path), Path(scratch) / log, settings.batch_size
        )
        return lm_tasks.ask(loaded, make, folder, settings.tasks_limit)


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


def _scoring(
    file: "DeviceFile", task: tasks.Taught, items: Sequence[Item], prompts: Sequence[str], say: Callable[[str], None]
) -> options.Scoring | None:
    """How likely the file finds each option; None, and why is said, where its logits cannot be had."""
    from arte_export import likelihood
    from arte_export.errors import BadModel

    pairs = options.scored(options.asked(task, items, prompts))
    try:
        found = likelihood.of(file, pairs)
    except BadModel as error:
        say(f"{file.path}: options are not scored, as its runtime gives no log-probabilities of given text: {error}")
        return None
    known = {pair: (each.logprob, each.greedy) for pair, each in zip(pairs, found, strict=True)}
    return lambda asked: [known[pair] for pair in asked]


def lines(samples: Sequence[Sample] | Sequence[OpenSample]) -> list[str]:
    """One line a slice and metric: correct of how many, percent, and the 95 % interval (Wilson); or the mean loss. Of
    several tasks each too, and the means that weigh them alike."""
    found = []
    parts: dict[str, Sequence[Sample | OpenSample]] = {}
    for slice_name in dict.fromkeys(sample.slice for sample in samples):
        parts[slice_name] = [row for row in samples if row.slice == slice_name]
    tasks = by_task(row for row in samples if row.slice == "test")
    parts |= {str(task): rows for task, rows in tasks.items() if len(tasks) > 1}
    for name, rows in parts.items():
        if losses := [row.loss for row in rows if isinstance(row, OpenSample)]:
            low, high = mean_interval(losses)
            found.append(
                f"{name:7s} loss {fmean(losses):.3f} nats a token of {len(losses)} gold replies "
                f"(95 % interval {low:.3f} to {high:.3f})"
            )
            continue
        for metric, field in METRICS.items():
            right = [getattr(row, field) for row in rows if getattr(row, field) is not None]
            interval = wilson(sum(right), len(right))
            if interval is None:
                continue
            low, high = interval
            found.append(
                f"{name:7s} {metric:9s} {sum(right)} of {len(right)}: {100 * sum(right) / len(right):.1f} % "
                f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
            )
    return found + _means(samples)


def _means(samples: Sequence[Sample] | Sequence[OpenSample]) -> list[str]:
    """Of the tasks; none where there is one."""
    from arte.report import averages, graded

    rows = [graded.Sample.model_validate(row.model_dump()) for row in samples]
    together = graded.Samples({"model": rows}, {})
    found = []
    for mean in averages.averages(together, None):
        low, high = mean.ci95
        found.append(
            f"mean {mean.name}, {mean.tasks} tasks, {mean.metric}: {100 * mean.accuracy:.1f} % "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
        )
    for lost in averages.losses(together, "", 0):
        low, high = lost.ci95
        found.append(f"{lost.slice}: loss {lost.loss:.3f} (95 % interval {low:.3f} to {high:.3f})")
    return found
