"""The environment of optimum-onnx: whole or absent, whatever kills its installation.

The mechanics are tested on a pinned set of one tiny wheel, made here, that pip finds without an index.
"""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest
from arte_export import child, environment
from arte_export.errors import DownloadFailed, ExportError

from tests.export import inside, optimum

WHEEL = "arte_trial-1.0-py3-none-any.whl"
INSTALLING = "import sys; from pathlib import Path; from arte_export import environment; "
INSTALLING += "environment.REQUIREMENTS = Path(sys.argv[1]); environment.install(Path(sys.argv[2]))"


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pinned set of one package; `environment` installs this one instead."""
    members = {
        "arte_trial.py": "VALUE = 7\n",
        "arte_trial-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: arte-trial\nVersion: 1.0\n",
        "arte_trial-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
        for name, text in members.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
            archive.writestr(name, text)
        archive.writestr("arte_trial-1.0.dist-info/RECORD", record + "arte_trial-1.0.dist-info/RECORD,,\n")
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {tmp_path}\narte-trial==1.0\n", encoding="utf-8")
    monkeypatch.setattr(environment, "REQUIREMENTS", file)
    return file


def test_where_it_is_absent_the_install_line_is_given(tmp_path: Path) -> None:
    assert not environment.is_installed(tmp_path)
    with pytest.raises(ExportError, match="arte doctor --install optimum"):
        environment.python(tmp_path)


def test_a_killed_installation_leaves_nothing_that_counts(requirements: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    place = environment.folder(home)
    process = subprocess.Popen(
        [sys.executable, "-c", INSTALLING, str(requirements), str(home)], start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(environment.__file__).parents[1])},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (place / "bin" / "python").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)  # its own child, which makes the environment, goes on and holds the lock
    process.wait()
    assert not environment.is_installed(home)

    assert environment.install(home) == place
    said = subprocess.run([environment.python(home), "-c", "import arte_trial; print(arte_trial.VALUE)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert said.stdout == "7\n"

    before = (place / environment.MARKER).stat().st_mtime_ns
    assert environment.install(home) == place
    assert (place / environment.MARKER).stat().st_mtime_ns == before  # nothing is done twice
    (place / "bin" / "python").unlink()
    assert not environment.is_installed(home)  # its base Python has gone


def test_a_set_that_pip_cannot_have_leaves_nothing(requirements: Path, tmp_path: Path) -> None:
    requirements.write_text("--no-index\narte-trial==2.0\n", encoding="utf-8")
    with pytest.raises(DownloadFailed, match="could not be installed: pip: No matching distribution"):
        environment.install(tmp_path / "home")
    assert not environment.folder(tmp_path / "home").exists()


@pytest.mark.usefixtures("requirements")
def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DISK_BYTES", 1 << 60)
    with pytest.raises(ExportError, match=r"needed for the environment of onnx-optimum; free some space"):
        environment.install(tmp_path / "home")
    assert not environment.folder(tmp_path / "home").exists()


def test_another_set_or_python_gets_another_folder(requirements: Path, tmp_path: Path) -> None:
    first = environment.folder(tmp_path)
    requirements.write_text(requirements.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert environment.folder(tmp_path) != first
    assert first.parent == tmp_path / "tools"


def test_it_holds_the_pinned_set() -> None:
    python = environment.python(optimum.optimum_home())
    lines = environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned["optimum-onnx"] == "0.1.0"
    assert pinned["transformers"].startswith("4.57.")
    call = partial(inside.versions, list(pinned))
    found = child.run(call, holding=python, limit_s=120, path=[inside.ROOT], python=python).result
    assert {name: version.partition("+")[0] for name, version in found.items()} == pinned
    assert len(found) >= 30


def test_another_interpreter_sees_its_own_packages_only() -> None:
    """An installed copy of this package lies among the packages of this interpreter, which the other must not see."""
    call = partial(inside.import_path)
    home = inside.ROOT
    beside = str(Path(child.__file__).parents[1])
    own = child.run(call, holding=home, limit_s=60, path=[home]).result
    python = environment.python(optimum.optimum_home())
    other = child.run(call, holding=home, limit_s=60, path=[home], python=python).result
    assert beside in own
    assert beside not in other
    assert other[0] == str(home)
    assert [entry for entry in other if entry.endswith("site-packages")] == [
        str(next(python.parents[1].glob("lib/python*/site-packages")))
    ]
