"""The matrix against sums worked out from the weights alone, layer by layer, in float64."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from arte_export import gguf, gguf_header, imatrix, schemes
from arte_export.activations import Sum
from arte_export.errors import BadModel, ChildDied, ExportError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.export.block_inputs import Expected, gpt2_sums, llama_sums
from tests.export.holders import holders

# two of equal length, which share a batch; one longer than a chunk of 16, which is cut into 16 + 5; one of one token
ROWS = [[5, 17, 300, 42, 42, 9, 120], [250, 8, 8], [7, 6, 5, 4, 3, 2, 1], list(range(20, 41)), [77]]
CHUNK = 16
PIECES = [ROWS[0], ROWS[1], ROWS[2], ROWS[3][:16], ROWS[3][16:], ROWS[4]]
TOKENS = 7 + 3 + 7 + 21 + 1


class Case:
    """A model folder, its GGUF file and the matrix collected on ROWS."""

    def __init__(self, folder: Path, out: Path, home: Path) -> None:
        with gguf.converted(folder, out, folder.name, home) as source:
            self.source = Path(shutil.copy(source, out / "source.gguf"))
        self.folder = folder
        self.matrix = out / "imatrix.gguf"
        self.seen: list[tuple[int, int]] = []
        self.summary = imatrix.collect(
            folder, self.source, ROWS, self.matrix, "five rows", CHUNK, lambda *done: self.seen.append(done)
        )

    def agrees_with(self, expected: Expected) -> None:
        """Every sum, count and mean is that of the other computation, for the same tensors."""
        from gguf import GGUFReader

        names = sorted(set(expected.squares) - {name for name in expected.squares if "ffn_gate_inp" in name})
        reader = GGUFReader(self.matrix)
        stored = {tensor.name: tensor for tensor in reader.tensors}
        assert [tensor.name for tensor in reader.tensors] == [
            f"{name}.{part}" for name in names for part in ("in_sum2", "counts")
        ]
        found = imatrix.read(self.matrix)
        assert (found.datasets, found.chunks) == (["five rows"], 3)  # 39 tokens in chunks of 16
        for name in names:
            squares, counts = expected.squares[name], expected.counts[name]
            assert list(stored[f"{name}.in_sum2"].shape) == [squares.shape[1], squares.shape[0]]
            np.testing.assert_allclose(stored[f"{name}.in_sum2"].data, squares, rtol=2e-4, atol=1e-7 * squares.max())
            assert stored[f"{name}.counts"].data.tolist() == [[float(count)] for count in counts]
            means = np.where(counts[:, None] > 0, squares / np.maximum(counts, 1)[:, None], 1)
            np.testing.assert_allclose(found.means[name], means.ravel(), rtol=2e-4, atol=1e-7 * means.max())


def tokenizer_only(model: Path, into: Path) -> Path:
    shutil.copytree(model, into, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "generation*"))
    return into


@pytest.fixture(scope="module")
def llama(tiny_model: Path, converter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tiny_model, tmp_path_factory.mktemp("llama"), converter_home)


def test_a_llama_has_the_sums_of_its_own_equations(llama: Case) -> None:
    from transformers import AutoConfig

    expected = llama_sums(llama.folder, AutoConfig.from_pretrained(llama.folder), PIECES)
    assert len(expected.squares) == 14
    assert {count for counts in expected.counts.values() for count in counts.tolist()} == {TOKENS}
    llama.agrees_with(expected)
    summary = llama.summary
    assert (summary.tensors, summary.rows, summary.tokens, summary.chunks) == (14, 5, TOKENS, 3)
    assert (summary.uncalibrated, summary.idle_experts) == ([], 0)
    # five batches (16; 7 and 7; 5; 3; 1), six pieces
    assert llama.seen == [(1, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_the_file_is_of_llama_imatrix_s_form(llama: Case) -> None:
    header = gguf_header.read(llama.matrix)
    assert header.keys == {
        "general.type": "imatrix", "imatrix.datasets": ["five rows"], "imatrix.chunk_count": 3,
        "imatrix.chunk_size": CHUNK,
    }  # fmt: skip
    assert {tensor.kind for tensor in header.tensors.values()} == {0}
    assert header.tensors["blk.1.ffn_down.weight.in_sum2"].shape == (128, 1)
    assert header.tensors["blk.1.ffn_down.weight.counts"].shape == (1, 1)


def test_the_quantizer_takes_it(llama: Case, tmp_path: Path) -> None:
    files = [tmp_path / "without.gguf", tmp_path / "with.gguf"]
    for file, matrix in zip(files, (None, llama.matrix), strict=True):
        gguf.quantize(llama.source, [gguf.Wanted(file, schemes.load("q4_0"), matrix)])
    without, with_matrix = (gguf_header.read(file) for file in files)
    keys = {key: value for key, value in with_matrix.keys.items() if key.startswith("quantize.imatrix")}
    assert keys == {
        "quantize.imatrix.file": "imatrix.gguf", "quantize.imatrix.dataset": "five rows",
        "quantize.imatrix.entries_count": 14, "quantize.imatrix.chunks_count": 3,
    }  # fmt: skip
    assert set(with_matrix.keys) - set(keys) == set(without.keys)
    data = [file.read_bytes() for file in files]
    changed = 0
    for name, tensor in with_matrix.tensors.items():
        other = without.tensors[name]
        one = data[1][tensor.start : tensor.start + tensor.bytes]
        changed += one != data[0][other.start : other.start + other.bytes]
    assert changed == 14


def test_fused_queries_keys_and_values_have_their_own_names(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tokenizer_only(tiny_model, tmp_path / "gpt2")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)), n_embd=64, n_layer=2, n_head=4, n_positions=64, n_ctx=64,
        initializer_range=0.2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    case = Case(folder, tmp_path / "out", converter_home)
    expected = gpt2_sums(folder, config, PIECES)
    assert len(expected.squares) == 8
    case.agrees_with(expected)
    assert (case.summary.tensors, case.summary.uncalibrated) == (8, [])


def test_every_expert_has_the_sums_of_the_tokens_that_it_saw(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    folder = tokenizer_only(tiny_model, tmp_path / "mixtral")
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)), hidden_size=64, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, num_local_experts=24, num_experts_per_tok=2,
        max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2, sliding_window=None,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(folder)
    case = Case(folder, tmp_path / "out", converter_home)
    expected = llama_sums(folder, config, PIECES)
    case.agrees_with(expected)
    names = [f"blk.{layer}.ffn_{part}_exps.weight" for layer in (0, 1) for part in ("gate", "up", "down")]
    assert [int(expected.counts[name].sum()) for name in names] == [2 * TOKENS] * 6
    idle = sum(int((expected.counts[name] == 0).sum()) for name in names)
    assert idle > 0
    assert case.summary.idle_experts == idle
    assert (case.summary.tensors, case.summary.uncalibrated) == (14, [])


def test_what_the_model_cannot_read_is_refused(llama: Case, tmp_path: Path) -> None:
    out = tmp_path / "imatrix.gguf"
    with pytest.raises(ExportError, match=r"none: no tokens to calibrate on; give at least one row"):
        imatrix.collect(llama.folder, llama.source, [[], []], out, "none")
    with pytest.raises(
        ExportError, match=r"its embedding has 353 rows, the rows to calibrate on have token ids up to 9"
    ):
        imatrix.collect(llama.folder, llama.source, [[1, 2], [3, 999]], out, "strange")
    with pytest.raises(BadModel, match=r"nowhere: transformers cannot load it"):
        imatrix.collect(tmp_path / "nowhere", llama.source, [[1, 2]], out, "x")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_collection_leaves_nothing(llama: Case, tmp_path: Path) -> None:
    def kill(_done: int, _total: int) -> None:
        for process in holders():
            process.kill()

    rows = [list(range(10, 10 + length)) for length in range(1, 200)]
    with pytest.raises(ChildDied, match="killed by SIGKILL"):
        imatrix.collect(llama.folder, llama.source, rows, tmp_path / "imatrix.gguf", "x", progress=kill)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("small") / "imatrix.gguf"
    sums = {
        "blk.0.attn_q.weight": Sum(np.array([[4.0, 6.0, 0.0]]), np.array([2])),
        "blk.0.ffn_up_exps.weight": Sum(np.array([[8.0, 0.5], [0.0, 0.0]]), np.array([4, 0])),
    }
    imatrix._write(file, sums, "rows", 1, 512)
    return file


def test_means_are_sums_by_counts_and_an_idle_expert_has_ones(small: Path) -> None:
    found = imatrix.read(small)
    assert {name: mean.tolist() for name, mean in found.means.items()} == {
        "blk.0.attn_q.weight": [2.0, 3.0, 0.0],
        "blk.0.ffn_up_exps.weight": [2.0, 0.125, 1.0, 1.0],
    }
    assert (found.datasets, found.chunks) == (["rows"], 1)


@pytest.mark.parametrize(
    ("squares", "counts", "message"),
    [
        ([[1.0, np.nan]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, np.inf]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, -1.0]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, 1.0]], [-1], "counts holds values that are negative or not finite"),
        ([[0.0, 0.0]], [0], "blk.0.attn_q.weight saw no token"),
        ([[1.0, 2.0, 3.0]], [1, 1], "has 3 sums for 2 counts"),
    ],
)
def test_values_that_no_quantizer_should_be_given_are_refused(
    squares: list[list[float]], counts: list[int], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "imatrix.gguf"
    imatrix._write(file, {"blk.0.attn_q.weight": Sum(np.array(squares), np.array(counts))}, "rows", 1, 512)
    with pytest.raises(BadModel, match=message):
        imatrix.read(file)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_still_a_matrix(small: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = small.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)), "kept")])
    for _ in range(data.draw(st.integers(0, 3), "flips") if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1), "at")] = data.draw(st.integers(0, 255), "byte")
    file = tmp_path / "damaged.gguf"
    file.write_bytes(damaged)
    try:
        found = imatrix.read(file)
    except BadModel:
        return
    assert all(np.isfinite(mean).all() and len(mean) for mean in found.means.values())
