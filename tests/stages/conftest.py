"""What the tests of the stages share: tiny models, loaded anew for each training, and a few examples to train on."""

from typing import Any, NamedTuple

import pytest

from arte import models, recipe, tasks
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.rows import Example
from arte.tasks import Task
from tests.stages.scripted import Stopped


class Loaded(NamedTuple):
    """A model in float32 and its tokenizer."""

    model: Any
    tokenizer: Any

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, nothing added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @property
    def engine(self) -> TransformersEngine:
        return TransformersEngine(self.model, self.tokenizer)

    def stop_at(self, forward: int) -> None:
        """From now on, the forward pass of this number (from 1) raises Stopped."""
        passes = 0

        def count(*_arguments: object) -> None:
            nonlocal passes
            passes += 1
            if passes == forward:
                raise Stopped

        self.model.register_forward_pre_hook(count)

    def count_passes(self) -> list[int]:
        """A list that grows by one entry with each forward pass."""
        passes: list[int] = []
        self.model.register_forward_pre_hook(lambda *_: passes.append(1))
        return passes


def load(folder: ModelFolder) -> Loaded:
    return Loaded(*models.load(folder.path, "float32", "cpu"))


@pytest.fixture(scope="session")
def starter() -> Task:
    return tasks.load("starter")


@pytest.fixture(scope="session")
def examples(starter: Task) -> list[Example]:
    """Nine problems of the starter task with their solutions."""
    items = starter.splits(recipe.Task(name="starter", seeds=9, probes=1, test=1), seed=1).seeds
    return [Example(id=item.id, question=item.question, rationale=item.rationale, answer=item.answer) for item in items]
