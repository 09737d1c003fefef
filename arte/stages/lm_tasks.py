"""lm-eval's own tasks, asked of a student before and after training: what did it forget, what does it follow?

A task that generates asks in the student's chat template; one of log-likelihoods or perplexities in plain text, as its
published figures do. Scores and standard errors are lm-eval's.
"""

import difflib
import functools
import hashlib
import itertools
import math
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arte.errors import DataError, EngineError
from arte.recipe import Evaluate
from arte.rows import Row, write_rows
from arte.stages.overlap import Passage
from arte.tasks import located

if TYPE_CHECKING:
    from arte.stages.lm_student import LmStudent, Make

SETTINGS = ("tasks", "tasks_folder", "tasks_limit")
"""Those of evaluate that are about these tasks."""
NEAR = 5
BOOTSTRAP = 1000
"""Resamples for the standard errors that have no formula."""
FEWSHOT_SEED = 1234
"""lm-eval's own."""


class Loaded(NamedTuple):
    """What a name stands for: a task, or a group or tag of several."""

    name: str
    tasks: dict[str, Any]
    groups: dict[str, Any]


class TaskScore(Row):
    """A score of a task, or of a group of them."""

    task: str
    metric: str
    filter: str
    value: float | None
    """Null where it is no number: a correlation of answers that are all alike."""
    standard_error: float | None
    """Null where lm-eval has none."""
    n: int
    """Documents."""
    higher_is_better: bool | None
    shots: int | None
    version: str
    source: str | None = None
    """The data set and its revision, as far as they are known; null of a group."""
    in_chat: bool
    """Whether the student's chat template was applied."""
    too_long: int
    """Prompts of its kind that did not fit into the student's context, and so have no answer."""


class Document(Row):
    """A document, what the student made of it, and its scores that are one number; by lm-eval's filter."""

    task: str
    document: int
    filter: str
    responses: list[Any]
    scores: dict[str, float]


def load(settings: Evaluate) -> list[Loaded]:
    """The tasks of `settings.tasks`, with their data.

    Raises DataError for a name that is not known and where data cannot be had, EngineError for a missing package.
    """
    if settings.tasks_folder is not None and not Path(settings.tasks_folder).expanduser().is_dir():
        raise DataError(
            f"evaluate.tasks_folder: {settings.tasks_folder} is no folder; expected one with lm-eval YAML files"
        )
    return [_load(name, settings.tasks_folder) for name in settings.tasks]


def identity(settings: Evaluate) -> dict[str, str]:
    """Of a folder of the user's own tasks: changes with its files."""
    if settings.tasks_folder is None:
        return {}
    files = sorted(path for path in Path(settings.tasks_folder).expanduser().rglob("*") if path.is_file())
    return {"tasks_files": hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()}


def ask(those: Sequence[Loaded], make: "Make", folder: Path, limit: int | None) -> list[TaskScore]:
    """Asks the student, and writes tasks.jsonl (TaskScore) and documents.jsonl (Document) into `folder`."""
    from lm_eval import evaluator

    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # of lm-eval's bootstrap, whose processes would copy the student
    scores: list[TaskScore] = []
    documents: list[Document] = []
    for number, each in enumerate(those):
        chatting = {name for name, task in each.tasks.items() if task.OUTPUT_TYPE == "generate_until"}
        for in_chat in (True, False):
            tasks = {name: task for name, task in each.tasks.items() if (name in chatting) is in_chat}
            if not tasks:
                continue
            student = make(f"{number}-{'chat' if in_chat else 'plain'}")
            results = evaluator.evaluate(
                student,
                # The mean of a group is over all its tasks; where they are asked in two ways there is none.
                {"tasks": tasks, "groups": each.groups if len(tasks) == len(each.tasks) else {}},
                limit=limit,
                bootstrap_iters=BOOTSTRAP,
                apply_chat_template=in_chat,
                fewshot_as_multiturn=in_chat,
            )
            assert results is not None
            scores += _scores(dict(results), tasks, student, in_chat)
            documents += _documents(dict(results))
    write_rows(folder / "tasks.jsonl", scores)
    write_rows(folder / "documents.jsonl", documents)
    return scores


def lines(scores: Sequence[TaskScore]) -> list[str]:
    """One line a score, for the terminal."""
    found = []
    for score in scores:
        value = "no number" if score.value is None else f"{score.value:.4f}"
        error = "" if score.standard_error is None else f" ± {score.standard_error:.4f}"
        filtered = "" if score.filter == "none" else f" ({score.filter})"
        missed = f"; {score.too_long} prompts did not fit into the context" if score.too_long else ""
        found.append(
            f"{score.task} {score.metric}{filtered}: {value}{error} of {score.n} documents, "
            f"{score.shots or 0}-shot, {'as a chat' if score.in_chat else 'plain text'}{missed}"
        )
    return found


def passages(those: Sequence[Loaded], words: int, limit: int | None) -> dict[str, list[Passage]]:
    """By name, the texts of so many words or more in the documents that are asked, but for those that several share:
    wording of the task. What a document keeps in pictures or in shorter pieces is not among them."""
    found: dict[str, list[Passage]] = {}
    for each in those:
        texts = [
            Passage(f"{name} {place}", text)
            for name, task in each.tasks.items()
            for place, document in enumerate(itertools.islice(task.eval_docs, limit))
            for text in dict.fromkeys(_texts(dict(document)))
            if len(text.split()) >= words
        ]
        times = Counter(passage.text for passage in texts)
        found[f"lm-eval {each.name}"] = [passage for passage in texts if times[passage.text] == 1]
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


@functools.cache
def _manager(folder: str | None, defaults: bool) -> Any:
    """lm-eval's index: that of a folder is read in no time, its own of 14,000 tasks in ten seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(
        include_path=None if folder is None else str(Path(folder).expanduser()), include_defaults=defaults
    )


def _load(name: str, folder: str | None) -> Loaded:
    from datasets.exceptions import DatasetsError

    manager = None if folder is None else _manager(folder, False)
    if manager is None or name not in manager.all_tasks:
        manager = _manager(folder, True)
    if name not in manager.all_tasks:
        near = difflib.get_close_matches(name, manager.all_tasks, n=NEAR, cutoff=0.5)
        nearest = f"; near to it: {', '.join(near)}" if near else ""
        where = f" nor {folder}" if folder else ""
        raise DataError(f"evaluate.tasks: lm-eval{where} has no task or group {name!r}{nearest}")
    random.seed(0)  # as lm-eval does: some tasks shuffle their options when they are loaded
    np.random.seed(FEWSHOT_SEED)
    try:
        found = manager.load([name])
    except ImportError as error:
        extras = metadata.metadata("lm_eval").get_all("Provides-Extra") or []
        package = f"'lm_eval[{name}]'" if name in extras else str(error.name)
        raise EngineError(f"evaluate.tasks: {name} needs a package ({error}): pip install {package}") from error
    except (OSError, ValueError, LookupError, DatasetsError) as error:
        raise DataError(
            f"evaluate.tasks: the data of {name} could not be had: {str(error).strip().splitlines()[0]}. It comes from "
            "the hub the first time; on a machine without the hub, copy the cache of one that has it (HF_HOME), or "
            f"leave {name} out"
        ) from error
    for each, task in found["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            why = "runs code that a student writes" if getattr(task, "UNSAFE_CODE", False) else "shows images or sounds"
            raise DataError(f"evaluate.tasks: {each} {why}, which ARTE does not do; leave it out")
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    return Loaded(name, found["tasks"], found.get("groups", {}))


def _source(task: Any) -> str:
    """`Rowan/hellaswag@0123abcd`, `json`."""
    split = task.config.test_split or task.config.validation_split
    revision = located.revision(task.dataset[split])
    name = " ".join(filter(None, (task.DATASET_PATH, task.DATASET_NAME)))
    return name + (f"@{revision[:12]}" if revision else "")


def _scores(results: dict[str, Any], tasks: dict[str, Any], student: "LmStudent", in_chat: bool) -> list[TaskScore]:
    found = []
    for name, values in (results["results"] | results.get("groups", {})).items():
        for key, value in values.items():
            metric, comma, kind = key.rpartition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float | np.number):
                continue
            error = values.get(f"{metric}_stderr,{kind}")
            found.append(
                TaskScore(
                    task=name,
                    metric=metric,
                    filter=kind,
                    value=_finite(value),
                    standard_error=_finite(error),
                    n=int(values["sample_len"]),
                    higher_is_better=results["higher_is_better"].get(name, {}).get(metric),
                    shots=results["n-shot"].get(name),
                    version=str(results["versions"].get(name)),
                    source=_source(tasks[name]) if name in tasks else None,
                    in_chat=in_chat,
                    too_long=student.too_long,
                )
            )
    return found


def _finite(value: Any) -> float | None:
    """A number that JSON can hold; lm-eval writes N/A where it has none."""
    return float(value) if isinstance(value, int | float | np.number) and math.isfinite(value) else None


def _documents(results: dict[str, Any]) -> list[Document]:
    found = []
    for name, samples in results["samples"].items():
        for sample in samples:
            values = {metric: sample[metric] for metric in sample["metrics"]}
            found.append(
                Document(
                    task=name,
                    document=sample["doc_id"],
                    filter=sample["filter"],
                    responses=[response[0] for response in sample["resps"]],
                    scores={metric: one for metric, value in values.items() if (one := _finite(value)) is not None},
                )
            )
    return found
