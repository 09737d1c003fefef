"""Every test runs offline, with a cache of its own, on tiny models that are made on the fly."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

USER_HOME = os.environ.get("ARTE_HOME")
# Read once, when huggingface_hub and tqdm are imported: a fixture would come too late.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"  # as the command does for its whole process
# Machines are shared: an example that takes 300 ms once says nothing of the code.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")

from arte import models  # noqa: E402
from arte.models import ModelFolder  # noqa: E402
from arte.models.resolve import starter_is_here  # noqa: E402
from arte.recipe import Model  # noqa: E402

FOREIGN = ("HF_TOKEN", "HF_HOME", "PIP_INDEX_URL", "XDG_CACHE_HOME", "COLUMNS")


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model cache of this test session."""
    return tmp_path_factory.mktemp("arte-home")


@pytest.fixture(scope="session", autouse=True)
def _session_environment(session_home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTE_HOME", str(session_home))
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_teacher(_session_environment: None) -> ModelFolder:
    return models.resolve(Model(name="tiny-random-teacher"), seed=0)


@pytest.fixture(scope="session")
def tiny_student(_session_environment: None) -> ModelFolder:
    return models.resolve(Model(name="tiny-random-student"), seed=0)


@pytest.fixture(params=["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"])
def starter_model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    """A starter model from the user's own cache. Never downloads: skips where it is not there."""
    if USER_HOME is None:
        monkeypatch.delenv("ARTE_HOME")
    else:
        monkeypatch.setenv("ARTE_HOME", USER_HOME)
    if not starter_is_here(request.param):
        pytest.skip(f"{request.param} is not in {models.arte_home()}; `arte recipe gsm8k --scale starter` fetches it")
    return models.resolve(Model(name=request.param))
