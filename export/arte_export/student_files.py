"""All device files of a student: made, calibrated on its own task, and each held against the torch model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from arte_export import (
    distributions,
    generic_text,
    gguf,
    imatrix,
    model_folder,
    ollama,
    onnx_genai,
    onnx_optimum,
    parity,
    reference,
    schemes,
)
from arte_export.answers import Answers
from arte_export.device_file import DeviceFile
from arte_export.distributions import Distributions
from arte_export.errors import ExportError
from arte_export.gate import Parity, TaskAccuracy
from arte_export.metadata import Metadata
from arte_export.quantizer import Wanted
from arte_export.schemes import Scheme
from arte_export.targets import Target, Targets

Say = Callable[[str], None]
MatrixOf = Literal["none", "generic", "own"]
MATRICES: tuple[MatrixOf, ...] = ("none", "generic", "own")
GENERIC_TOKENS, GENERIC_ROWS = 256, 32
"""Of the generic text: about as many tokens as the drafts of a run have."""
OLLAMA_CONTEXT = 4096
"""Ollama keeps a cache for so many tokens, unless the model has fewer."""


class Calibration(BaseModel):
    """What each importance matrix brought to one scheme: divergence on task text that no matrix saw.

    None: llama.cpp makes no such file (the lowest schemes need a matrix), or there were no rows of one's own.
    """

    model_config = ConfigDict(frozen=True)

    scheme: str
    shipped: MatrixOf
    none: Distributions | None
    generic: Distributions | None
    own: Distributions | None


class StudentFile(BaseModel):
    """One file, what the gate found, for K- and I-quants what calibration brought, and the name of its Modelfile or why
    it has none."""

    model_config = ConfigDict(frozen=True)

    file: DeviceFile
    parity: Parity
    calibration: Calibration | None
    modelfile: str | None
    modelfile_refused: str | None


class Calibrating(NamedTuple):
    """Token ids of the rows that the importance matrix is taken from, and what to call them."""

    rows: Sequence[Sequence[int]]
    dataset: str


def export(
    folder: Path,
    out: Path,
    targets: Targets,
    metadata: Metadata,
    home: Path,
    model: Callable[[], parity.Reference],
    calibrating: Calibrating | None,
    accuracy: Callable[[DeviceFile, Answers], TaskAccuracy] | None = None,
    say: Say = lambda _: None,
) -> list[StudentFile]:
    """Writes every target into `out` and gates it; in the order asked.

    `model` gives the torch side; it is asked for when all files are made. `calibrating` None leaves K- and I-quants
    without a matrix, except those that llama.cpp makes only with one: they get the generic text's. `accuracy` grades a
    file's answers to the prompts of the reference.

    Raises BadModel, DownloadFailed, MissingExtra, ExportError, ChildDied. Files that are whole by then stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    quants = [schemes.load(target.scheme) for target in targets.files if target.format == "gguf"]
    with _source(folder, out, metadata, home, bool(quants)) as source:
        matrices = _matrices(folder, source, quants, calibrating, say) if source else {}
        made = {target: _make(target, folder, out, metadata, home, source, matrices, say) for target in targets.files}
        variants = {
            target: _with_other_matrices(source, target, file, matrices) if source else {}
            for target, file in made.items()
        }
        compared = model()
        every = {target: [file, *variants[target].values()] for target, file in made.items()}
        near = _distributions(folder, every, compared.rows, say)
        found = []
        for target, file in made.items():
            say(f"{file.path.name}: held against the model")
            others = variants[target]
            checked, answers = parity.check(compared, file, source, near[target][0])
            if accuracy is not None and answers is not None:
                checked = parity.judge(checked, file, accuracy(file, answers))
            calibration = None
            if others:
                shipped = _shipped(schemes.load(target.scheme), matrices)
                by_matrix = dict(zip([shipped, *others], near[target], strict=True))
                calibration = Calibration(
                    scheme=target.scheme, shipped=shipped, **{name: by_matrix.get(name) for name in MATRICES}
                )
            modelfile, refused = None, None
            if targets.modelfiles and target.format == "gguf":
                modelfile, refused = _modelfile(folder, file, metadata)
            found.append(
                StudentFile(
                    file=file,
                    parity=checked,
                    calibration=calibration,
                    modelfile=modelfile,
                    modelfile_refused=refused,
                )
            )
    return found


def _modelfile(folder: Path, file: DeviceFile, metadata: Metadata) -> tuple[str | None, str | None]:
    """The name of the file's Modelfile, or why there is none: some templates cannot be said in Ollama's language."""
    trained = model_folder.read_config(folder).get("max_position_embeddings") or OLLAMA_CONTEXT
    try:
        written = ollama.write(file.path, file.vocabulary([], []), min(trained, OLLAMA_CONTEXT), metadata.license)
    except ExportError as error:
        return None, str(error)
    return written.name, None


@contextmanager
def _source(folder: Path, out: Path, metadata: Metadata, home: Path, needed: bool) -> Iterator[Path | None]:
    if not needed:
        yield None
        return
    with gguf.converted(folder, out, metadata.name, home, metadata) as source:
        yield source


def _matrices(
    folder: Path, source: Path, quants: Sequence[Scheme], calibrating: Calibrating | None, say: Say
) -> dict[MatrixOf, Path]:
    """The importance matrices that the schemes call for, beside the source file; they go with it."""
    if not any(scheme.calibrated for scheme in quants):
        return {}
    if calibrating is None and not any(scheme.needs_importance for scheme in quants):
        return {}
    tokenizer = reference.tokenizer_of(folder)
    made: dict[MatrixOf, Path] = {"generic": source.parent / "generic.gguf"}
    say("importance matrix of generic text")
    generic = generic_text.rows(tokenizer, GENERIC_TOKENS, GENERIC_ROWS)
    imatrix.collect(folder, source, generic, made["generic"], "the reference of the Python language")
    if calibrating is not None and calibrating.rows:
        made["own"] = source.parent / "own.gguf"
        say(f"importance matrix of {len(calibrating.rows)} rows of {calibrating.dataset}")
        imatrix.collect(folder, source, calibrating.rows, made["own"], calibrating.dataset)
    return made


def _make(
    target: Target,
    folder: Path,
    out: Path,
    metadata: Metadata,
    home: Path,
    source: Path | None,
    matrices: dict[MatrixOf, Path],
    say: Say,
) -> DeviceFile:
    say(f"{target.format}:{target.scheme}")
    if target.format == "gguf":
        assert source is not None
        scheme = schemes.load(target.scheme)
        path = out / metadata.file_name(scheme.encoding)
        gguf.quantize(source, [Wanted(path, scheme, matrices.get(_shipped(scheme, matrices)))])
    elif target.format == "onnx":
        path = onnx_genai.export(folder, out / _folder_name(metadata, f"ONNX-{target.scheme}"), target.scheme)
    else:
        path = onnx_optimum.export(folder, out / _folder_name(metadata, f"ONNX-optimum-{target.scheme}"), home)
    return DeviceFile(path=path, format=target.format, scheme=target.scheme, home=home)


def _folder_name(metadata: Metadata, encoding: str) -> str:
    return metadata.file_name(encoding).removesuffix(".gguf")


def _shipped(scheme: Scheme, matrices: dict[MatrixOf, Path]) -> MatrixOf:
    if not scheme.calibrated:
        return "none"
    return "own" if "own" in matrices else "generic" if "generic" in matrices and scheme.needs_importance else "none"


def _with_other_matrices(
    source: Path, target: Target, file: DeviceFile, matrices: dict[MatrixOf, Path]
) -> dict[MatrixOf, DeviceFile]:
    """The same scheme with every other matrix, beside the source file, for comparison."""
    if target.format != "gguf" or not schemes.load(target.scheme).calibrated or not matrices:
        return {}
    scheme = schemes.load(target.scheme)
    made: dict[MatrixOf, DeviceFile] = {}
    for name in MATRICES:
        if name == _shipped(scheme, matrices) or (name != "none" and name not in matrices):
            continue
        if name == "none" and scheme.needs_importance:
            continue
        variant = source.parent / f"{scheme.name}-{name}.gguf"
        gguf.quantize(source, [Wanted(variant, scheme, matrices.get(name))])
        made[name] = file.model_copy(update={"path": variant})
    return made


def _distributions(
    folder: Path, files: dict[Target, list[DeviceFile]], rows: Sequence[Sequence[int]], say: Say
) -> dict[Target, Sequence[Distributions | None]]:
    """Of every file and its variants, all measured in one go."""
    if not rows:
        return {target: [None] * len(those) for target, those in files.items()}
    say(f"next-token distributions on {len(rows)} rows")
    every = [file for those in files.values() for file in those]
    found = iter(distributions.measure(folder, every, rows))
    return {target: [next(found) for _ in those] for target, those in files.items()}
