"""How far the next-token distributions of a device file are from those of the torch model, in llama.cpp's terms.

The terms are those of `llama-perplexity --kl-divergence` (llama.cpp, tools/perplexity/README.md), p the torch model and
q the file: perplexity of both and its ratio, Kullback-Leibler divergence D(p‖q) in nats, share of positions with the
same most probable token, and Δp, the change of the probability of the token that really follows. Three things differ:
the text is the task's; every position that has a next token counts, but for the beginning that all rows share (the
same figure again and again, which would hide the others'); and standard errors come from resampling whole rows, since
positions of one row are not independent.

All sides are computed row by row in one child process: the torch model once for as many files as memory takes, and the
logits of one row of it and of one file are all that is ever held.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arte_export import child
from arte_export.device_file import DeviceFile
from arte_export.errors import ChildDied, ExportError
from arte_export.prefix import common_prefix

LIMIT_S = 4 * 3600.0
RESAMPLES = 1000
SHARE = 1 / 3  # of free memory: a runtime may keep a second, repacked copy of a file's weights

T = TypeVar("T")


class Estimate(BaseModel):
    """A figure and its standard error; None where resampling says nothing (a maximum)."""

    model_config = ConfigDict(frozen=True)

    value: float
    standard_error: float | None


class Distributions(BaseModel):
    """`ppl_*` are perplexities, `*_kld` nats, `top1_agreement` and `*_dp` shares of 1. `reference` says in which
    arithmetic the torch model was computed."""

    model_config = ConfigDict(frozen=True)

    rows: int
    positions: int
    reference: str
    ppl_model: Estimate
    ppl_file: Estimate
    ppl_ratio: Estimate
    mean_kld: Estimate
    median_kld: Estimate
    p99_kld: Estimate
    max_kld: Estimate
    top1_agreement: Estimate
    mean_dp: Estimate
    rms_dp: Estimate


class Row(NamedTuple):
    """What is kept of one row: arrays of one value for each position that counts."""

    kld: NDArray[np.float64]
    same_top: NDArray[np.bool_]
    nll_model: NDArray[np.float64]
    nll_file: NDArray[np.float64]
    dp: NDArray[np.float64]


def measure(
    folder: Path, files: Sequence[DeviceFile], rows: Sequence[Sequence[int]], progress: child.Progress | None = None
) -> list[Distributions]:
    """Compares files with the torch model in `folder` on rows of token ids, many at once where memory allows.

    The torch model has its stored weights and computes in float32 where memory allows, so that what is seen is the
    file's rounding and not the reference's. Rows need two tokens at least.

    Raises BadModel (either side), ExportError (no usable row, or one beyond the file's context), ChildDied.
    """
    usable = [list(row) for row in rows if len(row) >= 2]
    if not usable:
        raise ExportError("no text to compare next-token distributions on; expected rows of at least two tokens")

    def run(group: Sequence[DeviceFile]) -> list[Distributions]:
        call = partial(_measure, folder.resolve(), [file.resolved() for file in group], usable)
        return child.run(call, holding=group[0].path, limit_s=LIMIT_S, progress=progress).result

    found: list[Distributions] = []
    for group in groups(files, [file.bytes for file in files], _free_bytes()):
        try:
            found += run(group)
        except ChildDied:
            if len(group) == 1:
                raise
            for file in group:  # to name the one that it dies of
                found += run([file])
    return found


def groups(files: Sequence[T], sizes: Sequence[int], free: int) -> list[list[T]]:
    """Files in order, as many together as take up `SHARE` of the free memory by their sizes (bytes), at least one."""
    out: list[list[T]] = []
    room = 0.0
    for file, size in zip(files, sizes, strict=True):
        if not out or size > room:
            out.append([])
            room = SHARE * free
        out[-1].append(file)
        room -= size
    return out


def _free_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def compare(model: NDArray[np.float32], files: Iterable[NDArray[np.float32]], ids: Sequence[int]) -> list[Row]:
    """The row of each file from its logits and the model's, each of shape (tokens, vocabulary); one file at a time.

    Ids beyond the smaller vocabulary are padding that one side has, and fall away.
    """
    rows = []
    narrowed: dict[int, NDArray[np.float32]] = {}  # by width: the model's side is the same for most files
    for file in files:
        width = min(model.shape[1], file.shape[1])
        if width not in narrowed:
            narrowed[width] = _log_softmax(model[:-1, :width])
        rows.append(_row(narrowed[width], _log_softmax(file[:-1, :width]), ids))
    return rows


def _row(p: NDArray[np.float32], q: NDArray[np.float32], ids: Sequence[int]) -> Row:
    following = np.asarray(ids[1:])
    at = np.arange(len(following))
    nll_p, nll_q = -p[at, following], -q[at, following]
    return Row(
        kld=np.maximum((np.exp(p) * (p - q)).sum(axis=1, dtype=np.float64), 0.0),
        same_top=p.argmax(axis=1) == q.argmax(axis=1),
        nll_model=nll_p.astype(np.float64),
        nll_file=nll_q.astype(np.float64),
        dp=np.exp(-nll_q.astype(np.float64)) - np.exp(-nll_p.astype(np.float64)),
    )


def summary(rows: Sequence[Row], reference: str) -> Distributions:
    """All figures, each with its standard error over `RESAMPLES` seeded resamples of the rows."""
    lengths = np.array([len(row.kld) for row in rows])
    joined = Row(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(rows), size=len(rows))
        index = np.concatenate([np.arange(starts[row], starts[row] + lengths[row]) for row in chosen])
        draws.append(_figures(Row(*(part[index] for part in joined))))
    errors = np.std(np.array(draws), axis=0, ddof=1)
    found = {
        name: Estimate(value=float(value), standard_error=None if name == "max_kld" else float(error))
        for name, value, error in zip(_NAMES, _figures(joined), errors, strict=True)
    }
    return Distributions(rows=len(rows), positions=int(lengths.sum()), reference=reference, **found)


_NAMES = (
    "ppl_model", "ppl_file", "ppl_ratio", "mean_kld", "median_kld", "p99_kld", "max_kld", "top1_agreement", "mean_dp",
    "rms_dp",
)  # fmt: skip


def _figures(row: Row) -> tuple[float, ...]:
    median, p99 = np.percentile(row.kld, [50, 99])
    model, file = row.nll_model.mean(), row.nll_file.mean()
    return (
        np.exp(model), np.exp(file), np.exp(file - model), row.kld.mean(), median, p99, row.kld.max(),
        row.same_top.mean(), row.dp.mean(), np.sqrt((row.dp**2).mean()),
    )  # fmt: skip


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def _measure(folder: Path, files: list[DeviceFile], rows: list[list[int]]) -> list[Distributions]:
    from arte_export import reference

    torch_logits, arithmetic = reference.logits(folder)
    shared = common_prefix(rows, leave=2)
    compared: list[list[Row]] = [[] for _ in files]
    with ExitStack() as opened:
        sides = [opened.enter_context(file.logits(longest=max(map(len, rows)))) for file in files]
        for done, ids in enumerate(rows, 1):
            model = torch_logits(ids)
            rows_of_files = compare(model[shared:], (logits(ids)[shared:] for logits in sides), ids[shared:])
            for found, row in zip(compared, rows_of_files, strict=True):
                found.append(row)
            child.tell(done, len(rows))
    return [summary(found, arithmetic) for found in compared]
