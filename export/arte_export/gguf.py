"""A model folder to GGUF files: converted once at the model's own precision, then quantised from that.

File names follow the GGUF naming convention (ggml docs/gguf.md): BaseName-SizeLabel-Encoding.gguf.
"""

import ctypes
import importlib.util
import os
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arte_export import child, converter, model_folder, schemes
from arte_export.errors import ExportError, MissingExtra
from arte_export.schemes import Scheme

LIMIT_S = 4 * 3600.0
WORK = ".export.partial"
METADATA_BYTES = 32 << 20  # tokens and merges of a large vocabulary


def export(
    folder: Path,
    out_dir: Path,
    scheme_names: Sequence[str],
    name: str,
    home: Path,
    progress: child.Progress | None = None,
) -> list[Path]:
    """One GGUF file per scheme in `out_dir`, in the order asked; each whole or absent.

    `name` is the model's base name; the size label is put behind it unless it holds one. `home` keeps the converter.

    Raises BadModel (folder), DownloadFailed (converter), ExportError (unknown scheme, too little disk space),
    MissingExtra, ChildDied.
    """
    wanted = [schemes.load(scheme) for scheme in dict.fromkeys(scheme_names)]
    weights = model_folder.inspect(folder)
    own = schemes.load({"F32": "f32", "F16": "f16"}.get(weights.dtype, "bf16"))
    out_dir.mkdir(parents=True, exist_ok=True)
    work = out_dir / WORK
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    _check_space(out_dir, weights.parameters, [own, *(scheme for scheme in wanted if scheme != own)])
    work.mkdir()
    try:
        source = work / "source.gguf"
        converter.convert(folder.resolve(), source.resolve(), own.name, name, home)
        finals = {scheme: out_dir / file_name(name, weights.parameters, scheme) for scheme in wanted}
        made = {scheme: work / finals[scheme].name for scheme in wanted if scheme != own}
        if made:
            call = partial(_quantize, source, [(file, scheme.ftype) for scheme, file in made.items()])
            child.run(call, holding=source, limit_s=LIMIT_S, progress=progress)
        if own in finals:
            made[own] = source
        for scheme, file in made.items():
            os.replace(file, finals[scheme])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [finals[schemes.load(scheme)] for scheme in scheme_names]


def require() -> None:
    """Raises MissingExtra where the quantizer is not installed. Loads nothing."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingExtra("llama-cpp-python", "gguf", "Writing GGUF files")


def file_name(name: str, parameters: int, scheme: Scheme) -> str:
    """`file_name("maths", 134_515_008, Q4_K_M)` is "maths-135M-Q4_K_M.gguf"."""
    base = re.sub(r"[^\w.]+", "-", name).strip("-")
    sized = re.search(r"(^|-)\d+(\.\d+)?(x\d+(\.\d+)?)?[KMBT](-|$)", base, re.IGNORECASE)
    return f"{base}-{scheme.encoding}.gguf" if sized else f"{base}-{size_label(parameters)}-{scheme.encoding}.gguf"


def size_label(parameters: int) -> str:
    """The count of parameters as the convention writes it, with two digits at least: 134,515,008 is "135M"."""
    for scale, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= scale or letter == "K":
            break
    scaled = parameters / scale
    return f"{scaled:.{1 if scaled < 9.5 else 0}f}{letter}"


def _check_space(out_dir: Path, parameters: int, planned: Sequence[Scheme]) -> None:
    # the K-quants of rows that are no multiple of 256 fall back to types up to a quarter larger
    needed = sum(int(parameters * scheme.bits_per_weight / 8 * 1.25) + METADATA_BYTES for scheme in planned)
    free = shutil.disk_usage(out_dir).free
    if free < needed:
        raise ExportError(
            f"{out_dir}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed for "
            f"{', '.join(scheme.name for scheme in planned)}; free some space or choose another folder"
        )


def _quantize(source: Path, outs: list[tuple[Path, int]]) -> None:
    """Writes `source` to each file with its llama_ftype."""
    from arte_export import runtime

    lib = runtime.library()
    parameters = lib.llama_model_quantize_default_params()
    parameters.nthread = runtime.cores()
    for done, (out, ftype) in enumerate(outs, 1):
        parameters.ftype = ftype
        status = lib.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(parameters))
        if status != 0:
            raise ExportError(f"{out.name}: llama.cpp could not quantise {source.name}: {runtime.last_words()}")
        child.tell(done, len(outs))
