"""A full or read-only disk ends with one message, and what is done is kept. The disks are real: small tmpfs mounts."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arte import disk
from arte.errors import StageError, WorkspaceError
from arte.workspace import StageFolder, Workspace
from tests.workspace import drafting


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mount") is None:
        pytest.skip("no mount program here")
    made = Disk(tmp_path / "disk")
    made.path.mkdir()
    made.mount("size=20m")
    yield made
    subprocess.run(["umount", str(made.path)], check=True)


FULL = "disk is full: .* what is done is kept: free some space and give the same command again"


def test_full_between_batches_then_freed(small: Disk, tmp_path: Path) -> None:
    uninterrupted = tmp_path / "uninterrupted"
    drafting.run(uninterrupted, batches=6)
    root, ballast = small.path / "run", small.path / "ballast"

    def fill(batch: int) -> None:
        if batch == 3:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(WorkspaceError, match=FULL):
        drafting.run(root, batches=6, before=fill)
    assert not (root / "elicit").exists()

    ballast.unlink()
    journal: list[int] = []
    drafting.run(root, batches=6, before=journal.append)
    assert journal in ([3, 4, 5], [4, 5])  # its last page may have had room for one more batch
    assert (root / "elicit" / "drafts.jsonl").read_bytes() == (uninterrupted / "elicit" / "drafts.jsonl").read_bytes()


def test_full_while_safetensors_are_written(small: Disk) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    def work(folder: StageFolder) -> None:
        save_file({"weight": np.zeros(30 * 2**20, dtype=np.uint8)}, folder.path / "model.safetensors")

    with pytest.raises(WorkspaceError, match=FULL), Workspace.open(small.path / "run", drafting.recipe()) as workspace:
        workspace.stage("distill", {}, work)


def test_full_while_torch_saves_a_checkpoint(small: Disk) -> None:
    import torch

    def work(folder: StageFolder) -> None:
        torch.save(torch.zeros(30 * 2**20, dtype=torch.uint8), folder.path / "optimizer.pt")

    with pytest.raises(WorkspaceError, match=FULL), Workspace.open(small.path / "run", drafting.recipe()) as workspace:
        workspace.stage("align", {}, work)


def test_nearly_full_before_it_begins(small: Disk) -> None:
    (small.path / "ballast").write_bytes(bytes(6 * 2**20))
    with pytest.raises(WorkspaceError, match=r"the disk is full: 1[34] MiB are free, at least 16 MiB are needed"):
        drafting.run(small.path / "run", batches=1)


def test_read_only(small: Disk) -> None:
    drafting.run(small.path / "old", batches=1)
    small.remount("ro")
    for root in (small.path / "new", small.path / "old"):
        with pytest.raises(WorkspaceError, match=r"cannot be written: .*; choose another folder with --out"):
            drafting.run(root, batches=1)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(
            WorkspaceError, match="is a file where a folder should be; choose another folder with --out"
        ):
            drafting.run(root, batches=1)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "/somewhere/model.bin"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_errors_that_say_full(tmp_path: Path, error: Exception) -> None:
    outer = ValueError("could not save")
    outer.__cause__ = error
    with pytest.raises(WorkspaceError, match=FULL) as caught, disk.errors_for(tmp_path):
        raise outer
    assert str(getattr(error, "filename", None) or tmp_path) in str(caught.value)


@pytest.mark.parametrize("error", [StageError("x"), FileExistsError(17, "x", "run"), PermissionError(13, "x", "/x")])
def test_other_errors_pass(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), disk.errors_for(tmp_path):
        raise error
