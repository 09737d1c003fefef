"""The statistics by hand, and the same against a naive computation in float64."""

import math
from pathlib import Path

import numpy as np
import pytest
from arte_export import distributions
from arte_export.device_file import DeviceFile
from arte_export.errors import BadModel, ChildDied, ExportError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from tests.export.holders import holders


def test_one_position_by_hand() -> None:
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4); D(p‖q) = 1/2·ln 2 − 1/4·ln 2 = ln 2 / 4; the next token is 0
    p, q = np.log([[0.5, 0.25, 0.25]] * 2), np.log([[0.25, 0.5, 0.25]] * 2)
    [row] = distributions.compare(p.astype(np.float32), [q.astype(np.float32)], [2, 0])
    assert len(row.kld) == 1  # nothing follows the last token
    assert row.kld[0] == pytest.approx(math.log(2) / 4, rel=1e-6)
    assert row.same_top.tolist() == [False]
    assert row.nll_model[0] == pytest.approx(math.log(2), rel=1e-6)
    assert row.nll_file[0] == pytest.approx(math.log(4), rel=1e-6)
    assert row.dp[0] == pytest.approx(-0.25, rel=1e-6)


def test_summary_by_hand() -> None:
    columns = ([0.0, 0.4], [True, False], [1.0, 2.0], [1.5, 2.5], [0.3, -0.4])
    one = distributions.Row(*map(np.array, columns))
    found = distributions.summary([one, one], "float32")
    assert (found.rows, found.positions, found.reference) == (2, 4, "float32")
    assert found.mean_kld.value == pytest.approx(0.2)
    assert found.max_kld.value == pytest.approx(0.4)
    assert found.max_kld.standard_error is None
    assert found.top1_agreement.value == pytest.approx(0.5)
    assert found.ppl_model.value == pytest.approx(math.exp(1.5))
    assert found.ppl_ratio.value == pytest.approx(math.exp(0.5))
    assert found.mean_dp.value == pytest.approx(-0.05)
    assert found.rms_dp.value == pytest.approx(math.sqrt((0.09 + 0.16) / 2))
    assert found.mean_kld.standard_error == pytest.approx(0.0, abs=1e-12)  # both rows are the same


def test_standard_error_is_that_of_rows() -> None:
    # 64 rows whose means are 0 or 1 in turn: the mean of 64 draws has a standard error of 0.5 / 8 = 0.0625
    rows = [
        distributions.Row(np.full(50, float(i % 2)), np.ones(50, bool), np.ones(50), np.ones(50), np.zeros(50))
        for i in range(64)
    ]
    found = distributions.summary(rows, "float32").mean_kld
    assert found.value == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(0.0625, rel=0.1)


logits = nps.arrays(np.float32, (4, 7), elements=st.floats(-30, 30, width=32))


@given(logits, logits, st.lists(st.integers(0, 6), min_size=4, max_size=4))
def test_same_as_a_naive_computation(p: np.ndarray, q: np.ndarray, ids: list[int]) -> None:
    [row] = distributions.compare(p, [q], ids)
    for at in range(3):
        naive_p, naive_q = (np.exp(side[at].astype(np.float64)) for side in (p, q))
        naive_p, naive_q = naive_p / naive_p.sum(), naive_q / naive_q.sum()
        assert row.kld[at] == pytest.approx(float((naive_p * np.log(naive_p / naive_q)).sum()), abs=2e-4, rel=1e-4)
        assert row.nll_file[at] == pytest.approx(-math.log(naive_q[ids[at + 1]]), abs=1e-4, rel=1e-5)
        assert row.kld[at] >= 0.0


def test_padding_of_one_vocabulary_falls_away() -> None:
    p = np.log(np.array([[0.5, 0.5], [0.5, 0.5]], np.float32))
    padded = np.concatenate([p, np.full((2, 3), 9.0, np.float32)], axis=1)
    found = distributions.compare(p, [padded, p], [0, 1])
    assert [row.kld[0] for row in found] == pytest.approx([0.0, 0.0], abs=1e-7)


def _file(path: Path) -> DeviceFile:
    return DeviceFile(path=path, format="gguf", scheme="f32", home=path.parent)


def test_a_gguf_file_of_the_same_precision_is_the_model(tiny_model: Path, tiny_files: dict[str, Path]) -> None:
    rows = [[1, *range(20 + i, 60 + i), 2] for i in range(6)]
    same, coarse = distributions.measure(tiny_model, [_file(tiny_files["f32"]), _file(tiny_files["q4_0"])], rows)
    assert (same.rows, same.positions) == (6, 6 * 40)  # of 42 tokens, the last has no next one and the first is shared
    assert same.mean_kld.value < 1e-4  # llama.cpp keeps keys and values in float16
    assert same.top1_agreement.value == 1.0
    assert same.ppl_ratio.value == pytest.approx(1.0, abs=1e-3)
    assert coarse.mean_kld.value > 100 * same.mean_kld.value
    assert coarse.ppl_model == same.ppl_model


def test_no_text_and_no_file_are_said(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no text to compare"):
        distributions.measure(tiny_model, [_file(tmp_path / "a.gguf")], [[1]])
    with pytest.raises(BadModel, match=r"a\.gguf: no such file"):
        distributions.measure(tiny_model, [_file(tmp_path / "a.gguf")], [[1, 2]])


def test_files_are_measured_together_as_far_as_memory_allows() -> None:
    # a third of 90 bytes are 30: 10 + 20 fit, 25 begins anew, 40 is alone although it is too large
    assert distributions.groups("abcde", [10, 20, 25, 40, 5], 90) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert distributions.groups("abcde", [10, 20, 25, 40, 5], 300) == [["a", "b", "c", "d", "e"]]
    assert distributions.groups("", [], 90) == []


def test_of_files_that_die_together_the_one_at_fault_is_named(tiny_model: Path, tiny_files: dict[str, Path]) -> None:
    children: list[int] = []

    def kill(_done: int, _total: int) -> None:
        for child in holders():
            if child.pid not in children:
                children.append(child.pid)
            if len(children) in (1, 3):  # that of both files, and that of the second alone
                child.kill()

    files = [_file(tiny_files["f32"]), _file(tiny_files["q4_0"])]
    rows = [[1, *range(20, 200), 2]] * 400
    with pytest.raises(ChildDied, match=f"{tiny_files['q4_0'].name}: .*SIGKILL"):
        distributions.measure(tiny_model, files, rows, progress=kill)
    assert len(children) == 3
