"""Every file of a student made and gated in one go, on a tiny model."""

from pathlib import Path

import pytest
from arte_export import parity, student_files, targets
from arte_export.errors import ExportError
from arte_export.metadata import Metadata
from arte_export.student_files import Calibrating, StudentFile

ROWS = [[1, *range(20 + i, 60 + i), 2] for i in range(8)]
OWN = [[1, *range(90 + i, 140 + i), 2] for i in range(8)]
NAMED = Metadata.named("tiny", 97_000)


def made(
    folder: Path, out: Path, specs: list[str], home: Path, calibrating: Calibrating | None = None
) -> tuple[list[StudentFile], list[str]]:
    said: list[str] = []

    def model() -> parity.Reference:
        return parity.Reference(folder, ROWS, [], 1, lambda *_: None)

    found = student_files.export(folder, out, targets.parse(specs), NAMED, home, model, calibrating, None, said.append)
    return found, said


def test_files_matrices_and_modelfile(tiny_model: Path, converter_home: Path, tmp_path: Path) -> None:
    calibrating = Calibrating(OWN, "eight rows")
    found, said = made(tiny_model, tmp_path / "out", ["gguf:f32", "gguf:q4_k_m", "ollama"], converter_home, calibrating)
    assert [each.file.path.name for each in found] == ["tiny-97K-F32.gguf", "tiny-97K-Q4_K_M.gguf"]
    exact, coarse = found
    assert (exact.parity.failed, exact.calibration) == ([], None)
    assert coarse.calibration is not None
    assert (coarse.calibration.scheme, coarse.calibration.shipped) == ("q4_k_m", "own")
    measured = [getattr(coarse.calibration, name) for name in student_files.MATRICES]
    assert None not in measured
    assert len({each.mean_kld.value for each in measured}) == 3  # each matrix rounds otherwise
    assert coarse.calibration.own == coarse.parity.distributions
    assert "importance matrix of 8 rows of eight rows" in said
    assert [each.modelfile for each in found] == ["tiny-97K-F32.Modelfile", "tiny-97K-Q4_K_M.Modelfile"]
    assert "FROM ./tiny-97K-F32.gguf" in (tmp_path / "out" / "tiny-97K-F32.Modelfile").read_text()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == sorted(
        f"tiny-97K-{name}" for name in ("F32.gguf", "F32.Modelfile", "Q4_K_M.gguf", "Q4_K_M.Modelfile")
    )


def test_without_rows_of_ones_own_nothing_is_calibrated(tiny_model: Path, converter_home: Path, tmp_path: Path) -> None:
    [file], said = made(tiny_model, tmp_path / "out", ["gguf:q4_k_m"], converter_home)
    assert file.calibration is None
    assert not any("matrix" in line for line in said)


def test_a_failure_leaves_no_work_folder(tiny_model: Path, converter_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ExportError, match="eight rows: no tokens to calibrate on"):
        made(tiny_model, out, ["gguf:q4_k_m"], converter_home, Calibrating([[]], "eight rows"))
    assert list(out.iterdir()) == []
