import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arte_export import llama_bench_build, remote, remote_machine
from arte_export.connection import Ran
from arte_export.errors import ExportError
from arte_export.ssh import Ssh

from tests.export import elsewhere

HOME = Path(os.environ.get("ARTE_HOME") or Path.home() / ".cache" / "arte")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="OpenSSH's server and client are not installed here"
)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder for temporary files of the machine behind `host`; a shell must not see its name bare."""
    folder = tmp_path / "there; it is"
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
        f'SetEnv PATH={tmp_path}/bin:/usr/bin:/bin "TMPDIR={there}"\n'
    )
    key = (tmp_path / "host_key.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}")
    (tmp_path / "ssh_config").write_text(
        f"Host pi\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {tmp_path}/user_key\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {tmp_path}/known\n StrictHostKeyChecking yes\n"
    )
    server = subprocess.Popen([SSHD, "-D", "-f", str(tmp_path / "sshd_config")], stderr=subprocess.DEVNULL)
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


@pytest.fixture
def sleeping(host: Ssh, tmp_path: Path, there: Path) -> Callable[[], int]:  # noqa: ARG001 (host writes it first)
    """Makes the stand-in one that sleeps; gives the number of its process once it does."""
    elsewhere.program(tmp_path / "bin" / "llama-bench", f"echo $$ >{tmp_path}/pid.new\nmv {tmp_path}/pid.new "
                                                        f"{tmp_path}/pid\nexec sleep 60")  # fmt: skip

    def started() -> int:
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert elsewhere.left(there) == [f"{remote_machine.own_prefix()}{number(there)}"]
        return int((tmp_path / "pid").read_text())

    return started


def number(there: Path) -> str:
    [folder] = there.iterdir()
    return folder.name.rpartition("-")[2]


def gone(process: int) -> bool:
    """Whether it has ended, at the latest after ten seconds."""
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def serving(program: int) -> list[int]:
    """The processes of sshd above a program that runs in a connection of ours, from it upwards; never the listener."""
    found, at = [], program
    while at > 1:
        lines = Path(f"/proc/{at}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if status["Name"].startswith("sshd"):
            found.append(at)
        at = int(status["PPid"])
        if status["Name"].startswith(("python", "pytest")):
            break
    return found[:-1]


def measured(host: Ssh, file: Path) -> int:
    """How many tests were measured."""
    return len(remote.measure(host, file, "raspberry-pi-5", elsewhere.ONE_TEST).tests)


def test_a_machine_over_ssh_is_measured_and_left_as_it_was(host: Ssh, there: Path, file: Path) -> None:
    found = remote.measure(host, file, "raspberry-pi-5", elsewhere.SETTINGS)
    assert (found.device, found.on, found.bytes) == ("raspberry-pi-5", "ssh:pi", file.stat().st_size)
    assert [timed.test for timed in found.tests] == elsewhere.TESTS
    assert found.tg_tok_s is not None
    assert (found.tg_tok_s.count, found.tg_tok_s.median) == (3, 32)
    assert found.model_parameters == 900
    assert elsewhere.left(there) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of sshd are found in /proc")
def test_a_dropped_connection_is_a_clear_error_and_leaves_nothing(
    host: Ssh, there: Path, file: Path, tmp_path: Path, sleeping: Callable[[], int]
) -> None:
    failed: list[BaseException] = []

    def measure() -> None:
        try:
            measured(host, file)
        except BaseException as error:
            failed.append(error)

    running = threading.Thread(target=measure)
    running.start()
    program = sleeping()
    processes = serving(program)
    assert processes != []
    for process in processes:
        os.kill(process, signal.SIGKILL)
    running.join(timeout=60)
    assert [type(error) for error in failed] == [ExportError]
    assert "ssh:pi: no connection, or it was lost" in str(failed[0])
    assert gone(program)
    assert elsewhere.left(there, within_s=10) == []
    elsewhere.program(tmp_path / "bin" / "llama-bench")
    assert measured(host, file) == 1


def test_a_measurement_that_is_killed_here_leaves_nothing_there(
    there: Path, file: Path, tmp_path: Path, sleeping: Callable[[], int]
) -> None:
    """The process that measures is killed without a chance to clean up; the runner there sees its connection end."""
    source = (
        "import sys; from pathlib import Path; from arte_export import remote; from arte_export.ssh import Ssh\n"
        "from tests.export import elsewhere\n"
        "remote.measure(Ssh('pi', Path(sys.argv[1])), Path(sys.argv[2]), 'raspberry-pi-5', elsewhere.ONE_TEST)"
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path / "ssh_config"), str(file)],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'export'}"},
    )
    program = sleeping()
    assert number(there) == str(child.pid)
    child.kill()
    child.wait()
    assert gone(program)
    assert elsewhere.left(there, within_s=10) == []


@pytest.mark.usefixtures("sleeping")
def test_a_test_that_takes_too_long_is_ended_there(host: Ssh, there: Path, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ssh:pi: not done after 2 seconds, so it was stopped"):
        remote.measure(host, file, "raspberry-pi-5", elsewhere.ONE_TEST.model_copy(update={"limit_s": 2.0}))
    assert gone(int((tmp_path / "pid").read_text()))
    assert elsewhere.left(there, within_s=10) == []


def test_a_full_disk_there(host: Ssh, there: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of 100 kB with 300 kB to come: refused before anything is copied; full while it is copied."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "arte", there], check=False,
                                           capture_output=True).returncode:  # fmt: skip
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(ExportError, match=r"MB free in .*needed; nothing was copied"):
            measured(host, file)
        monkeypatch.setattr(remote_machine, "KEPT_FREE_BYTES", -(10**6))  # as if it filled up after the check
        with pytest.raises(ExportError, match=r"model\.gguf could not be copied: .*No space left.*same command again"):
            measured(host, file)
        assert elsewhere.left(there) == []
        file.write_bytes(b"GGUF" + bytes(1000))
        assert measured(host, file) == 1
        assert elsewhere.left(there) == []
    finally:
        subprocess.run(["umount", there], check=True)


class Noisy(Ssh):
    """A connection that changes the model on its way, by a command that filters it."""

    change = ""

    def push(self, file: Path, to: str) -> Ran:
        ran = super().push(file, to)
        if to.endswith("model.gguf"):
            self.run(f"{self.change} <'{to}' >'{to}.new'; mv '{to}.new' '{to}'")
        return ran


def test_a_file_that_changes_on_the_way_is_not_measured(host: Ssh, there: Path, file: Path) -> None:
    """Bytes are lost, then turned; the size shows the one, the digest the other."""
    for change, message in (("tail -c +2", "300003 bytes arrived of 300004"), ("tr G H", "300004 bytes arrived.*SHA")):
        noisy = Noisy("pi", Path(host._command[2]))
        noisy.change = change
        with pytest.raises(ExportError, match=message):
            measured(noisy, file)
        assert elsewhere.left(there) == []


@pytest.mark.slow
def test_llama_bench_itself_is_carried_over_ssh(
    host: Ssh, there: Path, tmp_path: Path, tiny_files: dict[str, Path]
) -> None:
    program = llama_bench_build.found(HOME)
    if program is None:
        pytest.skip(f"llama-bench is not built here: {llama_bench_build.INSTALL_LINE}")
    (tmp_path / "bin" / "llama-bench").unlink()
    settings = remote.Settings(tests=elsewhere.TESTS, repeats=3, threads=1, built_here=program)
    found = remote.measure(host, tiny_files["q8_0"], "raspberry-pi-5", settings)
    assert [timed.test for timed in found.tests] == elsewhere.TESTS
    assert all(len(timed.seconds) == 3 and min(timed.seconds) > 0 for timed in found.tests)
    assert found.model_type is not None
    assert found.model_type.startswith("llama")
    assert found.load_s is not None
    assert 0 < found.load_s.median < 10
    assert found.peak_rss_bytes is not None
    assert found.peak_rss_bytes > found.bytes
    assert found.mapped_bytes is not None
    assert 0 < found.mapped_bytes <= found.peak_rss_bytes
    assert elsewhere.left(there) == []


def test_a_host_that_is_not_there(tmp_path: Path, file: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "config").write_text(f"Host pi\n HostName 127.0.0.1\n Port {port}\n")
    with pytest.raises(ExportError, match=r"ssh:pi: no connection.*refused.*it must work with a key"):
        measured(Ssh("pi", tmp_path / "config"), file)
