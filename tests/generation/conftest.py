"""The tiny student, loaded once for this folder."""

import pytest

from arte import models
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder


@pytest.fixture(scope="session")
def student_engine(tiny_student: ModelFolder) -> TransformersEngine:
    """Shared by all tests of the session: none may change its model."""
    return TransformersEngine(*models.load(tiny_student.path, "float32", "cpu"))
