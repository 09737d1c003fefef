"""Homes of what the onnx-optimum tests install, kept from session to session."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from arte_export import environment
from arte_export.errors import DownloadFailed

TRANSFORMERS_JS = "4.3.1"
# Read before the tests hide it: 1.3 GB are installed once on a machine, where `arte doctor --install optimum` does.
HOME = Path(os.environ.get("ARTE_HOME") or Path.home() / ".cache" / "arte")


@functools.cache
def optimum_home() -> Path:
    """A home that holds the environment of optimum-onnx: 47 s the first time."""
    try:
        environment.install(HOME)
    except DownloadFailed as error:
        pytest.skip(f"the environment of optimum-onnx cannot be had here: {error}")
    return HOME


@functools.cache
def transformers_js() -> Path:
    """A folder whose node_modules hold @huggingface/transformers: 11 s and 470 MB the first time."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not installed")
    folder = HOME / "tools" / f"transformers-js-{TRANSFORMERS_JS}"
    if not folder.is_dir():
        made = folder.with_name(f".{folder.name}.{os.getpid()}")
        made.mkdir(parents=True)
        (made / "package.json").write_text('{"private": true}', encoding="utf-8")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        command.append(f"@huggingface/transformers@{TRANSFORMERS_JS}")
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            shutil.rmtree(made)
            pytest.skip(f"npm cannot install @huggingface/transformers here: exit code {done.returncode}")
        os.replace(made, folder)
    return folder
