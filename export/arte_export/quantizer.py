"""llama.cpp's quantizer on one GGUF file, as the child process uses it (gguf.py starts the child)."""

import ctypes
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arte_export import child, gguf_header, imatrix
from arte_export.errors import BadModel, ExportError
from arte_export.schemes import Scheme

ROWS_BYTES = 256 << 20  # rows of one tensor in work at a time; llama.cpp's default of 8 GiB is a whole tensor

_callbacks: list[Any] = []  # held for good, or the library would call what is freed


class Wanted(NamedTuple):
    """A file to write: its path, its scheme, and the importance matrix (imatrix.py) to weigh its rounding with."""

    file: Path
    scheme: Scheme
    importance: Path | None = None


def unfinished(file: Path) -> Path:
    """Where a file is written until it is whole."""
    return file.with_name(f".{file.name}.partial")


def check_space(folder: Path, needed: int, planned: Sequence[Scheme]) -> None:
    """Raises ExportError where the disk of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            f"{folder}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed for "
            f"{', '.join(scheme.name for scheme in planned)}; free some space or choose another folder"
        )


def write_all(source: Path, wanted: list[Wanted]) -> None:
    """Writes every file, as gguf.quantize says."""
    quantizer = _Quantizer(source)
    own = quantizer.header.keys.get("general.file_type")
    sizes = {one.file: quantizer.size(one) for one in wanted if one.scheme.ftype != own}
    for folder in {file.parent for file in sizes}:
        here = [one for one in wanted if one.file in sizes and one.file.parent == folder]
        check_space(folder, sum(sizes[one.file] for one in here), [one.scheme for one in here])
    for done, one in enumerate(wanted, 1):
        begun = unfinished(one.file)
        begun.unlink(missing_ok=True)  # of a run that was killed
        if one.scheme.ftype == own:
            _copy(source, begun, one.scheme)
        else:
            quantizer.write(one, begun)
        quantizer.check_whole(begun)
        os.replace(begun, one.file)
        child.tell(done, len(wanted))


def _copy(source: Path, to: Path, own: Scheme) -> None:
    try:
        os.link(source, to)
    except OSError:  # another disk, or a file system without hard links
        check_space(to.parent, source.stat().st_size, [own])
        shutil.copyfile(source, to)


class _Quantizer:
    """`llama_model_quantize` on one source. It gives back a status only: the rest is read from what it says."""

    def __init__(self, source: Path) -> None:
        from arte_export import runtime

        self.source = source
        self.header = gguf_header.read(source)
        self.lib: Any = runtime.library()
        self.cores = runtime.cores()
        self.said: list[str] = []
        self.errors: list[str] = []

        def hear(level: int, text: bytes, _user: Any) -> None:
            line = text.decode(errors="replace")
            self.said.append(line)
            if level == 4 and line.strip(" =\n"):  # GGML_LOG_LEVEL_ERROR
                self.errors.append(line.strip(" =\n"))

        # from now on the library speaks to this object, and no more to `runtime`
        _callbacks.append(self.lib.llama_log_callback(hear))
        self.lib.llama_log_set(_callbacks[-1], ctypes.c_void_p(0))

    def size(self, one: Wanted) -> int:
        """The bytes that the file will have. Raises what can be told without quantising."""
        if one.importance is not None:
            self._check_importance(one.importance)
        self._run(one, Path(os.devnull), dry_run=True)
        said = "".join(self.said)
        if one.importance is None and "will require an imatrix" in said:
            raise ExportError(
                f"{one.file.name}: {one.scheme.name} needs an importance matrix for this model; give one, "
                "or choose a scheme of three bits or more without one, such as q3_k_m"
            )
        before, after = (re.search(rf"{key} size +=  *([\d.]+) MiB", said) for key in ("model", "quant"))
        assert before is not None
        assert after is not None
        metadata = self.source.stat().st_size - float(before[1]) * 2**20
        return int(float(after[1]) * 2**20 + metadata) + (1 << 16)  # llama.cpp says it to a hundredth of a MiB

    def _check_importance(self, file: Path) -> None:
        tensors = self.header.tensors
        means = imatrix.read(file).means
        common = sorted(set(means) & set(tensors))
        if not common:
            raise BadModel(
                f"{file}: belongs to another model: it holds {min(means)} and {len(means) - 1} more, of which "
                f"{self.source.name} has none (its first is {min(tensors)})"
            )
        for name in common:
            columns, _rows, experts = (*tensors[name].shape, 1, 1)[:3]
            if len(means[name]) != columns * experts:
                raise BadModel(
                    f"{file}: belongs to another model: {name} has {len(means[name])} values, the tensor in "
                    f"{self.source.name} {columns} columns × {experts}"
                )

    def write(self, one: Wanted, to: Path) -> None:
        """Quantises into `to`."""
        self._run(one, to, dry_run=False)

    def check_whole(self, file: Path) -> None:
        """Raises ExportError where tensors lie behind the end of the file: a full disk goes unnoticed in llama.cpp."""
        parameters = self.lib.llama_model_quantize_default_params()
        parameters.only_copy = parameters.dry_run = True
        if self.lib.llama_model_quantize(os.fsencode(file), os.fsencode(os.devnull), ctypes.byref(parameters)):
            raise ExportError(
                f"{file.parent}: {file.name} was cut short ({shutil.disk_usage(file.parent).free / 1e9:.1f} GB are "
                f"free, {file.stat().st_size} bytes were written); free some space and run again"
            )

    def _run(self, one: Wanted, to: Path, *, dry_run: bool) -> None:
        parameters = self.lib.llama_model_quantize_default_params()
        parameters.nthread = self.cores
        parameters.ftype = one.scheme.ftype
        parameters.max_buf_size = ROWS_BYTES
        parameters.dry_run = dry_run
        held = None if one.importance is None else _give_importance(self.lib, parameters, one.importance)
        self.said.clear()
        self.errors.clear()
        status = self.lib.llama_model_quantize(os.fsencode(self.source), os.fsencode(to), ctypes.byref(parameters))
        del held
        if status != 0:
            why = "; ".join(self.errors) or "nothing said"
            raise ExportError(f"{one.file.name}: llama.cpp could not quantise {self.source.name}: {why}")


def _give_importance(lib: Any, parameters: Any, file: Path) -> list[Any]:
    """Sets the matrix and the keys quantize.imatrix.* that llama-quantize writes; gives what must stay alive."""
    found = imatrix.read(file)
    data = (lib.llama_model_imatrix_data * (len(found.means) + 1))()  # ends with an entry without a name
    for entry, (name, mean) in zip(data, found.means.items(), strict=False):
        entry.name = name.encode()
        entry.data = mean.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = len(mean)
    keys: dict[str, str | int] = {"file": file.name}
    keys |= {"dataset": found.datasets[0]} if found.datasets else {}
    keys |= {"entries_count": len(found.means), "chunks_count": found.chunks}
    overrides = (lib.llama_model_kv_override * (len(keys) + 1))()  # ends with an empty key
    for override, (key, value) in zip(overrides, keys.items(), strict=False):
        override.key = f"quantize.imatrix.{key}".encode()
        if isinstance(value, int):
            override.tag, override.value.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            text = value.encode()[:127].decode(errors="ignore").encode()  # what its struct holds
            override.tag, override.value.val_str = lib.LLAMA_KV_OVERRIDE_TYPE_STR, text
    parameters.imatrix, parameters.kv_overrides = data, overrides
    return [found, data, overrides]
