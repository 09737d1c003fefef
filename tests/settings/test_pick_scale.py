"""Which scale `auto` picks. The GPU is told by a stand-in nvidia-smi on the PATH; the hub by its own settings."""

from pathlib import Path

import pytest

from arte import config

FILE = """\
task: {name: starter}
student: {name: %s}
teacher: {name: %s}
scales: {%s}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    path = tmp_path / "mine.yaml"
    path.write_text(FILE % (model, model, "smoke: {}, starter: {}, gpu: {}"), encoding="utf-8")
    return path


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> None:
    monkeypatch.setenv("PATH", str(folder))
    if script is not None:
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)


def test_without_a_gpu(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, None)
    scale, why = config.pick_scale(recipe)
    assert scale == "starter"
    assert "nvidia-smi" in why
    loaded, reason = config.load_with_reason(recipe)
    assert loaded.scale == "starter"
    assert reason == f"scale starter: {why}; choose another with --scale (smoke, gpu)"
    assert config.load_with_reason(recipe, "smoke")[1] is None


@pytest.mark.parametrize(("mebibytes", "scale"), [("24564", "gpu"), ("23034", "gpu"), ("16376", "starter")])
def test_by_memory(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mebibytes: str, scale: str) -> None:
    nvidia_smi(tmp_path, monkeypatch, f"echo {mebibytes}")
    assert config.pick_scale(recipe)[0] == scale


def test_a_driver_without_a_gpu(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "echo 'No devices were found'; exit 6")
    assert config.pick_scale(recipe)[0] == "starter"


def test_a_recipe_without_gpu_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "echo 81559")
    path = tmp_path / "small.yaml"
    path.write_text(FILE % ("a", "b", "smoke: {}"), encoding="utf-8")
    assert config.pick_scale(path) == ("smoke", f"{path} has no scale gpu")


def test_without_models_and_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    nvidia_smi(tmp_path, monkeypatch, "echo 81559")
    path = tmp_path / "far.yaml"
    path.write_text(FILE % ("nobody/such-a-student", "nobody/such-a-teacher", "starter: {}, gpu: {}"), encoding="utf-8")
    scale, why = config.pick_scale(path)
    assert scale == "starter"
    assert "nobody/such-a-teacher" in why
