"""A real server of OpenAI's protocol with a tiny model: transformers' own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from arte import models
from arte.generation.transformers import TransformersEngine
from arte.models import ModelFolder
from arte.recipe import Model


class RunningServer(NamedTuple):
    url: str
    model: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def student_engine(tiny_student: ModelFolder) -> TransformersEngine:
    """The model that is served, in this process."""
    return TransformersEngine(*models.load(tiny_student.path, "float32", "cpu"))


@pytest.fixture(scope="session")
def taught(_session_environment: None) -> ModelFolder:
    """A tiny teacher that writes words: what a random one draws is often no text at all, and runtimes differ in how
    they show that."""
    return models.resolve(Model(name="tiny-taught-teacher"))


@pytest.fixture(scope="session")
def taught_engine(taught: ModelFolder) -> TransformersEngine:
    return TransformersEngine(*models.load(taught.path, "float32", "cpu"))


@pytest.fixture(scope="session")
def server(tiny_student: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(tiny_student.path, tmp_path_factory.mktemp("server")) as running:
        yield running


@contextmanager
def serve(model: Path, folder: Path) -> Iterator[RunningServer]:
    """`transformers serve` of a model, its log in `folder`."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(model), "--port", str(port), "--host", "127.0.0.1"]
    environment = {**os.environ, "HF_HUB_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--device", "cpu", "--dtype", "float32"], stdout=log, stderr=log, env=environment
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models", process, folder / "log.txt")
            yield RunningServer(f"http://127.0.0.1:{port}/v1", str(model))
        finally:
            died = process.poll()
            process.terminate()
            process.wait(30)
    if died is not None:
        pytest.fail(f"the server ended by itself ({died}): {(folder / 'log.txt').read_text(errors='replace')[-3000:]}")


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not come up: {log.read_text(errors='replace')[-3000:]}")
