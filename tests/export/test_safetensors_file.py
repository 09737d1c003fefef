import json
from pathlib import Path
from typing import IO, Any

import pytest
from arte_export import safetensors_file
from arte_export.errors import BadModel
from arte_export.safetensors_file import Tensor
from hypothesis import example, given, settings
from hypothesis import strategies as st

HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [5], "data_offsets": [12, 32]},
}


def whole(header: object = HEADER, data: int = 32) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that every example of a property writes anew."""
    return tmp_path_factory.mktemp("damaged") / "model.safetensors"


def test_a_header_by_hand(tmp_path: Path) -> None:
    data = whole()
    start = len(data) - 32
    assert safetensors_file.tensors(written(tmp_path / "w.safetensors", data)) == {
        "a": Tensor("BF16", (2, 3), start, 12),
        "b": Tensor("F32", (5,), start + 12, 20),
    }


def test_what_is_written_is_what_the_library_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    plan = {"größe": ("F32", (2, 2)), "none": ("F16", (0, 3)), "b": ("U8", (3,))}
    data = {"größe": b"\x00\x00\x80\x3f" * 4, "none": b"", "b": b"\x01\x02\x03"}
    file = tmp_path / "w.safetensors"

    def data_of(name: str, stream: IO[bytes]) -> None:
        stream.write(data[name])

    safetensors_file.write(file, plan, data_of)
    read = load_file(file)
    assert {name: array.tolist() for name, array in read.items()} == {
        "größe": [[1.0, 1.0], [1.0, 1.0]],
        "none": [],
        "b": [1, 2, 3],
    }
    assert {name: (t.dtype, t.shape) for name, t in safetensors_file.tensors(file).items()} == plan


def agrees_with_the_library(file: Path) -> bool:
    """Whether both accept the file, with the same shapes. What only we refuse is no fault, what only we accept is."""
    from safetensors import SafetensorError, safe_open

    try:
        ours = safetensors_file.tensors(file)
    except BadModel:
        return False
    try:
        with safe_open(file, framework="numpy") as opened:
            theirs = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise AssertionError(f"the library refuses what we accept: {error}") from None
    assert {name: tensor.shape for name, tensor in ours.items()} == theirs
    return True


@given(st.integers(0, len(whole()) - 1))
def test_a_file_cut_anywhere_is_refused(scratch: Path, length: int) -> None:
    assert not agrees_with_the_library(written(scratch, whole()[:length]))


@settings(max_examples=300)
@given(st.data())
def test_a_file_with_changed_bytes_is_accepted_only_where_the_library_does(scratch: Path, data: st.DataObject) -> None:
    content = bytearray(whole())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    agrees_with_the_library(written(scratch, bytes(content)))


@settings(max_examples=100)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))  # fmt: skip  # noqa: E501
def test_headers_of_any_json_are_accepted_only_where_the_library_does(scratch: Path, header: object) -> None:
    agrees_with_the_library(written(scratch, whole(header)))


SIDES = st.integers(-1, 4) | st.sampled_from([True, 2.0, 2**31, 2**62, 2**64, None, "2"])


@settings(max_examples=500)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "__metadata__", "\ud800"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "F8_E4M3", "F4", "BOOL", "BF61", ""]),
                "shape": st.lists(SIDES, max_size=3),
                "data_offsets": st.lists(st.integers(-1, 40), min_size=1, max_size=3),
            }
        ),
        max_size=3,
    ),
    st.integers(0, 40),
)
@example({"a": {"dtype": "F32", "shape": [0, 2**64], "data_offsets": [0, 0]}}, 0)  # no data, but the side is no usize
def test_headers_of_the_right_form_are_accepted_only_where_the_library_does(
    scratch: Path, header: dict[str, Any], data: int
) -> None:
    agrees_with_the_library(written(scratch, whole(header, data)))


def test_what_is_whole_is_accepted(scratch: Path) -> None:
    assert agrees_with_the_library(written(scratch, whole()))
    reversed_header = dict(reversed(HEADER.items()))
    assert agrees_with_the_library(written(scratch, whole(reversed_header)))
    assert agrees_with_the_library(
        written(scratch, whole({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, 2))
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a":' * 100_000, "not JSON"),
        (b"[" * 1_000_000, "not JSON"),
        (b'{"a":' + b"9" * 1_000_000 + b"}", "not JSON"),
        (b'{"a":{"dtype":"F4","shape":[' + b"9" * 4000 + b",9" * 400_000 + b'],"data_offsets":[0,0]}}', "has shape"),
    ],
    ids=["deep objects", "deep lists", "a long number", "a shape of many sides"],
)
def test_a_header_that_could_spin_ends_at_once(tmp_path: Path, text: bytes, words: str) -> None:
    data = len(text).to_bytes(8, "little") + text
    with pytest.raises(BadModel, match=words) as failure:
        safetensors_file.tensors(written(tmp_path / "w.safetensors", data))
    assert len(str(failure.value)) < 600
