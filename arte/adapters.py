"""The adapter of a teacher that another run aligned, for a run that aligns none: other tasks, other students (the
paper's tables 4 and 5)."""

import hashlib
import shutil
from pathlib import Path

from arte_export import adapter, lora, model_folder
from arte_export.errors import BadModel

from arte import config
from arte.errors import ModelError
from arte.models import ModelFolder
from arte.stage_record import StageRecord, read

FILES = (model_folder.ADAPTER_CONFIG, lora.WEIGHTS)


def found(name: str, teacher: ModelFolder) -> Path:
    """The adapter of a finished run, by its folder, or a folder of PEFT's.

    Raises ModelError where there is none, or it is of another teacher: of a run, by the digest of the weights that it
    was trained on; of a mere folder, by names and shapes.
    """
    path = Path(name).expanduser()
    folder = path
    if (path / "recipe.yaml").is_file():
        made = config.load_saved(path / "recipe.yaml")
        folder, record = path / "align" / "adapter", read(path / "align" / "stage.json", StageRecord)
        if record is None:
            raise ModelError(f"align.adapter={name}: this run has aligned no teacher; run it to its stage align first")
        if made.rounds > 1:
            raise ModelError(
                f"align.adapter={name}: this run has aligned its teacher in {made.rounds} rounds, an adapter each; "
                "expected one with rounds=1"
            )
        if record.given.get("teacher") != teacher.sha256:
            raise ModelError(
                f"align.adapter={name}: aligned {made.teacher.name}, whose weights are not those of this run's teacher "
                f"{teacher.name}; an adapter is of one teacher"
            )
    elif not model_folder.is_adapter(path):
        raise ModelError(
            f"align.adapter={name}: expected the folder of a run that aligned its teacher, or one with "
            f"{' and '.join(FILES)}"
        )
    try:
        adapter.require_base(folder, teacher.path)
    except BadModel as error:
        raise ModelError(f"align.adapter={name}: {error}") from None
    return folder


def digest(folder: Path) -> str:
    """SHA-256 of settings and weights."""
    return hashlib.sha256(b"".join(hashlib.sha256((folder / name).read_bytes()).digest() for name in FILES)).hexdigest()


def copy(folder: Path, out: Path) -> None:
    """Settings and weights, so that a run is whole without the one that it took them from."""
    out.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copyfile(folder / name, out / name)
