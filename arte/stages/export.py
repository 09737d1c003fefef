"""Device files of a student, each held against the torch model it was made from, on the task it was made for."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arte.generation.chat import chat_text
from arte.recipe import Evaluate
from arte.report.statistics import paired_bootstrap
from arte.rows import Item
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.tasks.task import Task, Taught
from arte.workspace import Figures

if TYPE_CHECKING:
    from arte_export.answers import Answers
    from arte_export.device_file import DeviceFile
    from arte_export.gate import TaskAccuracy
    from arte_export.metadata import Metadata
    from arte_export.student_files import Calibrating, StudentFile
    from arte_export.targets import Targets

COMPARED_ROWS = 64
"""Test items, with their own solutions, on which next-token distributions are compared."""


def export(
    folder: Path,
    student: Path,
    targets: "Targets",
    metadata: "Metadata",
    task: Taught,
    slices: dict[Slice, Sequence[Item]],
    shots: Sequence[Item],
    calibrating: "Calibrating | None",
    settings: Evaluate,
    say: Callable[[str], None],
) -> Figures:
    """Writes into `folder` the files, parity.json (the `artefacts` of report.json), and for the torch model (`model`)
    and every file its answers to the items of `slices`: NAME.samples.jsonl and NAME.results.json.

    Open answers are graded by nobody: the files are held against the model by all checks but accuracy. Raises
    arte_export's errors.
    """
    from arte_export import parity, student_files
    from transformers import AutoTokenizer

    from arte.models import arte_home

    tokenizer = AutoTokenizer.from_pretrained(student)
    items = [item for those in slices.values() for item in those]
    asked = [chat_text(tokenizer, chat) for chat in chats(slices, shots, task)]
    correct: dict[str, list[Sample]] = {}
    tokens = [0, 0]

    def graded(name: str, made: "Answers") -> list[Sample]:
        replies = dict(zip(asked, made.texts, strict=True))
        answer = lambda texts: [replies[text] for text in texts]  # noqa: E731
        samples = evaluate(folder / f"{name}.lm_eval", slices, asked, task, answer, settings)
        for kind in ("samples.jsonl", "results.json"):
            (folder / f"{name}.lm_eval" / kind).rename(folder / f"{name}.{kind}")
        (folder / f"{name}.lm_eval").rmdir()
        tokens[0], tokens[1] = tokens[0] + made.tokens_in, tokens[1] + made.tokens_out
        return samples

    def model() -> parity.Reference:
        say("torch model: greedy answers in float32")
        rows = [_solved(tokenizer, task.of(item), item) for item in items[:COMPARED_ROWS]]
        found = parity.Reference(student, rows, asked, settings.max_tokens, _answers(task, items, asked))
        assert found.answers is not None
        if not task.open_ended:
            correct["model"] = graded("model", found.answers)
        return found

    def accuracy(file: "DeviceFile", made: "Answers") -> "TaskAccuracy":
        return _accuracy(task.name, correct["model"], graded(file.path.name, made))

    grade = None if task.open_ended else accuracy
    made = student_files.export(student, folder, targets, metadata, arte_home(), model, calibrating, grade, say)
    (folder / "parity.json").write_text(
        json.dumps([artefact(each) for each in made], indent=2, ensure_ascii=False), encoding="utf-8"
    )
    return Figures(tokens_in=tokens[0], tokens_out=tokens[1])


def artefact(made: "StudentFile") -> dict[str, Any]:
    """One entry of parity.json."""
    return {
        "file": made.file.path.name,
        "format": made.file.format,
        "scheme": made.file.scheme,
        "bytes": made.file.bytes,
        "sha256": _sha256(made.file.path),
        "parity": made.parity.model_dump(mode="json"),
        "modelfile": made.modelfile,
        "modelfile_refused": made.modelfile_refused,
        "calibration": None if made.calibration is None else made.calibration.model_dump(mode="json"),
    }


def _solved(tokenizer: Any, task: Task, item: Item) -> list[int]:
    """Token ids of an item's chat with its own solution as the reply."""
    reply = {"role": "assistant", "content": task.completion(item.rationale, item.answer)}
    messages = [*task.student_prompt(item.question), reply]
    ids: list[int] = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    return ids


def _answers(task: Taught, items: Sequence[Item], asked: Sequence[str]) -> Callable[[str, str], str | None]:
    """Both readings of the answer to a prompt at once: files are equal to the model where strict and flexible match
    are. Of open answers, the whole of it."""
    if task.open_ended:
        return lambda _, text: text
    tasks = {prompt: task.of(item) for prompt, item in zip(asked, items, strict=True)}
    return lambda prompt, text: f"{tasks[prompt].strict(text)}, last number {tasks[prompt].flexible(text)}"


def _accuracy(task: str, model: Sequence[Sample], file: Sequence[Sample]) -> "TaskAccuracy":
    from arte_export.gate import TaskAccuracy

    ours, theirs = ([sample.strict_correct for sample in samples] for samples in (model, file))
    found = paired_bootstrap(theirs, ours)
    assert found is not None
    return TaskAccuracy(
        task=task,
        n=len(ours),
        model=sum(ours) / len(ours),
        file=sum(theirs) / len(theirs),
        model_flexible=sum(sample.flexible_correct for sample in model) / len(model),
        file_flexible=sum(sample.flexible_correct for sample in file) / len(file),
        difference=found.difference,
        ci95=found.ci95,
    )


def _sha256(path: Path) -> str:
    """Of the file; of a folder, of the lines "NAME DIGEST" of its files in order."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{file.relative_to(path).as_posix()} {_sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
