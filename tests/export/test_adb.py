import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arte_export import remote, remote_machine
from arte_export.adb import Adb
from arte_export.connection import Ran
from arte_export.errors import ChildDied, ExportError
from arte_export.measurement import Measurement

from tests.export import elsewhere


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of a device whose adb is the stand-in, with a llama-bench on the device's PATH."""
    adb = tmp_path / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{Path(__file__).with_name("fake_adb.py")}" "$@"\n')
    adb.chmod(0o755)
    root = tmp_path / "phone"
    (root / "data" / "local" / "tmp").mkdir(parents=True)
    monkeypatch.setenv("FAKE_ADB_ROOT", str(root))
    monkeypatch.setenv("PATH", f"{adb.parent}{os.pathsep}{tmp_path / 'there'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(remote, "COOL_STEP_S", 0.01)
    monkeypatch.setattr(remote, "COOL_S", 0.2)
    elsewhere.program(tmp_path / "there" / "llama-bench")
    return root


@pytest.fixture
def data(root: Path) -> Path:
    return root / "data" / "local" / "tmp"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A name that a shell must not see bare."""
    (tmp_path / "model; of mine.gguf").write_bytes(b"GGUF" + bytes(5000))
    return tmp_path / "model; of mine.gguf"


def measured(file: Path, settings: remote.Settings = elsewhere.ONE_TEST) -> Measurement:
    return remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", settings)


def test_a_phone_is_measured_and_left_as_it_was(data: Path, file: Path, tmp_path: Path) -> None:
    elsewhere.program(tmp_path / "there" / "llama-bench", "sleep 0.3")
    found = measured(file, elsewhere.SETTINGS)
    assert (found.device, found.on, found.how, found.engine) == ("pixel-8", "adb:PHONE1", "measured", "llama-bench")
    assert (found.file, found.bytes, found.threads, found.engine_version) == (file.name, 5004, 1, "abc1234 (77)")
    assert [each.test for each in found.tests] == elsewhere.TESTS
    # 64 tokens in 0.25, 0.5, 1 s; 16 tokens likewise
    assert found.pp_tok_s is not None
    assert (found.pp_tok_s.min, found.pp_tok_s.median, found.pp_tok_s.max) == (64, 128, 256)
    assert found.tg_tok_s is not None
    assert (found.tg_tok_s.count, found.tg_tok_s.median) == (3, 32)
    assert found.ttft_s is not None
    assert found.ttft_s.median == 0.5
    assert found.load_s is not None
    assert found.load_s.count == 3
    assert 0.25 <= found.load_s.min < 5  # it sleeps for 0.3 s, less the token's 0.05 s
    if sys.platform == "linux":
        assert found.peak_rss_bytes is not None
        assert 100_000 < found.peak_rss_bytes < 100_000_000  # a shell's
        assert found.mapped_bytes is not None
        assert 0 < found.mapped_bytes <= found.peak_rss_bytes
    disagreeing = ["runs of pp64 lie", "runs of tg16 lie", "runs of tg16 @ d32"]  # as the samples do
    assert [said[: len(start)] for said, start in zip(found.unsteady, disagreeing, strict=True)] == disagreeing
    assert elsewhere.left(data) == []


@pytest.mark.parametrize(
    ("heats", "unsteady", "looked"),
    [
        ("431", ["the battery had up to 43.1 °C"], None),  # it stays hot
        ("431\n402\n399", [], 5),  # twice too hot at the first look, then one look before each test, and one after
        ("300\n300\n405", ["the battery had up to 40.5 °C"], 3),  # hot at the end
    ],
)
def test_a_hot_phone_is_waited_for_and_else_marked(
    heats: str, unsteady: list[str], looked: int | None, root: Path, file: Path
) -> None:
    (root / "heat").write_text(heats)
    assert [said for said in measured(file).unsteady if "battery" in said] == unsteady
    if looked is not None:
        assert (root / "log").read_text().count("dumpsys battery") == looked


@pytest.mark.parametrize(
    ("serial", "state", "message"),
    [
        ("PHONE1", "offline", "adb:PHONE1: error: device offline; plug it in again"),
        ("PHONE1", "unauthorized", "unlock the phone and allow USB debugging"),
        ("PHONE2", "device", "adb: device 'PHONE2' not found; see `adb devices`"),
        ("PHONE1", "full", r"runner\.sh could not be copied: .*No space left on device.* give the same command again"),
    ],
)
def test_what_adb_says_is_passed_on_with_advice(
    serial: str, state: str, message: str, root: Path, data: Path, file: Path
) -> None:
    (root / "state").write_text(state)
    with pytest.raises(ExportError, match=message):
        remote.measure(remote.connect(f"adb:{serial}"), file, "pixel-8", elsewhere.ONE_TEST)
    assert elsewhere.left(data) == []
    (root / "state").unlink()
    assert len(measured(file).tests) == 1


@pytest.mark.parametrize(
    ("before", "kind", "message"),
    [
        ("kill -9 $$", ChildDied, "killed by SIGKILL there; most often .* memory runs out"),
        ("kill -4 $$", ChildDied, "killed by SIGILL there; the program is built for another processor"),
        ("echo nonsense; exit 0", ExportError, "what llama-bench printed is not JSON"),
        ("echo cannot load >&2; exit 1", ExportError, "llama-bench ended with 1: cannot load"),
        ("echo libgomp.so.1 is missing >&2; exit 127", ExportError, "with 127; it cannot run there: .*: libgomp"),
        ("p=99", ExportError, "llama-bench measured pp99, asked for was pp64"),
    ],
)
def test_a_program_that_fails_there_is_one_clear_error(
    before: str, kind: type[Exception], message: str, data: Path, file: Path, tmp_path: Path
) -> None:
    elsewhere.program(tmp_path / "there" / "llama-bench", before)
    with pytest.raises(kind, match=message):
        measured(file)
    assert elsewhere.left(data) == []
    elsewhere.program(tmp_path / "there" / "llama-bench")
    assert len(measured(file).tests) == 1


def test_a_phone_that_is_unplugged_while_it_measures(root: Path, data: Path, file: Path, tmp_path: Path) -> None:
    elsewhere.program(tmp_path / "there" / "llama-bench", f"echo $$ >{tmp_path}/pid; exec sleep 60")
    (root / "unplug").write_text("exec sh runner.sh")
    with pytest.raises(ExportError, match=r"ended with 1 and without an answer .*connection may have been lost"):
        measured(file)
    assert elsewhere.left(data, within_s=10) == []  # the device is out of reach: its own runner did that
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


class Interrupted(Adb):
    """Ctrl-C is pressed when the program has been started for the first time."""

    def run(self, script: str, limit_s: float = 60.0) -> Ran:
        ran = super().run(script, limit_s)
        if "runner.sh" in script and "exec" in script:
            raise KeyboardInterrupt
        return ran


def test_an_interrupt_leaves_nothing(data: Path, file: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        remote.measure(Interrupted("PHONE1"), file, "pixel-8", elsewhere.ONE_TEST)
    assert elsewhere.left(data) == []


def test_what_dead_processes_of_ours_left_is_removed_and_what_others_left_is_not(data: Path, file: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = data / f"{remote_machine.own_prefix()}{ended.pid}"
    stale.mkdir()
    sleepers = [subprocess.Popen(["sleep", "60"], cwd=folder) for folder in (stale, data)]
    (stale / "pid").write_text(f"{sleepers[0].pid}\n")
    (stale / "model.gguf").write_bytes(bytes(1000))
    living, foreign = data / f"{remote_machine.own_prefix()}{os.getppid()}", data / "arte-bench-0123456789ab-1"
    for folder in (living, foreign):
        folder.mkdir()
    measured(file)
    assert elsewhere.left(data) == sorted([living.name, foreign.name])
    assert sleepers[0].wait(timeout=10) == -signal.SIGKILL
    reused = data / f"{remote_machine.own_prefix()}{ended.pid}"  # its number is now that of a process elsewhere
    reused.mkdir()
    (reused / "pid").write_text(f"{sleepers[1].pid}\n")
    remote_machine.look(remote.connect("adb:PHONE1"))
    assert not reused.exists()
    time.sleep(0.1)
    assert sleepers[1].poll() is None
    sleepers[1].kill()
    sleepers[1].wait()


def test_a_program_is_carried_only_to_a_machine_it_is_built_for(data: Path, file: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    other = 183 if os.uname().machine == "x86_64" else 62  # e_machine of AArch64, of x86-64
    foreign.write_bytes(b"\x7fELF\x02\x01" + bytes(12) + other.to_bytes(2, "little") + bytes(40))
    with pytest.raises(ExportError, match=r"foreign: is built for Linux on \w+, and adb:PHONE1 is \w+ on \w+"):
        measured(file, elsewhere.ONE_TEST.model_copy(update={"llama_bench": foreign}))
    assert elsewhere.left(data) == []
    # one that is built here is left at home where the phone has its own
    assert len(measured(file, elsewhere.ONE_TEST.model_copy(update={"built_here": foreign})).tests) == 1
    (tmp_path / "there" / "llama-bench").unlink()
    if any((Path(folder) / "llama-bench").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("this machine has a llama-bench on its PATH, so none would be carried")
    with pytest.raises(ExportError, match="no llama-bench on its PATH, and none to carry"):
        measured(file)


@pytest.mark.skipif(sys.platform != "linux", reason="the program that is carried is one of Linux")
def test_a_carried_program_is_the_one_that_runs(data: Path, file: Path) -> None:
    """`/bin/sh`, carried as llama-bench, does not know -m: what it says shows that it ran, and that it was removed."""
    settings = elsewhere.ONE_TEST.model_copy(update={"llama_bench": Path("/bin/sh").resolve()})
    with pytest.raises(ExportError, match=r"(?s)llama-bench ended with \d+\b.*model\.gguf: "):
        measured(file, settings)
    assert elsewhere.left(data) == []


def test_elf_headers_by_hand(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"\x7fELF\x01\x02" + bytes(12) + b"\x00\x28")
    assert remote_machine.elf_machine(tmp_path / "big") == "arm"
    (tmp_path / "text").write_text("#!/bin/sh")
    assert remote_machine.elf_machine(tmp_path / "text") is None


def machine(**differing: int) -> remote_machine.Machine:
    about = {"system": "Linux", "machine": "aarch64", "cores": 4, "base": "/tmp", "free_bytes": 10**9}
    return remote_machine.Machine(**about | {"available_bytes": 10**9, "llama_bench": "x"} | differing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (machine(free_bytes=67_113_867), r"67 MB free in /tmp, 67 MB needed; nothing was copied"),
        (machine(available_bytes=5003), r"0 MB of memory free, .* nothing was copied or loaded"),
    ],
)
def test_no_room_there_by_one_byte(found: remote_machine.Machine, message: str, file: Path) -> None:
    """5,004 bytes of the file and 64 MiB to be left free are 67,113,868 bytes."""
    with pytest.raises(ExportError, match=message):
        remote_machine.check(remote.connect("adb:PHONE1"), found, file, None)
    enough = found._replace(free_bytes=max(found.free_bytes, 67_113_868))
    enough = enough._replace(available_bytes=max(found.available_bytes or 0, 5004))
    remote_machine.check(remote.connect("adb:PHONE1"), enough, file, None)


def test_prompt_and_answer_together_are_one_test() -> None:
    both = elsewhere.TESTS[0].model_copy(update={"generated_tokens": 4})
    assert remote._arguments(both) == ["-p", "0", "-n", "0", "-pg", "64,4", "-d", "0"]


@pytest.mark.parametrize("on", ["ssh:", "adb:", "pi", "ssh:-oProxyCommand=x", "ssh:a b", "adb:a;b"])
def test_names_that_are_no_machine(on: str) -> None:
    with pytest.raises(ExportError, match=r"names no machine|is no host for ssh|is no serial"):
        remote.connect(on)
