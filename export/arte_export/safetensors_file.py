"""safetensors files: the header checked against the file's length without reading a weight, and written as a stream.

The format (huggingface/safetensors, README "Format"): 8 bytes of little-endian header size, a JSON header
{name: {dtype, shape, data_offsets}}, then the data, without holes or overlaps, to the end of the file.
"""

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

from arte_export.errors import BadModel

LARGEST_HEADER_BYTES = 100_000_000  # the library's own limit
LARGEST_COUNT = 2**63
DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
GIT_LFS = b"version https://git-lfs"


class Tensor(NamedTuple):
    """One tensor; `start` is the position of its first byte in the file, `size` its bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def tensors(file: Path) -> dict[str, Tensor]:
    """What the header says of every tensor, in the order of the data. Empty for a file without tensors.

    Raises BadModel where the header is broken, or the data has not the size that the header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(len(GIT_LFS))
        if first == GIT_LFS:
            raise BadModel(f"{file}: is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
        header_bytes = int.from_bytes(first[:8], "little")
        if size < 8 or header_bytes > min(LARGEST_HEADER_BYTES, size - 8):
            raise _broken(file, f"{size} bytes cannot hold a header of {header_bytes} bytes")
        stream.seek(8)
        header = _header(file, stream.read(header_bytes))
    found = {
        name: _tensor(file, name, entry, 8 + header_bytes) for name, entry in header.items() if name != "__metadata__"
    }
    position = 0
    in_order = sorted(found.items(), key=lambda item: (item[1].start, item[1].size))
    for _, tensor in in_order:
        if tensor.start != 8 + header_bytes + position:
            raise _broken(file, f"tensors overlap or leave a hole at byte {position}")
        position += tensor.size
    if position != size - 8 - header_bytes:
        raise _broken(file, f"{size - 8 - header_bytes} bytes of data, the header says {position}")
    return dict(in_order)


def write(file: Path, plan: Mapping[str, tuple[str, tuple[int, ...]]], data: Callable[[str, IO[bytes]], None]) -> None:
    """Writes tensors in the plan's order (name: dtype, shape); `data` puts the bytes of each into the stream."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape) in plan.items():
        end = position + prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in plan:
            data(name, stream)
            written = stream.tell() - 8 - len(text)
            assert written == header[name]["data_offsets"][1], f"{name}: {written} bytes of data written"


def _broken(file: Path, found: str) -> BadModel:
    return BadModel(f"{file}: broken safetensors file: {found}; download or save it again")


def _header(file: Path, data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        json.dumps(header, ensure_ascii=False).encode()  # half of a surrogate pair can be read, but not written
    except (ValueError, RecursionError):  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        raise _broken(file, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _broken(file, "its header is not a JSON object")
    if data[:1] != b"{":
        raise _broken(file, "its header does not begin with {")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(file, "its __metadata__ is not an object of texts")
    return header


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _tensor(file: Path, name: str, entry: object, data_start: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]}:
            pass
        case _:
            raise _broken(file, f"tensor {name!r} lacks dtype, shape or data_offsets")
    # type, not isinstance: true is an int to Python
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)) or start > end:
        raise _broken(file, f"tensor {name!r} has shape {shape} at {start} to {end}"[:300])
    if dtype not in DTYPE_BITS:
        raise _broken(file, f"tensor {name!r} has the unknown dtype {dtype!r}"[:300])
    count = 1
    for side in shape:
        count *= side
        if max(count, side) >= LARGEST_COUNT:  # behind a 0 the product says nothing of a side
            raise _broken(file, f"tensor {name!r} has shape {shape}"[:300])
    if count * DTYPE_BITS[dtype] != 8 * (end - start):
        raise _broken(file, f"tensor {name!r}, {dtype} {shape}, has {end - start} bytes"[:300])
    return Tensor(dtype, tuple(shape), data_start + start, end - start)
