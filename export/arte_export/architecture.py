"""Whether weight files hold the tensors of the architecture that config.json declares: names and shapes.

transformers itself says so: it builds the model on torch's meta device, which holds no data, and loads the files into
it. That takes tied weights, renamed tensors and experts that are fused on loading as a real load would take them.

It runs in a child process, so that a caller without torch stays small, unless the caller has imported transformers'
models already: then nearly all of the time, the import, is saved.
"""

import difflib
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from arte_export import child
from arte_export.errors import BadModel

LIMIT_S = 600.0
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


class _Differences(BaseModel):
    """Tensor names; `another_shape` with the file's shape and the architecture's."""

    absent: list[str]
    unexpected: list[str]
    another_shape: list[tuple[str, list[int], list[int]]]
    embedding_rows: int | None


def check(folder: Path, files: list[Path], config: dict[str, Any], tensors: int) -> int | None:
    """Compares; gives the rows of the input embedding, None where the model has none. `tensors` are those stored.

    Raises BadModel (unknown architecture, tensors that are not the architecture's), ChildDied.
    """
    for part in (config, config.get("text_config")):
        declared = [part.get(name) for name in LAYERS] if isinstance(part, dict) else []
        # built as declared, a damaged number would take hours; every layer has a tensor
        if any(isinstance(layers, int) and layers > tensors for layers in declared):
            raise BadModel(
                f"{folder / 'config.json'}: declares more layers than the weight files hold tensors, {tensors}"
            )
    stats = [file.stat() for file in (folder / "config.json", *files)]
    state = tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
    found = _compared(folder.resolve(), config["architectures"][0], "auto_map" in config, state)
    if said := _said(found):
        where = files[0].name if len(files) == 1 else f"{len(files)} weight files"
        raise BadModel(
            f"{folder}: {where} and config.json are not of the same model ({config['architectures'][0]}): {said}. "
            "Download or save the model again"
        )
    return found.embedding_rows


@functools.lru_cache(maxsize=16)
def _compared(
    folder: Path, architecture: str, own_code: bool, _state: tuple[tuple[int, int, int], ...]
) -> _Differences:
    """The differences, found once as long as the files are the same: an export asks some times over."""
    if "transformers.modeling_utils" in sys.modules:
        return _differences(folder, architecture, own_code)
    call = partial(_differences, folder, architecture, own_code)
    return child.run(call, holding=folder, limit_s=LIMIT_S).result


def _said(found: _Differences) -> str:
    """How many tensors differ in which way, and the first of each; empty where none does."""
    lines = []
    if found.another_shape:
        name, stored, declared = found.another_shape[0]
        lines.append(f"of another shape {len(found.another_shape)}, first {name}: {stored}, declared {declared}")
    if found.absent:
        lines.append(f"absent {len(found.absent)}, first {found.absent[0]}")
    if found.unexpected:
        lines.append(f"unexpected {len(found.unexpected)}, first {found.unexpected[0]}")
    return "; ".join(lines)


def _differences(folder: Path, architecture: str, own_code: bool) -> _Differences:
    import transformers
    from transformers.models.auto import modeling_auto

    known = {
        *modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(),
        *modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values(),
    }
    file = folder / "config.json"
    if architecture not in known:
        nearest = difflib.get_close_matches(architecture, sorted(known), n=3, cutoff=0.6)
        hint = f"; nearest known: {', '.join(nearest)}" if nearest else ""
        why = (
            "brings code of its own, which is never run here"
            if own_code
            else f"is not a language model that transformers {transformers.__version__} knows"
        )
        raise BadModel(f"{file}: architecture {architecture} {why}{hint}")
    kind = getattr(transformers, architecture)
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # its validation raises whatever the class of the configuration chose
        raise BadModel(f"{file}: transformers cannot read it: {type(error).__name__}: {error}") from None
    if not isinstance(config, kind.config_class):
        raise BadModel(
            f"{file}: model_type {config.model_type!r} does not belong to architecture {architecture}; "
            f"expected {kind.config_class.model_type!r}"
        )
    try:
        with _quiet():
            model, loading = kind.from_pretrained(
                str(folder), config=config, device_map="meta", dtype="auto", ignore_mismatched_sizes=True,
                use_safetensors=True, local_files_only=True, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # as above: sizes that do not go together fail anywhere in the model's constructor
        raise BadModel(
            f"{file}: transformers cannot build {architecture} from it: {type(error).__name__}: {error}"
        ) from None
    embedding = model.get_input_embeddings()
    return _Differences(
        absent=sorted(loading["missing_keys"]),
        unexpected=sorted(loading["unexpected_keys"]),
        another_shape=sorted((name, list(stored), list(own)) for name, stored, own in loading["mismatched_keys"]),
        embedding_rows=None if embedding is None else len(embedding.weight),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own report of the differences and its bar."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
