import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arte_export import remote
from arte_export.errors import ExportError
from arte_export.ssh import Ssh

from tests.export import elsewhere

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="OpenSSH's server and client are not installed here"
)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder for temporary files of the machine behind `host`."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def host(tmp_path: Path, there: Path) -> Iterator[Ssh]:
    """An sshd of our own on loopback, with keys of its own; its PATH holds the stand-in."""
    assert SSHD is not None
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    elsewhere.program(tmp_path / "bin" / "llama-bench")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty folder for its unprivileged part
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\n"
        f"AuthorizedKeysFile {tmp_path}/user_key.pub\n"
        f"StrictModes no\nPasswordAuthentication no\nUsePAM no\nPidFile none\n"
        f"SetEnv PATH={tmp_path}/bin:/usr/bin:/bin TMPDIR={there}\n"
    )
    key = (tmp_path / "host_key.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}")
    (tmp_path / "ssh_config").write_text(
        f"Host pi\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {tmp_path}/user_key\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {tmp_path}/known\n StrictHostKeyChecking yes\n"
    )
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Ssh("pi", tmp_path / "ssh_config")
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + os.urandom(300_000))
    return tmp_path / "model.gguf"


def serving(program: int) -> list[int]:
    """The processes of sshd above a program that runs in a connection of ours, from it upwards; never the listener."""
    found, at = [], program
    while at > 1:
        status = Path(f"/proc/{at}/status").read_text()
        name = status.split("\n", 1)[0].removeprefix("Name:").strip()
        parent = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
        if name.startswith("sshd"):
            found.append(at)
        at = parent
        if name.startswith("python"):
            break
    return found[:-1]


def test_a_machine_over_ssh_is_measured_and_left_as_it_was(host: Ssh, there: Path, file: Path) -> None:
    found = remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS)
    assert (found.device, found.on, found.bytes) == ("raspberry-pi-5", "ssh:pi", file.stat().st_size)
    assert [timed.test for timed in found.tests] == elsewhere.TESTS
    assert found.tg_tok_s is not None
    assert (found.tg_tok_s.count, found.tg_tok_s.median) == (3, 32)
    assert found.model_parameters == 900
    assert elsewhere.left(there) == []


def test_a_dropped_connection_is_a_clear_error_and_leaves_nothing(
    host: Ssh, there: Path, file: Path, tmp_path: Path
) -> None:
    elsewhere.program(tmp_path / "bin" / "llama-bench", "sleep 30")
    failed: list[BaseException] = []

    def measure() -> None:
        try:
            remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS)
        except BaseException as error:
            failed.append(error)

    running = threading.Thread(target=measure)
    running.start()
    deadline = time.monotonic() + 30
    while not list(there.glob("arte-bench-*/pid")) and time.monotonic() < deadline:
        time.sleep(0.05)
    [pid] = there.glob("arte-bench-*/pid")
    program = int(pid.read_text())
    processes = serving(program)
    assert processes != []
    for process in processes:
        os.kill(process, signal.SIGKILL)
    running.join(timeout=60)
    assert [type(error) for error in failed] == [ExportError]
    assert "ssh:pi: no connection, or it was lost" in str(failed[0])
    deadline = time.monotonic() + 20
    while elsewhere.left(there) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert elsewhere.left(there) == []
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)
    elsewhere.program(tmp_path / "bin" / "llama-bench")
    assert remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS).tests != []


def test_a_full_disk_there(host: Ssh, there: Path, file: Path) -> None:
    """A file system of 100 kB with 300 kB to come: refused before anything is copied."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "arte", there], check=False,
                                           capture_output=True).returncode:  # fmt: skip
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(ExportError, match=r"MB free in .*needed; nothing was copied"):
            remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS)
        ran = host.push(file, f"{there}/model.gguf")  # had the disk filled up after the check
        assert ran.code != 0
        assert "No space left" in ran.err
        (there / "model.gguf").unlink()
        assert elsewhere.left(there) == []
    finally:
        subprocess.run(["umount", there], check=True)


def test_what_an_earlier_run_left_is_removed(host: Ssh, there: Path, file: Path) -> None:
    stale = there / f"arte-bench-{remote._own_name()}"
    stale.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    (stale / "pid").write_text(str(sleeper.pid))
    (stale / "model.gguf").write_bytes(bytes(1000))
    remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS)
    assert elsewhere.left(there) == []
    assert sleeper.wait(timeout=10) == -signal.SIGKILL


def test_a_host_that_is_not_there(tmp_path: Path, file: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "config").write_text(f"Host pi\n HostName 127.0.0.1\n Port {port}\n")
    with pytest.raises(ExportError, match=r"ssh:pi: no connection.*refused.*it must work with a key"):
        remote.measure(Ssh("pi", tmp_path / "config"), file, "raspberry-pi-5", elsewhere.SETTINGS)
