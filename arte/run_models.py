"""The two models of a run: found once, loaded anew by each stage that needs one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arte import machine, models
from arte.models import ModelFolder
from arte.recipe import Recipe, Teacher

if TYPE_CHECKING:
    from arte.generation.transformers import TransformersEngine

Dtype = Literal["float32", "bfloat16"]


class RunModels:
    """Teacher and student of a recipe. Raises ModelError where one cannot be had."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.teacher = _teacher_weights(recipe.teacher)
        """Null where it is only to be had from a server."""
        self.student = models.resolve(recipe.student)
        self.dtype = models.compute_dtype(recipe.student.dtype)
        """What products are computed in."""

    @property
    def trained_dtype(self) -> Dtype:
        """What trained weights are kept in: on a CPU float32, whatever their products are computed in."""
        return "float32" if machine.device() == "cpu" else self.dtype

    @property
    def teacher_identity(self) -> str:
        """What its drafts depend on: its weights, or whose server's name for it."""
        teacher = self.recipe.teacher
        served = teacher.engine == "openai"
        return f"served {teacher.name}" if served or self.teacher is None else self.teacher.sha256

    @property
    def teacher_engine(self) -> dict[str, str]:
        """What drafts depend on besides the weights; nothing where they are drawn by transformers, as they always
        were."""
        teacher = self.recipe.teacher
        if teacher.engine == "transformers":
            return {}
        return {"engine": teacher.engine} | (
            {"scheme": teacher.llama_cpp.scheme} if teacher.engine == "llama_cpp" else {}
        )

    @property
    def student_engine(self) -> dict[str, str]:
        """As teacher_engine, of what is asked of a student."""
        engine = self.recipe.student.engine
        return {} if engine == "transformers" else {"engine": engine}

    def _is_teacher(self, folder: Path) -> bool:
        return self.teacher is not None and folder == self.teacher.path

    def load(self, folder: Path, dtype: str) -> Any:
        """Model and tokenizer of a folder: the teacher's, the student's, or one that a student was saved in."""
        settings = self.recipe.teacher if self._is_teacher(folder) else self.recipe.student
        machine.return_memory()  # of the model before
        return models.load(folder, dtype, machine.device(), settings.trust_remote_code)

    def engine(
        self, folder: Path, adapters: Sequence[Path] = (), scored_at_once: int | None = None
    ) -> "TransformersEngine":
        """Generation with transformers; adapters are merged in, in order. A teacher may draft with 8-bit weights."""
        from arte.generation.int8 import to_int8
        from arte.generation.transformers import SCORED_AT_ONCE, TransformersEngine
        from arte.stages.align import merge_adapter

        rounded = self._is_teacher(folder) and is_rounded(self.recipe.teacher, self.dtype)
        model, tokenizer = self.load(folder, "float32" if rounded else self.dtype)
        for adapter in adapters:
            model = merge_adapter(model, adapter)
        model = to_int8(model) if rounded else model
        return TransformersEngine(model, tokenizer, scored_at_once or SCORED_AT_ONCE)


def is_rounded(teacher: Teacher, dtype: Dtype) -> bool:
    """Whether transformers draws this teacher's drafts with 8-bit weights here: where asked for, and faster than
    `dtype`."""
    from arte.generation.int8 import is_faster

    return teacher.drafts_in == "int8" and machine.device() == "cpu" and is_faster(dtype)


def _teacher_weights(teacher: Teacher) -> ModelFolder | None:
    if teacher.engine != "openai":
        return models.resolve(teacher)
    return None if teacher.weights is None else models.resolve(teacher.model_copy(update={"name": teacher.weights}))
