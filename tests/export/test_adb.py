import os
import sys
from pathlib import Path

import pytest
from arte_export import remote
from arte_export.errors import ChildDied, ExportError

from tests.export import elsewhere


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/data/local/tmp of a device whose adb is the stand-in, with a llama-bench on the device's PATH."""
    adb = tmp_path / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_adb.py")}" "$@"\n')
    adb.chmod(0o755)
    root = tmp_path / "phone"
    data = root / "data" / "local" / "tmp"
    data.mkdir(parents=True)
    monkeypatch.setenv("FAKE_ADB_ROOT", str(root))
    monkeypatch.setenv("PATH", f"{adb.parent}{os.pathsep}{tmp_path / 'there'}{os.pathsep}{os.environ['PATH']}")
    elsewhere.program(tmp_path / "there" / "llama-bench")
    return data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(5000))
    return tmp_path / "model.gguf"


def test_a_phone_is_measured_and_left_as_it_was(phone: Path, file: Path) -> None:
    found = remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", elsewhere.SETTINGS)
    assert (found.device, found.on, found.how, found.engine) == ("pixel-8", "adb:PHONE1", "measured", "llama-bench")
    # 64 tokens in 0.25, 0.5, 1 s; 16 tokens likewise
    assert found.pp_tok_s is not None
    assert (found.pp_tok_s.min, found.pp_tok_s.median, found.pp_tok_s.max) == (64, 128, 256)
    assert found.tg_tok_s is not None
    assert found.tg_tok_s.median == 32
    assert found.ttft_s is not None
    assert found.ttft_s.median == 0.5
    assert found.load_s is not None
    assert found.load_s.median >= 0  # 0.3 s and more, less the token's 0.25 s
    if sys.platform == "linux":
        assert found.peak_rss_bytes is not None
        assert found.peak_rss_bytes > 100_000  # a shell's
    assert (found.unsteady, elsewhere.left(phone)) == ([], [])


@pytest.mark.usefixtures("phone")
def test_a_hot_phone_is_marked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_ADB_HEAT", "431")
    found = remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", elsewhere.SETTINGS)
    assert found.unsteady == ["the battery had 43 °C"] * 2


@pytest.mark.parametrize(
    ("serial", "state", "message"),
    [
        ("PHONE1", "offline", "adb:PHONE1: error: device offline; plug it in again"),
        ("PHONE1", "unauthorized", "unlock the phone and allow USB debugging"),
        ("PHONE2", "device", "adb: device 'PHONE2' not found; see `adb devices`"),
        ("PHONE1", "full", r"model\.gguf could not be copied: .*No space left on device.* give the same command again"),
    ],
)
def test_what_adb_says_is_passed_on_with_advice(
    serial: str, state: str, message: str, phone: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ADB_STATE", state)
    with pytest.raises(ExportError, match=message):
        remote.measure(remote.connect(f"adb:{serial}"), file, "pixel-8", elsewhere.SETTINGS)
    assert elsewhere.left(phone) == []


@pytest.mark.parametrize(
    ("before", "kind", "message"),
    [
        ("kill -9 $$", ChildDied, "killed by SIGKILL there; most often .* memory runs out"),
        ("kill -4 $$", ChildDied, "killed by SIGILL there; the program is built for another processor"),
        ("echo nonsense; exit 0", ExportError, "what llama-bench printed is not JSON"),
        ("echo cannot load >&2; exit 1", ExportError, "llama-bench ended with 1: cannot load"),
    ],
)
def test_a_program_that_fails_there_is_one_clear_error(
    before: str, kind: type[Exception], message: str, phone: Path, file: Path, tmp_path: Path
) -> None:
    elsewhere.program(tmp_path / "there" / "llama-bench", before)
    with pytest.raises(kind, match=message):
        remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", elsewhere.SETTINGS)
    assert elsewhere.left(phone) == []
    elsewhere.program(tmp_path / "there" / "llama-bench")
    assert remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", elsewhere.SETTINGS).tests != []


def test_a_program_is_carried_only_to_a_machine_it_is_built_for(phone: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "there" / "llama-bench").unlink()
    if any((Path(folder) / "llama-bench").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("this machine has a llama-bench on its PATH, so none would be carried")
    with pytest.raises(ExportError, match="no llama-bench on its PATH, and none to carry"):
        remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", elsewhere.SETTINGS)
    foreign = tmp_path / "foreign"
    other = 183 if os.uname().machine == "x86_64" else 62  # e_machine of AArch64, of x86-64
    foreign.write_bytes(b"\x7fELF\x02\x01" + bytes(12) + other.to_bytes(2, "little") + bytes(40))
    settings = elsewhere.SETTINGS.model_copy(update={"llama_bench": foreign})
    with pytest.raises(ExportError, match=r"foreign: is built for \w+, and adb:PHONE1 is \w+"):
        remote.measure(remote.connect("adb:PHONE1"), file, "pixel-8", settings)
    assert elsewhere.left(phone) == []


def test_elf_headers_by_hand(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"\x7fELF\x01\x02" + bytes(12) + b"\x00\x28")
    assert remote.elf_machine(tmp_path / "big") == "arm"
    (tmp_path / "text").write_text("#!/bin/sh")
    assert remote.elf_machine(tmp_path / "text") is None


@pytest.mark.parametrize("on", ["ssh:", "adb:", "pi", "ssh:-oProxyCommand=x", "ssh:a b", "adb:a;b"])
def test_names_that_are_no_machine(on: str) -> None:
    with pytest.raises(ExportError, match=r"names no machine|is no host for ssh|is no serial"):
        remote.connect(on)
