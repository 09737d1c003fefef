import io
import os
import shutil
import tarfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from arte_export import llama_bench_build
from arte_export.errors import DownloadFailed, ExportError, MissingExtra

LIBRARY = "0.3.36"
SOURCE = "llama_cpp_python-0.3.36/vendor/llama.cpp"


@pytest.fixture(autouse=True)
def _version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever version is installed, or none."""
    monkeypatch.setattr(llama_bench_build, "version", lambda _name: LIBRARY)


def archive(folder: Path, *further: tarfile.TarInfo) -> Path:
    """A source distribution of two files, and further members."""
    place = folder / f"llama_cpp_python-{LIBRARY}.tar.gz"
    with tarfile.open(place, "w:gz") as opened:
        for name in ("CMakeLists.txt", "LICENSE"):
            member = tarfile.TarInfo(f"{SOURCE}/{name}")
            member.size = 4
            opened.addfile(member, io.BytesIO(b"text"))
        for member in further:
            opened.addfile(member, io.BytesIO(bytes(member.size)))
    return place


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """A PATH with nothing but a shell's own tools and these."""
    folder.mkdir(exist_ok=True)
    for name in ("sh", "mkdir", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, script in scripts.items():
        (folder / name.replace("cxx", "c++")).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name.replace("cxx", "c++")).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def nothing_left(home: Path) -> None:
    assert sorted(path.name for path in (home / "tools").iterdir()) == [f".llama-bench-{LIBRARY}.lock"]


def test_only_plain_files_are_unpacked(tmp_path: Path) -> None:
    source = llama_bench_build.unpack(archive(tmp_path), tmp_path / "out")
    assert source == tmp_path / "out" / SOURCE
    assert sorted(path.name for path in source.iterdir()) == ["CMakeLists.txt", "LICENSE"]


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd2"),
        member("a/../../out2"),
        member(f"{SOURCE}/link", tarfile.SYMTYPE, "LICENSE"),
        member(f"{SOURCE}/hard", tarfile.LNKTYPE, f"{SOURCE}/LICENSE"),
        member(f"{SOURCE}/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: bad.name,
)
def test_an_archive_with_anything_else_is_refused_whole(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="is a link or lands outside"):
        llama_bench_build.unpack(archive(tmp_path, bad), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archives_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = archive(tmp_path)
    (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(DownloadFailed, match=r"cut\.tar\.gz: cannot be unpacked"):
        llama_bench_build.unpack(tmp_path / "cut.tar.gz", tmp_path / "out")
    monkeypatch.setattr(llama_bench_build, "LARGEST_UNPACKED_BYTES", 7)  # 8 are in it
    with pytest.raises(DownloadFailed, match=r"0\.0 GB unpacked"):
        llama_bench_build.unpack(whole, tmp_path / "out")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as opened:
        opened.addfile(member("readme"))
    with pytest.raises(DownloadFailed, match=r"0 copies of llama\.cpp in it"):
        llama_bench_build.unpack(tmp_path / "other.tar.gz", tmp_path / "out")


def test_what_is_missing_on_the_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    programs(tmp_path / "bin", monkeypatch)
    with pytest.raises(
        ExportError, match=r"cmake and c\+\+ must be on the PATH: .*apt install g\+\+.*pip install cmake"
    ):
        llama_bench_build.build(home)
    programs(tmp_path / "bin2", monkeypatch, cmake="exit 0", cxx="exit 0")
    monkeypatch.setattr(llama_bench_build, "DISK_BYTES", 10**18)
    with pytest.raises(ExportError, match=r"GB free, 1000000000\.0 GB needed to build llama-bench; free some space"):
        llama_bench_build.build(home)
    monkeypatch.undo()
    nothing_left(home)


def test_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "bin", monkeypatch, cmake="exit 0", cxx="exit 0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(DownloadFailed, match=f"llama-cpp-python {LIBRARY} could not be downloaded: pip: "):
        llama_bench_build.build(tmp_path / "home")
    nothing_left(tmp_path / "home")


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive of two files in place of pip's download of 77 MB, which would have to be built to be looked at."""

    def download(work: Path, number: str, _lock: int) -> Path:
        assert number == LIBRARY
        return archive(work)

    monkeypatch.setattr(llama_bench_build, "_download", download)


@pytest.mark.usefixtures("downloaded")
def test_cmake_is_called_with_the_arguments_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cmake is a stand-in that keeps its arguments and makes a program."""
    home = tmp_path / "home"
    script = f'for each; do echo "$each" >>{tmp_path}/log; done\n[ "$1" = --build ] || exit 0\n'
    script += 'mkdir "$2" "$2/bin" && echo program >"$2/bin/llama-bench"'
    programs(tmp_path / "bin", monkeypatch, cmake=script, cxx="exit 0")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_NATIVE=OFF -DCMAKE_C_FLAGS='-one -two'")
    said: list[str] = []
    assert llama_bench_build.found(home) is None
    program = llama_bench_build.build(home, said.append)
    assert program == llama_bench_build.found(home) == home / "tools" / f"llama-bench-{LIBRARY}" / "llama-bench"
    assert sorted(path.name for path in program.parent.iterdir()) == ["LICENSE", "llama-bench"]
    assert len(said) == 2
    arguments = (tmp_path / "log").read_text().splitlines()
    assert {"-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=OFF", "-DCMAKE_C_FLAGS=-one -two", "--target"} <= set(arguments)
    assert not any("amx" in argument for argument in arguments)
    assert llama_bench_build.build(home) == program  # it is there: nothing is done
    assert len((tmp_path / "log").read_text().splitlines()) == len(arguments)


@pytest.mark.usefixtures("downloaded")
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    script = '[ "$1" = --build ] || exit 0\necho "llama.cpp:1: no such header" >&2; exit 2'
    programs(tmp_path / "bin", monkeypatch, cmake=script, cxx="exit 0")
    with pytest.raises(ExportError, match=r"cmake ended with 2 while building llama-bench; .*\n  \| .*no such header"):
        llama_bench_build.build(home)
    nothing_left(home)


def test_without_the_library_the_install_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(llama_bench_build, "version", version)
    with pytest.raises(MissingExtra, match=r"llama-bench needs llama-cpp-python.*arte\[gguf\]"):
        llama_bench_build.found(tmp_path)
