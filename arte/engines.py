"""The engine that a recipe names, for the teacher and for a student."""

import shutil
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arte import arms, machine, models
from arte.errors import EngineError
from arte.generation import Engine, ScoringEngine
from arte.generation.kept_answers import KeptAnswers
from arte.models.folder import context_tokens
from arte.recipe import Model, Recipe
from arte.recipe_engines import TeacherEngine
from arte.run_models import RunModels

if TYPE_CHECKING:
    from arte.generation.fanned import FannedEngine

ANSWERS = "answers.jsonl"


class Made(NamedTuple):
    """An engine, its name, and where it keeps single answers, if it does."""

    engine: Engine
    name: TeacherEngine
    kept: KeptAnswers | None = None


def teacher(recipe: Recipe, run_models: RunModels, folder: Path, adapters: Sequence[Path]) -> Made:
    """The teacher, as the adapters align it, one on top of another; `folder` is where the stage works.

    Where a server takes no adapters, the aligned teacher drafts here, with transformers. Raises EngineError, ModelError
    and, of a GGUF file, the errors of arte_export.
    """
    settings, weights = recipe.teacher, run_models.teacher
    if settings.engine == "openai":
        from arte.served_teacher import served_teacher

        kept = KeptAnswers(folder / ANSWERS)
        served = served_teacher(settings, weights, kept, _only(adapters))
        if served is not None:
            return Made(served, "openai", kept)
    assert weights is not None
    file = _gguf(recipe, run_models, folder, adapters) if settings.engine == "llama_cpp" else None
    make = partial(_teacher_here, recipe, run_models, file, tuple(adapters))
    made = Made(
        make() if recipe.ray.workers is None else _fanned(recipe, make, weights.path, settings),
        "transformers" if settings.engine == "openai" else settings.engine,
    )
    if file is not None and file.is_relative_to(folder):
        weakref.finalize(made.engine, shutil.rmtree, file.parent, ignore_errors=True)
    return made


def look(recipe: Recipe) -> None:
    """Asks the server of a served teacher, before anything is drafted, whether it can do what a late stage wants.

    Raises EngineError.
    """
    if recipe.teacher.engine != "openai":
        return
    from arte.generation.served import Served

    served = Served.look(recipe.teacher.name, recipe.teacher.server)
    if served.takes_adapters and arms.teachers(recipe):
        served.require_adapters(recipe.teacher.server, recipe.align.lora_rank)


def _teacher_here(recipe: Recipe, run_models: RunModels, file: Path | None, adapters: Sequence[Path]) -> Engine:
    """In this process, which may be a worker of Ray's; `file` is a GGUF file of it, adapters and all."""
    settings, weights = recipe.teacher, run_models.teacher
    assert weights is not None
    machine.return_memory()
    if settings.engine == "vllm":
        from arte.generation.vllm import VllmEngine

        tokenizer = _tokenizer(weights.path, settings)
        return VllmEngine(weights.path, tokenizer, settings.vllm, run_models.dtype, _only(adapters))
    if file is not None:
        from arte.generation.llama_cpp import LlamaCppEngine

        tokenizer = _tokenizer(weights.path, settings)
        return LlamaCppEngine(file, tokenizer, settings.llama_cpp, context_tokens(weights.path))
    return run_models.engine(weights.path, adapters)


def student(recipe: Recipe, run_models: RunModels, folder: Path) -> ScoringEngine:
    """A student in its folder, as it came or trained. Raises EngineError, ModelError."""
    make = partial(_student_here, recipe, run_models, folder)
    return make() if recipe.ray.workers is None else _fanned(recipe, make, folder, recipe.student)


def _student_here(recipe: Recipe, run_models: RunModels, folder: Path) -> ScoringEngine:
    settings = recipe.student
    if settings.engine == "vllm":
        from arte.generation.vllm import VllmEngine

        machine.return_memory()
        return VllmEngine(folder, _tokenizer(folder, settings), settings.vllm, run_models.dtype)
    return run_models.engine(folder, scored_at_once=recipe.prefer.batch_size)


def _fanned(recipe: Recipe, make: Callable[[], Engine], folder: Path, model: Model) -> "FannedEngine":
    from arte.generation.chat import chat_text
    from arte.generation.fanned import FannedEngine

    return FannedEngine(make, partial(chat_text, _tokenizer(folder, model)), recipe.ray)


def _only(adapters: Sequence[Path]) -> Path | None:
    """The one adapter that an engine adds to its weights. Raises EngineError for a second on top of it."""
    if len(adapters) > 1:
        raise EngineError(
            "rounds above 1 align a teacher again on top of what it learnt, and vllm and servers load one adapter; "
            "take teacher.engine=transformers, or rounds=1"
        )
    return adapters[0] if adapters else None


def _gguf(recipe: Recipe, run_models: RunModels, folder: Path, adapters: Sequence[Path]) -> Path:
    """The teacher's own file; or one that is made from its weights, once; or, aligned, one for this stage."""
    from arte_export import gguf

    from arte.stages.align import merge_adapter

    teacher, scheme = recipe.teacher, recipe.teacher.llama_cpp.scheme
    assert run_models.teacher is not None
    source = run_models.teacher.path
    if not adapters:
        if teacher.name.endswith(".gguf"):
            return Path(teacher.name).expanduser()
        out = models.arte_home() / "gguf" / f"{run_models.teacher.sha256[:16]}-{scheme}"
        if made := sorted(out.glob("*.gguf")):
            return made[0]
    else:
        out = folder / "aligned-teacher"
        model, tokenizer = run_models.load(source, run_models.dtype)
        for adapter in adapters:
            model = merge_adapter(model, adapter)
        source = out / "merged"
        model.save_pretrained(source)
        tokenizer.save_pretrained(source)
        del model
    out.mkdir(parents=True, exist_ok=True)
    [file] = gguf.export(source, out, [scheme], "teacher", models.arte_home())
    return file


def _tokenizer(folder: Path, model: Model) -> Any:
    from arte.models.load import load_tokenizer

    return load_tokenizer(folder, model.trust_remote_code)
