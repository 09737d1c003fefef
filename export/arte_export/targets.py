"""What `--to` may say: FORMAT:SCHEME, or `ollama`."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from arte_export import schemes
from arte_export.device_file import Format
from arte_export.errors import ExportError
from arte_export.onnx_genai import PRECISIONS
from arte_export.onnx_optimum import PRECISIONS as OPTIMUM_PRECISIONS

OLLAMA = "ollama"


class Target(NamedTuple):
    """One file to be made."""

    format: Format
    scheme: str


class Targets(NamedTuple):
    """The files to be made, each once, in the order asked; whether each GGUF file gets an Ollama Modelfile."""

    files: list[Target]
    modelfiles: bool


def parse(specs: Sequence[str]) -> Targets:
    """`parse(["gguf:q4_k_m", "ollama"])`. Raises ExportError with every problem, and the nearest names."""
    files: list[Target] = []
    problems = []
    for spec in specs:
        form, _, scheme = spec.partition(":")
        known: dict[str, Sequence[str]] = {
            "gguf": list(schemes.SCHEMES), "onnx": list(PRECISIONS), "onnx-optimum": OPTIMUM_PRECISIONS
        }  # fmt: skip
        if spec == OLLAMA:
            continue
        if form not in known:
            nearest = _nearest(form, [*known, OLLAMA])
            problems.append(f"{spec!r}: no format is called {form!r}{nearest} (known: {', '.join(known)}, {OLLAMA})")
        elif scheme.lower() not in known[form]:
            nearest = _nearest(scheme.lower(), known[form])
            found = f"no {form} scheme is called {scheme!r}" if scheme else f"names no scheme of {form}"
            problems.append(f"{spec!r}: {found}{nearest} (known: {', '.join(known[form])})")
        else:
            files.append(Target(form, scheme.lower()))  # type: ignore[arg-type]  # a key of `known`
    if OLLAMA in specs and not any(target.format == "gguf" for target in files) and not problems:
        problems.append("'ollama': Ollama reads GGUF files; add one, for instance gguf:q4_k_m")
    if problems:
        raise ExportError("\n".join(problems))
    return Targets(list(dict.fromkeys(files)), OLLAMA in specs)


def _nearest(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(found)}?" if found else ""
