"""A model folder to GGUF files: converted once at the model's own precision, then quantised from that.

llama.cpp converts (converter.py) and quantises (`llama_model_quantize`), each in a child process. A file appears under
its final name when it is whole; whether it will fit on the disk is known before it is begun.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from arte_export import child, converter, model_folder, quantizer, schemes
from arte_export.errors import MissingExtra
from arte_export.metadata import Metadata
from arte_export.model_folder import Weights
from arte_export.quantizer import Wanted as Wanted
from arte_export.schemes import Scheme

LIMIT_S = 24 * 3600.0
WORK = ".export.partial"
METADATA_BYTES = 32 << 20  # tokens and merges of a large vocabulary


def export(
    folder: Path,
    out_dir: Path,
    scheme_names: Sequence[str],
    name: str,
    home: Path,
    progress: child.Progress | None = None,
    metadata: Metadata | None = None,
) -> list[Path]:
    """One GGUF file per scheme in `out_dir`, in the order asked; each whole or absent.

    `metadata` is by default what the model's `name` says. `home` keeps the converter.

    Raises BadModel (folder), DownloadFailed (converter), ExportError (unknown scheme, too little disk space, a scheme
    that needs an importance matrix), MissingExtra, ChildDied.
    """
    wanted = [schemes.load(scheme) for scheme in dict.fromkeys(scheme_names)]
    weights = model_folder.inspect(folder)
    described = metadata or Metadata.named(name, weights.parameters)
    own = own_scheme(weights)
    others = [scheme for scheme in wanted if scheme != own]
    finals = {scheme: out_dir / described.file_name(scheme.encoding) for scheme in wanted}
    with _converted(folder, weights, out_dir, described, home, others) as source:
        quantize(source, [Wanted(file, scheme) for scheme, file in finals.items()], progress)
    return [finals[schemes.load(scheme)] for scheme in scheme_names]


@contextmanager
def converted(folder: Path, out_dir: Path, name: str, home: Path, metadata: Metadata | None = None) -> Iterator[Path]:
    """The model as a GGUF file at its own precision, in a work folder inside `out_dir`, for the time of a `with`.

    Raises BadModel (folder), DownloadFailed (converter), ExportError (too little disk space), ChildDied.
    """
    weights = model_folder.inspect(folder)
    described = metadata or Metadata.named(name, weights.parameters)
    with _converted(folder, weights, out_dir, described, home, []) as source:
        yield source


@contextmanager
def _converted(
    folder: Path, weights: Weights, out_dir: Path, described: Metadata, home: Path, others: Sequence[Scheme]
) -> Iterator[Path]:
    converter.check_architecture(folder, home)
    own = own_scheme(weights)
    out_dir.mkdir(parents=True, exist_ok=True)
    work = out_dir / WORK
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    planned = [own, *others]
    # rows that are no multiple of 256 fall back to larger types; how much larger, only a dry run on the source can say
    needed = sum(int(weights.parameters * scheme.bits_per_weight / 8 * 1.25) + METADATA_BYTES for scheme in planned)
    quantizer.check_space(out_dir, needed, planned)
    work.mkdir()
    try:
        source = (work / "source.gguf").resolve()
        converter.convert(folder.resolve(), source, own.name, described, home)
        yield source
    finally:
        shutil.rmtree(work, ignore_errors=True)


def own_scheme(weights: Weights) -> Scheme:
    """The scheme that holds the weights as they are."""
    return schemes.load({"F32": "f32", "F16": "f16"}.get(weights.dtype, "bf16"))


def require() -> None:
    """Raises MissingExtra where the quantizer is not installed. Loads nothing."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingExtra("llama-cpp-python", "gguf", "Writing GGUF files")


def quantize(source: Path, wanted: Sequence[Wanted], progress: child.Progress | None = None) -> None:
    """Writes every file from `source`, a GGUF file in f32, f16 or bf16. A scheme that is the source's own is a copy.

    Sizes come from llama.cpp's dry run, and the disk is checked for all files before the first. Files that are whole
    stay where a later one fails.

    Raises BadModel (source or importance matrix), ExportError (too little disk space, no importance matrix for a
    scheme that needs one, a matrix of another model), ChildDied.
    """
    jobs = [
        one._replace(file=one.file.resolve(), importance=one.importance and one.importance.resolve()) for one in wanted
    ]
    try:
        if jobs:
            call = partial(quantizer.write_all, source.resolve(), jobs)
            child.run(call, holding=source, limit_s=LIMIT_S, progress=progress)
    finally:
        for one in jobs:
            quantizer.unfinished(one.file).unlink(missing_ok=True)
