"""`arte bench`: files measured here or elsewhere, and held against the budget of a device."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arte import disk, models, tasks
from arte.recipe import Task as TaskSettings
from arte.rows import Item
from arte.stages.evaluate import chats
from arte.stages.judge import rendered
from arte.tasks.task import Taught

if TYPE_CHECKING:
    from arte_export.bench import Plan, Subject
    from arte_export.budget import Budget
    from arte_export.devices import Device
    from arte_export.measurement import Measurement
    from arte_export.verdicts import Verdict

Say = Callable[[str], None]


class Benched(NamedTuple):
    """A file's measurement, or what is estimated from it for a device that is not at hand, and the verdict."""

    path: Path
    measurement: "Measurement"
    verdict: "Verdict"


def here(
    files: Sequence[Path], device: "Device", budget: "Budget", plan: "Plan", task: str | None, prompts: int, say: Say
) -> list[Benched]:
    """Measures files on this machine. For another device the verdict is an estimate, never a pass.

    `task`: with so many of its prompts each file is measured end to end too. Raises ExportError and its kinds,
    DataError (task).
    """
    from arte_export import bench

    asked, items = None, []
    if task is not None:
        asked = tasks.taught(task)
        items = asked.splits(TaskSettings(name=task, test=prompts), 0).test[:prompts]
    subjects = [subject(file, asked, items) for file in files]
    losses = [accuracy_loss_points(file) for file in files]
    return judged(files, bench.measure(subjects, plan, say), losses, device, budget, say)


def elsewhere(
    files: Sequence[Path], on: str, device: "Device", budget: "Budget", plan: "Plan", llama_bench: Path | None, say: Say
) -> list[Benched]:
    """Measures GGUF files on another machine, over `ssh:HOST` or `adb:SERIAL`, by a llama-bench there or carried.

    Raises ExportError and its kinds.
    """
    from arte_export import gguf_header, llama_bench_build, remote, verdicts

    settings = remote.Settings(
        tests=[*plan.headline, *plan.further], repeats=plan.repeats, threads=plan.threads or device.threads,
        llama_bench=llama_bench, built_here=llama_bench_build.found(models.arte_home()),
    )  # fmt: skip
    found = []
    connection = remote.connect(on)
    for file in files:
        gguf_header.read(file)  # before it is sent
        say(f"{file.name} on {on}")
        measured = remote.measure(connection, file, device.name, settings)
        verdict = verdicts.verdict(device.name, budget, measured, accuracy_loss_points(file))
        found.append(Benched(file, measured, verdict))
    return found


def judged(
    files: Sequence[Path],
    measured: Sequence["Measurement"],
    losses: Sequence[float | None],
    device: "Device",
    budget: "Budget",
    say: Say,
) -> list[Benched]:
    """The verdicts of what was measured on this machine: for another device, of what is estimated from it."""
    from arte_export import devices, estimate, runtime, verdicts

    rows = zip(files, measured, losses, strict=True)
    if device.name == devices.THIS_MACHINE:
        return [Benched(file, found, verdicts.verdict(device.name, budget, found, loss)) for file, found, loss in rows]
    say(f"this machine's memory bandwidth and compute, to estimate {device.name} by")
    machine = estimate.measure_here(runtime.cores())
    return [
        Benched(file, found, estimate.verdict(budget, estimate.estimate(found, machine, device), loss))
        for file, found, loss in rows
    ]


def keep(measured: Sequence["Measurement"], verdicts: Sequence["Verdict"], out: Path) -> None:
    """Writes measurements.jsonl and verdicts.json into a folder."""
    with disk.errors_for(out):
        disk.make(out)
        with (out / "measurements.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(each.model_dump_json() + "\n" for each in measured)
        text = json.dumps([each.model_dump(mode="json") for each in verdicts], indent=2)
        (out / "verdicts.json").write_text(text, encoding="utf-8")


def measurable(exported: Path) -> list[Path]:
    """The files of an export that an engine here can time: GGUF, and the folders of onnxruntime-genai."""
    rows = json.loads((exported / "parity.json").read_text(encoding="utf-8"))
    return [exported / row["file"] for row in rows if row["format"] in ("gguf", "onnx")]


def accuracy_loss_points(file: Path) -> float | None:
    """Points that the file lost against its torch model, as parity.json beside it says; None where it does not."""
    written = file.parent / "parity.json"
    if not written.is_file():
        return None
    for row in json.loads(written.read_text(encoding="utf-8")):
        if row["file"] == file.name:
            accuracy = row["parity"].get("task_accuracy")
            return None if accuracy is None else -100.0 * float(accuracy["difference"])
    return None


def subject(path: Path, task: Taught | None = None, items: Sequence[Item] = ()) -> "Subject":
    """What is to be measured, with the items as the file's own chat template puts them. Raises BadModel."""
    from arte_export import bench, device_file

    home = models.arte_home()
    found = bench.subject(path, home)
    if task is None or not items:
        return found
    asked = chats({"test": items}, [], task)
    file = device_file.recognised(path, home)
    if file is not None:
        texts = rendered(file, asked)
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path)
        texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in asked]
    return found.model_copy(update={"prompts": tuple(texts)})
