"""The tiny student, and a few problems of the starter task."""

from typing import Any, NamedTuple

import pytest

from arte import models, recipe, tasks
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.tasks import Splits, Task


class Student(NamedTuple):
    """A loaded model, its tokenizer, and the engine over both."""

    model: Any
    tokenizer: Any
    engine: TransformersEngine


@pytest.fixture(scope="session")
def preferring_student(tiny_student: ModelFolder) -> Student:
    model, tokenizer = models.load(tiny_student.path, "float32", "cpu")
    return Student(model, tokenizer, TransformersEngine(model, tokenizer))


@pytest.fixture(scope="session")
def starter() -> Task:
    return tasks.load("starter")


@pytest.fixture(scope="session")
def splits(starter: Task) -> Splits:
    return starter.splits(recipe.Task(name="starter", seeds=6, probes=7, test=2), seed=3)
