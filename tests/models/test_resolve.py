import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from arte import models
from arte.errors import ArteError, ModelError, UnknownName
from arte.models import ModelFolder
from arte.models.home import made_whole
from arte.recipe import Model


def test_a_folder_is_its_own_place(tiny_student: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_student.path.parent)
    found = models.resolve(Model(name=tiny_student.path.name))
    assert found == tiny_student._replace(name=tiny_student.path.name)
    assert found.path.is_absolute()


HUB_OFF = "no such folder or file here, not in the hub's cache, and HF_HUB_OFFLINE is set; give a local folder"


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (
            {"name": "./nowhere"},
            ModelError,
            "./nowhere: no such folder or file; expected a model folder or a .gguf file",
        ),
        ({"name": "nowhere.gguf"}, ModelError, "nowhere.gguf: no such folder or file"),
        ({"name": "a/b/c"}, ModelError, "a/b/c: no such folder or file"),
        ({"name": "smollm2-135m-instrukt"}, ModelError, "did you mean smollm2-135m-instruct?"),
        ({"name": "gpt2"}, ModelError, "on the hub: owner/name"),
        ({"name": "owner/model"}, ModelError, "owner/model: " + HUB_OFF),
        ({"name": "owner/model", "revision": "v1"}, ModelError, "owner/model at revision v1: " + HUB_OFF),
        ({"name": "owner/mo del"}, ModelError, "not a hub id (owner/name)"),
        (
            {"name": "smollm2-135m-instruct", "source": "hub"},
            ModelError,
            "HuggingFaceTB/SmolLM2-135M-Instruct: " + HUB_OFF,
        ),
        (
            {"name": "tiny-random-student", "source": "folder"},
            ModelError,
            "tiny-random-student: no such folder or file",
        ),
        ({"name": "owner/model", "source": "index"}, UnknownName, "no starter model on the package index is called"),
    ],
)
def test_a_model_that_cannot_be_had(settings: dict[str, str], kind: type[ArteError], message: str) -> None:
    with pytest.raises(kind) as failure:
        models.resolve(Model.model_validate(settings))
    assert message in str(failure.value)


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"model\.bin: is a file, but not a \.gguf file"):
        models.resolve(Model(name=str(tmp_path / "model.bin")))


def test_parameters_are_known_without_a_download(tiny_student: ModelFolder, tiny_gguf: Path) -> None:
    expected = {
        "tiny-random-student": 35744,
        "tiny-random-teacher": 142656,
        "smollm2-135m-instruct": 134_515_008,
        "qwen2.5-coder-0.5b-instruct": 630_167_424,
        str(tiny_student.path): 35744,
        str(tiny_gguf): 35744,
        "owner/model": None,
    }
    assert {name: models.known_parameters(Model(name=name)) for name in expected} == expected


@pytest.fixture
def cached(tiny_student: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny student as the hub's cache holds owner/model: links to blobs that are named by their digests."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--owner--model"
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for file in tiny_student.path.iterdir():
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


def test_a_hub_model_is_taken_from_the_hubs_cache(cached: Path, tiny_student: ModelFolder) -> None:
    found = models.resolve(Model(name="owner/model"))
    assert found == (cached, "owner/model", "hub", tiny_student.sha256, tiny_student.parameters)


def test_a_blob_that_is_not_the_hubs_is_removed(cached: Path) -> None:
    blob = (cached / "model.safetensors").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(
        ModelError, match=rf"model\.safetensors: has SHA-256 [0-9a-f]{{64}}, the hub says {blob.name}; it was"
    ):
        models.resolve(Model(name="owner/model"))
    assert not blob.exists()


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTE_HOME", str(tmp_path / "mine"))
    assert models.arte_home() == tmp_path / "mine"
    monkeypatch.delenv("ARTE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert models.arte_home() == tmp_path / "arte"


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    def half_way() -> None:
        with made_whole(tmp_path / "model") as partial:
            (partial / "config.json").write_text("{}")
            raise RuntimeError("cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        half_way()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "stale").write_text("what a killed process leaves")
    with made_whole(tmp_path / "model") as partial:
        (partial / "config.json").write_text("{}")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/config.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    def write() -> None:
        with made_whole(tmp_path / "model"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"weights")

    with pytest.raises(
        ModelError, match="No space left on device; models are kept there: free some space, or set ARTE"
    ):
        write()
    assert list(tmp_path.iterdir()) == []


def test_processes_take_turns(tmp_path: Path) -> None:
    """Three processes want the same folder: one makes it, slowly; the others find it whole."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from arte.models.home import arte_home, made_whole, turn
        folder = arte_home() / "models" / "shared"
        with turn("shared"):
            if not folder.exists():
                with made_whole(folder) as partial:
                    (partial / "a").write_text("1")
                    time.sleep(0.5)
                    (partial / "b").write_text("2")
                print("made")
        assert (folder / "a").read_text() + (folder / "b").read_text() == "12"
    """)
    environment = {**os.environ, "ARTE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [child.communicate(timeout=60)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sorted(printed) == ["", "", "made"]
