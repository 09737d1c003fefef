from pathlib import Path

import pytest
from arte_export import converter
from arte_export.errors import DownloadFailed

from arte import models
from arte.recipe import Model
from tests.cli import command
from tests.cli.command import SmokeRun


@pytest.fixture(scope="session")
def taught(session_home: Path, _session_environment: None) -> Path:
    """The cache of models, with the tiny teacher of the smoke scale in it."""
    models.resolve(Model(name="tiny-taught-teacher"))
    return session_home


@pytest.fixture(scope="session")
def smoke_run(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """The smoke recipe through the command line, made once; tests that change a run copy it."""
    try:
        converter.fetch(taught)
    except DownloadFailed as error:
        pytest.skip(f"llama.cpp's converter cannot be had here: {error}")
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    return SmokeRun(folder, command.run(*command.SMOKE, "--out", str(folder)))
