"""The tiny student, loaded once for this folder."""

import pytest

from arte import models
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder


@pytest.fixture(scope="session")
def student_engine(tiny_student: ModelFolder) -> TransformersEngine:
    """Shared by all tests of the session: none may change its model."""
    return TransformersEngine(*models.load(tiny_student.path, "float32", "cpu"))


@pytest.fixture(scope="session")
def exact_engine(tiny_student: ModelFolder) -> TransformersEngine:
    """In double precision. A model's sums round differently in batches of different sizes, and in single precision
    that now and then moves a draw of a thousand near-equal tokens to the next one, on some processors only."""
    model, tokenizer = models.load(tiny_student.path, "float32", "cpu")
    return TransformersEngine(model.double(), tokenizer)
