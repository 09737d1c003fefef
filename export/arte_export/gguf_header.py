"""The header of a GGUF file: its keys, and where each tensor lies in it.

Format: ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian. Magic, version, tensor count, key count; then key,
type and value of each; then name, dimensions, type and offset of each tensor; then, aligned, the data. Every count and
length is held against the bytes that are left, so a damaged file is refused at once and never makes the reader spin.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from arte_export.errors import BadModel

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
DEFAULT_ALIGNMENT = 32
LEAST_KEY_BYTES = 8 + 4 + 1
LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8


class Tensor(NamedTuple):
    """`shape` in GGUF's order, fastest dimension first; `kind` is a ggml_type; `start` is a byte of the file."""

    shape: tuple[int, ...]
    kind: int
    start: int
    bytes: int


class Header(NamedTuple):
    """Keys and tensors by name, in the file's order."""

    keys: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def text(self, key: str) -> str | None:
        """A string value, or None where the file has none under that key."""
        value = self.keys.get(key)
        return value if isinstance(value, str) else None


def read(path: Path) -> Header:
    """Reads the header and holds the tensors against the size of the file.

    Raises BadModel where it is no GGUF file, damaged, cut short, or of a version or tensor type that is not known.
    """
    if not path.is_file():
        raise BadModel(f"{path}: no such file; expected a GGUF file")
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise BadModel(f"{path}: not a GGUF file (it begins with other bytes); expected a .gguf model")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _read(data)
            except _DamagedError as damage:
                raise BadModel(f"{path}: broken GGUF file: {damage}; make or fetch it again") from None


class _DamagedError(Exception):
    """What is wrong, for the one place that knows the file's name."""


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = len(MAGIC)

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise _DamagedError(f"it ends at byte {len(self.data)}, in the middle of its header")
        self.position += count
        return self.data[self.position - count : self.position]

    def numbers(self, code: str, count: int = 1) -> tuple[Any, ...]:
        return struct.unpack(f"<{count}{code}", self.take(struct.calcsize(f"<{code}") * count))

    def count(self, code: str, least_bytes: int) -> int:
        """A number of things that take at least so many bytes each."""
        (number,) = self.numbers(code)
        if number * least_bytes > len(self.data) - self.position:
            raise _DamagedError(f"it announces {number} entries at byte {self.position}, more than it holds")
        return int(number)

    def string(self) -> str:
        try:
            return self.take(self.count("Q", 1)).decode("utf-8")
        except UnicodeDecodeError:
            raise _DamagedError(f"a name or text before byte {self.position} is not UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            (item,) = self.numbers("I")
            if item == STRING:
                return [self.string() for _ in range(self.count("Q", 8))]
            if item in SCALARS:
                code = SCALARS[item]
                return list(self.numbers(code, self.count("Q", struct.calcsize(f"<{code}"))))
        elif kind in SCALARS:
            return self.numbers(SCALARS[kind])[0]
        raise _DamagedError(f"unknown value type at byte {self.position}")


def _read(data: mmap.mmap) -> Header:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    cursor = _Cursor(data)
    (version,) = cursor.numbers("I")
    if version not in (2, 3):
        raise _DamagedError(f"version {version}, expected 2 or 3")
    # Both counts come before both lists: only the sum of their least sizes can be held against the file.
    tensor_count = cursor.count("Q", LEAST_TENSOR_BYTES)
    keys: dict[str, Any] = {}
    for _ in range(cursor.count("Q", LEAST_KEY_BYTES)):
        name = cursor.string()
        (kind,) = cursor.numbers("I")
        keys[name] = cursor.value(kind)
    tensors: dict[str, Tensor] = {}
    for _ in range(tensor_count):
        name = cursor.string()
        shape = cursor.numbers("Q", cursor.count("I", 8))
        kind, offset = (*cursor.numbers("I"), *cursor.numbers("Q"))
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except ValueError:
            raise _DamagedError(f"tensor {name!r} has unknown type {kind}") from None
        tensors[name] = Tensor(shape, kind, offset, math.prod(shape) // block * block_bytes)
    alignment = keys.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError(f"its alignment is {alignment}")
    start = -(-cursor.position // alignment) * alignment
    for name, tensor in tensors.items():
        end = start + tensor.start + tensor.bytes
        if end > len(data):
            raise _DamagedError(f"tensor {name!r} ends at byte {end}, the file at {len(data)}")
        tensors[name] = tensor._replace(start=start + tensor.start)
    return Header(keys, tensors)
