"""A JSONL file that grows by batches, each whole or absent.

Beside `NAME.jsonl` stands `NAME.jsonl.committed` with the bytes and batches that count. A batch is written and flushed
to the disk first, then the small file is replaced; what lies behind the committed bytes was cut by a kill and is
dropped. The JSONL itself holds rows only.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Generic

from pydantic import ValidationError

from arte.atomic import replace_text
from arte.errors import DataError
from arte.rows import RowType

COMMITTED_SUFFIX = ".committed"


class RowLog(Generic[RowType]):
    """The rows of a stage, batch after batch. Opening it takes up what an earlier process committed.

    Raises DataError where committed rows were changed or cut since.
    """

    def __init__(self, path: Path, row_type: type[RowType]) -> None:
        self.path = path
        self.rows: list[RowType] = []
        """All committed rows, those of earlier processes first."""
        self.batches_done = 0
        """How many batches are committed; a batch without rows counts too."""
        self._sidecar = path.with_name(path.name + COMMITTED_SUFFIX)
        self._bytes = 0
        if self._sidecar.exists():
            self._take_up(row_type)
        else:
            path.write_bytes(b"")

    def append_batch(self, rows: Sequence[RowType]) -> None:
        """Adds a batch; when this returns, it survives a kill and a power failure.

        Raises OSError where the disk is full; the file then still counts as it was before.
        """
        data = "".join(row.model_dump_json() + "\n" for row in rows).encode("utf-8")
        with self.path.open("r+b") as file:
            file.truncate(self._bytes)
            file.seek(self._bytes)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        committed = {"bytes": self._bytes + len(data), "batches": self.batches_done + 1}
        replace_text(self._sidecar, json.dumps(committed))
        self._bytes, self.batches_done = committed["bytes"], committed["batches"]
        self.rows.extend(rows)

    def _take_up(self, row_type: type[RowType]) -> None:
        remedy = f"delete the folder {self.path.parent} to start this stage afresh"
        try:
            committed = json.loads(self._sidecar.read_bytes())
            self._bytes, self.batches_done = int(committed["bytes"]), int(committed["batches"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self._sidecar}: was changed by another program; {remedy}") from None
        self.path.touch()
        size = self.path.stat().st_size
        if size < self._bytes:
            raise DataError(f"{self.path}: {size} bytes where {self._bytes} were written; {remedy}")
        with self.path.open("r+b") as file:
            file.truncate(self._bytes)
            lines = file.read().removesuffix(b"\n").split(b"\n") if self._bytes else []
        for number, line in enumerate(lines, start=1):
            try:
                self.rows.append(row_type.model_validate_json(line))
            except ValidationError:
                raise DataError(f"{self.path}:{number}: is not a row that this stage wrote; {remedy}") from None
